"""What leads to what: the neighbourhood of a definition or dataset, and the loops of the whole graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, func, select, tuple_

from runvis_core.lineage.graph import nodes_in_loops
from runvis_core.lineage.loops import Graph
from runvis_core.lineage.nodes import node_of
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
from runvis_core.services.lineage_names import resolve_node
from runvis_core.services.reading import chunks, reading
from runvis_core.services.steps import LINEAGE
from runvis_core.store.database import Store
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import lineage_edges, lineage_nodes, lineage_turns

MAX_MEMBERS: Final = 100
"""How many members of a loop are shown."""
MAX_EDGES: Final = 300
"""How many edges of a loop are shown."""
EDGES_A_NODE: Final = 10
"""How many edges of a neighbourhood are shown for each node that it may have."""


def get_lineage(store: Store, query: LineageQuery) -> Lineage:
    """Return what is within a depth of a node. Raises `NotFoundError` for no such node, or for several.

    It costs one query for each level and direction, whatever the size of the graph.
    """
    catch_up(store, [LINEAGE])
    with reading(store) as connection:
        node = resolve_node(connection, query)
        around = _Neighbourhood(connection, node.number, query)
        refs = _refs(connection, around.depths)
        loops = nodes_in_loops((edge.source, edge.target) for edge in around.edges.values())
        nodes = [
            LineageNode(**dict(refs[number]), depth=depth, in_loop=number in loops)
            for number, depth in around.depths.items()
        ]
        return Lineage(
            node=refs[node.number],
            nodes=sorted(nodes, key=lambda node: (abs(node.depth), node.depth, node.label)),
            edges=[_edge(row, refs) for _, row in sorted(around.edges.items())],
            is_cut=around.is_cut,
        )


class _Neighbourhood:
    """Nodes by number with their depth, and the edges by which they were reached."""

    def __init__(self, connection: Connection, start: int, query: LineageQuery) -> None:
        self.depths = {start: 0}
        self.edges: dict[tuple[int, int, str], Any] = {}
        self.is_cut = False
        self._connection = connection
        self._max_nodes = query.max_nodes
        self._max_edges = query.max_nodes * EDGES_A_NODE
        for direction, here, there in (("down", "source", "target"), ("up", "target", "source")):
            if query.direction in (direction, "both"):
                self._walk(start, here, there, query.depth, 1 if direction == "down" else -1)
        # An edge to a node that had no room leads nowhere.
        self.edges = {key: row for key, row in self.edges.items() if key[0] in self.depths and key[1] in self.depths}

    def _walk(self, start: int, here: str, there: str, depth: int, sign: int) -> None:
        level, seen = [start], {start}
        for step in range(1, depth + 1):
            found: list[int] = []
            for row in self._edges_of(level, here, there):
                self.edges[row.source, row.target, row.kind] = row
                number = getattr(row, there)
                if number in seen:
                    continue
                seen.add(number)
                if number not in self.depths:
                    if len(self.depths) >= self._max_nodes:
                        self.is_cut = True
                        continue
                    self.depths[number] = sign * step
                found.append(number)
            level = found

    def _edges_of(self, level: list[int], here: str, there: str) -> Iterable[Any]:
        columns = lineage_edges.c
        for chunk in chunks(level):
            room = self._max_edges - len(self.edges)
            query = select(lineage_edges).where(columns[here].in_(chunk))
            rows = self._connection.execute(query.order_by(columns[here], columns[there], columns.kind).limit(room + 1))
            found = rows.all()
            self.is_cut = self.is_cut or len(found) > room
            yield from found[:room]


def list_loops(store: Store, *, limit: int) -> Page[Loop]:
    """Return the loops of the graph, those that turned last first, then the larger ones.

    The edges are read once. What is shown is bounded on any graph: each loop says how much of it is not shown, and a
    note how many loops are not.
    """
    catch_up(store, [LINEAGE])
    with reading(store) as connection:
        graph = _read_graph(connection)
        turns = _Turns(connection)
        found = [_Found(members, turns) for members in graph.find_loops()]
        found.sort(key=lambda loop: (-loop.last_turn, -len(loop.members), min(loop.members)))
        left_out = len(found) - limit
        return Page[Loop](
            items=_show(connection, graph, found[:limit]),
            notes=[f"{left_out} more loops are not shown"] if left_out > 0 else [],
        )


def _read_graph(connection: Connection) -> Graph:
    # As the driver gives it: a graph has many edges, and the database puts those of one node together at less cost.
    together = "array_agg" if connection.dialect.name == "postgresql" else "json_group_array"
    size = (connection.execute(select(func.max(lineage_nodes.c.number))).scalar_one() or 0) + 1
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT source, {together}(target) FROM lineage_edges GROUP BY source")  # noqa: S608 - our own words
        rows = cursor.fetchall()
    finally:
        cursor.close()
    if together == "json_group_array":
        return Graph(size, ((source, orjson.loads(targets)) for source, targets in rows))
    return Graph(size, rows)


class _Turns:
    """How often a chain of causes came back to each definition, and where in the log the last time is told."""

    def __init__(self, connection: Connection) -> None:
        columns = lineage_turns.c
        query = select(columns.node, func.count(), func.max(columns.position)).group_by(columns.node)
        self._known = {node: (count, position) for node, count, position in connection.execute(query)}

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

    def outline(self, graph: Graph) -> _Outline:
        """Return which of its members and edges are shown."""
        start = min(self.members, key=lambda node: (-self._turns.count_of(node), node))
        cycle = graph.find_cycle(start, self.members)
        shown = list(dict.fromkeys([*cycle, *sorted(self.members)]))[:MAX_MEMBERS]
        around = set(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        pairs = sorted(graph.edges_within(frozenset(shown)), key=lambda pair: (pair not in around, pair))
        return _Outline(cycle, shown, pairs[:MAX_EDGES], len(pairs))

    def show(
        self, outline: _Outline, refs: dict[int, LineageRef], edges: dict[tuple[int, int], list[Any]], last: Any
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
            last_turn_at=last.seen_at if last else None,
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


def _show(connection: Connection, graph: Graph, found: list[_Found]) -> list[Loop]:
    outlines = [loop.outline(graph) for loop in found]
    refs = _refs(connection, {number for outline in outlines for number in outline.shown})
    edges = _edges_between(connection, [pair for outline in outlines for pair in outline.pairs])
    columns = lineage_turns.c
    last: dict[tuple[int, int], Any] = {}
    for chunk in chunks([loop.last_turn for loop in found if loop.last_turn]):
        query = select(columns.seen_at, columns.run_id, columns.node, columns.position)
        rows = connection.execute(query.where(columns.position.in_(chunk)).order_by(columns.thing.desc()))
        last.update(((row.position, row.node), row) for row in rows)
    return [loop.show(outline, refs, edges, _first(last, loop)) for loop, outline in zip(found, outlines, strict=True)]


def _first(last: dict[tuple[int, int], Any], loop: _Found) -> Any:
    rows = [row for (position, node), row in last.items() if position == loop.last_turn and node in loop.members]
    return rows[0] if rows else None


def _refs(connection: Connection, numbers: Iterable[int]) -> dict[int, LineageRef]:
    found: dict[int, LineageRef] = {}
    for chunk in chunks(list(numbers)):
        for row in connection.execute(select(lineage_nodes).where(lineage_nodes.c.number.in_(chunk))):
            node = node_of(row)
            found[row.number] = LineageRef(node_id=node.node_id, **node._asdict())
    return found


def _edges_between(connection: Connection, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], list[Any]]:
    columns = lineage_edges.c
    found: dict[tuple[int, int], list[Any]] = {pair: [] for pair in pairs}
    for chunk in chunks(pairs):
        query = select(lineage_edges).where(tuple_(columns.source, columns.target).in_(chunk))
        for row in connection.execute(query.order_by(columns.source, columns.target, columns.kind)):
            found[row.source, row.target].append(row)
    return found


def _edge(row: Any, refs: dict[int, LineageRef]) -> LineageEdge:
    return LineageEdge(
        source=refs[row.source].node_id,
        target=refs[row.target].node_id,
        kind=row.kind,
        run_count=row.run_count,
        first_position=row.first_position,
        first_seen_at=row.first_seen_at,
        last_position=row.last_position,
        last_seen_at=row.last_seen_at,
        last_run_ids=[UUID(run_id) for run_id, _ in orjson.loads(row.last_runs)],
    )
