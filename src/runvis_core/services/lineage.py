"""What leads to what: the neighbourhood of a definition or dataset, and the loops of the whole graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select

from runvis_core.lineage.graph import nodes_in_loops
from runvis_core.lineage.loops import Graph
from runvis_core.lineage.nodes import node_of
from runvis_core.lineage.tally import KEPT_RUNS, Key
from runvis_core.services.answers import Page
from runvis_core.services.lineage_answers import (
    Lineage,
    LineageEdge,
    LineageNode,
    LineageQuery,
    LineageRef,
    Loop,
    LoopMember,
)
from runvis_core.services.lineage_edges import Edge, Edges, End, reading_edges
from runvis_core.services.lineage_names import resolve_node
from runvis_core.services.past import name_past
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.services.reading import chunks
from runvis_core.store.database import Store
from runvis_core.store.tables import lineage_nodes, lineage_turns

MAX_MEMBERS: Final = 100
"""How many members of a loop are shown."""
MAX_EDGES: Final = 300
"""How many edges of a loop are shown."""
EDGES_A_NODE: Final = 10
"""How many edges of a neighbourhood are shown for each node that it may have."""


class Neighbourhood(NamedTuple):
    """What is within a depth of a node."""

    node: LineageRef
    nodes: dict[int, LineageNode]
    """By their numbers, the nearest first."""
    edges: list[Edge]
    """Those that were followed, between these nodes."""
    is_cut: bool
    """Whether there were more nodes or edges within the depth than were asked for."""


def get_lineage(
    store: Store, query: LineageQuery, past: PastFilter = PRESENT, *, now: datetime, naming: int = KEPT_RUNS
) -> Lineage:
    """Return what is within a depth of a node, or was in a past, as `find_neighbourhood` has it."""
    around = find_neighbourhood(store, query, past, now=now, naming=naming)
    loops = nodes_in_loops((edge.source, edge.target) for edge in around.edges)
    return Lineage(
        node=around.node,
        nodes=[node.model_copy(update={"in_loop": number in loops}) for number, node in around.nodes.items()],
        edges=[_edge(edge, around.nodes) for edge in around.edges],
        is_cut=around.is_cut,
    )


def find_neighbourhood(
    store: Store, query: LineageQuery, past: PastFilter = PRESENT, *, now: datetime, naming: int = KEPT_RUNS
) -> Neighbourhood:
    """Return what is within a depth of a node, or was in a past; of no node whether it is in a loop.

    It costs a few queries for each level and direction, whatever the size of the graph. Each edge names `naming` of its
    last runs. Raises `NotFoundError` for no such node, or for several, and `PastError`.
    """
    with reading_edges(store, past, now=now, naming=naming) as (edges, _):
        node = resolve_node(edges.connection, query, edges.has_node())
        around = _Walks(edges, node.number, query)
        refs = _refs(edges.connection, around.depths)
    nodes = {
        number: LineageNode(
            **dict(refs[number]), depth=depth, before=around.up.steps.get(number), after=around.down.steps.get(number)
        )
        for number, depth in around.depths.items()
    }
    nearest = sorted(nodes.items(), key=lambda one: (abs(one[1].depth), one[1].depth, one[1].label))
    return Neighbourhood(
        refs[node.number], dict(nearest), [edge for _, edge in sorted(around.edges.items())], around.is_cut
    )


@dataclass
class _Walk:
    """A walk along the edges one way, level by level: how far it went, and where it is."""

    here: End
    there: End
    sign: int
    level: list[int]
    steps: dict[int, int]


class _Walks:
    """Nodes by number with their depth, and the edges by which they were reached."""

    def __init__(self, edges: Edges, start: int, query: LineageQuery) -> None:
        self.depths = {start: 0}
        self.edges: dict[Key, Edge] = {}
        self.is_cut = False
        self._known = edges
        self._max_nodes = query.max_nodes
        self._max_edges = query.max_nodes * EDGES_A_NODE
        self.down = _Walk("source", "target", 1, [start], {start: 0})
        self.up = _Walk("target", "source", -1, [start], {start: 0})
        walks = {"down": [self.down], "up": [self.up], "both": [self.down, self.up]}[query.direction]
        # One step each in turn: what a loop puts on both sides has the depth at which it is found first, the nearer.
        for step in range(1, query.depth + 1):
            for walk in walks:
                self._go_on(walk, step)
        # An edge to a node that had no room leads nowhere.
        self.edges = {key: edge for key, edge in self.edges.items() if key[0] in self.depths and key[1] in self.depths}

    def _go_on(self, walk: _Walk, step: int) -> None:
        found: list[int] = []
        for edge in self._edges_of(walk.level, walk.here):
            self.edges[edge.key] = edge
            number: int = getattr(edge, walk.there)
            if number in walk.steps:
                continue
            if number not in self.depths:
                if len(self.depths) >= self._max_nodes:
                    self.is_cut = True
                    continue
                self.depths[number] = walk.sign * step
            walk.steps[number] = step
            found.append(number)
        walk.level = found

    def _edges_of(self, level: list[int], here: End) -> Iterable[Edge]:
        for chunk in chunks(level):
            room = self._max_edges - len(self.edges)
            found = self._known.leading(here, chunk, limit=room + 1)
            self.is_cut = self.is_cut or len(found) > room
            yield from found[:room]


def list_loops(
    store: Store,
    past: PastFilter = PRESENT,
    *,
    limit: int,
    now: datetime,
    naming: int = KEPT_RUNS,
    through: Collection[int] | None = None,
    around_only: bool = False,
) -> Page[Loop]:
    """Return the loops of the graph, or those of a past, those that turned last first, then the larger ones.

    Given numbers of nodes, only the loops `through` any of them. The edges are read once. What is shown is bounded on
    any graph: each loop says how much of it is not shown, and a note how many loops are not; `around_only` shows of
    the edges those of the cycle. Each edge names `naming` of its last runs. Raises `PastError`.
    """
    with reading_edges(store, past, now=now, naming=naming) as (edges, then):
        graph = edges.graph()
        turns = _Turns(edges)
        loops = graph.find_loops()
        if through is not None:
            near = frozenset(through)
            loops = [members for members in loops if not near.isdisjoint(members)]
        found = [_Found(members, turns) for members in loops]
        found.sort(key=lambda loop: (-loop.last_turn, -len(loop.members), min(loop.members)))
        left_out = len(found) - limit
        notes = [name_past(then)] if then is not None else []
        return Page[Loop](
            items=_show(edges, graph, found[:limit], around_only=around_only),
            notes=[*notes, f"{left_out} more loops are not shown"] if left_out > 0 else notes,
        )


class _Turns:
    """How often a chain of causes came back to each definition, and where in the log the last time is told."""

    def __init__(self, edges: Edges) -> None:
        columns = lineage_turns.c
        query = select(columns.node, func.count(), func.max(columns.position)).where(*edges.turns())
        rows = edges.connection.execute(query.group_by(columns.node))
        self._known = {node: (count, position) for node, count, position in rows}

    def count_of(self, node: int) -> int:
        """Return how often a definition was come back to."""
        return self._known.get(node, (0, 0))[0]

    def last_of(self, nodes: Iterable[int]) -> int:
        """Return where the last turn of any of these is told; 0 where there is none."""
        return max((self._known[node][1] for node in nodes if node in self._known), default=0)


class _Found:
    """A loop by the numbers of its nodes."""

    def __init__(self, members: list[int], turns: _Turns) -> None:
        self.members = frozenset(members)
        self.last_turn = turns.last_of(self.members)
        self._turns = turns

    def outline(self, graph: Graph, *, around_only: bool) -> _Outline:
        """Return which of its members and edges are shown."""
        start = min(self.members, key=lambda node: (-self._turns.count_of(node), node))
        cycle = graph.find_cycle(start, self.members)
        shown = list(dict.fromkeys([*cycle, *sorted(self.members)]))[:MAX_MEMBERS]
        around = set(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        pairs = sorted(graph.edges_within(frozenset(shown)), key=lambda pair: (pair not in around, pair))
        kept = [pair for pair in pairs if pair in around] if around_only else pairs
        return _Outline(cycle, shown, kept[:MAX_EDGES], len(pairs))

    def show(
        self, outline: _Outline, refs: dict[int, LineageRef], edges: dict[tuple[int, int], list[Edge]], last: Any
    ) -> Loop:
        """Return the loop as it is answered."""
        rows = [row for pair in outline.pairs for row in edges[pair]]
        cycle = outline.cycle
        return Loop(
            cycle=[refs[number].node_id for number in cycle if number in refs],
            members=[LoopMember(**dict(refs[number]), turns=self._turns.count_of(number)) for number in outline.shown],
            edges=[_edge(row, refs) for row in rows],
            kinds=sorted({row.kind for row in rows}),
            turns=self._turns.count_of(cycle[0]),
            last_turn_at=last.happened_at if last else None,
            last_turn_run_id=last.run_id if last else None,
            cut_members=len(self.members) - len(outline.shown),
            cut_edges=outline.edge_count - len(outline.pairs),
        )


class _Outline(NamedTuple):
    """What is shown of a loop."""

    cycle: list[int]
    shown: list[int]
    pairs: list[tuple[int, int]]
    """Those of the cycle first."""
    edge_count: int


def _show(known: Edges, graph: Graph, found: list[_Found], *, around_only: bool) -> list[Loop]:
    connection = known.connection
    outlines = [loop.outline(graph, around_only=around_only) for loop in found]
    refs = _refs(connection, {number for outline in outlines for number in outline.shown})
    edges = known.between(list(dict.fromkeys(pair for outline in outlines for pair in outline.pairs)))
    columns = lineage_turns.c
    last: dict[tuple[int, int], Any] = {}
    for chunk in chunks([loop.last_turn for loop in found if loop.last_turn]):
        query = select(columns.happened_at, columns.run_id, columns.node, columns.position)
        counted = query.where(columns.position.in_(chunk), *known.turns()).order_by(columns.thing.desc())
        last.update(((row.position, row.node), row) for row in connection.execute(counted))
    return [loop.show(outline, refs, edges, _first(last, loop)) for loop, outline in zip(found, outlines, strict=True)]


def _first(last: dict[tuple[int, int], Any], loop: _Found) -> Any:
    rows = [row for (position, node), row in last.items() if position == loop.last_turn and node in loop.members]
    return rows[0] if rows else None


def _refs(connection: Connection, numbers: Iterable[int]) -> dict[int, LineageRef]:
    found: dict[int, LineageRef] = {}
    for chunk in chunks(list(numbers)):
        for row in connection.execute(select(lineage_nodes).where(lineage_nodes.c.number.in_(chunk))):
            found[row.number] = LineageRef(node_id=row.node_id, **node_of(row)._asdict())
    return found


def _edge(edge: Edge, refs: Mapping[int, LineageRef]) -> LineageEdge:
    ends = {"source": refs[edge.source].node_id, "target": refs[edge.target].node_id}
    return LineageEdge.model_validate(edge._asdict() | ends)
