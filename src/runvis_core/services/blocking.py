"""What a definition that fails holds up: the definitions that lie downstream of it in the lineage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from runvis_core.lineage.nodes import find_nodes
from runvis_core.services.lineage_answers import LineageRef
from runvis_core.services.reading import chunks
from runvis_core.store.tables import definition_health, lineage_edges, lineage_nodes

MAX_EDGES: Final = 4
"""How far it is looked: two definitions on by way of the data between them, four by what starts what."""
MAX_FOUND: Final = 100
"""How many nodes are followed from one definition."""
MAX_READ: Final = 5000
"""How many edges are read for one step of all definitions together."""
SHOWN: Final = 5


class Blocked(NamedTuple):
    """What lies downstream of a definition."""

    shown: list[LineageRef]
    """The first of them, the nearest first."""
    total: int
    is_cut: bool
    """Whether there may be more: it was not followed further."""


def find_blocked(connection: Connection, node_ids: Iterable[UUID]) -> dict[UUID, Blocked]:
    """Return by node id of definitions what lies downstream of them, where something does.

    Those that run inside others are left out, as in the overview. It costs one query for each step, however many
    definitions are asked about.
    """
    columns = lineage_nodes.c
    origins: dict[int, UUID] = {}
    for chunk in chunks(list(node_ids)):
        query = select(columns.number, columns.node_id).where(columns.node_id.in_(chunk))
        origins.update((row.number, row.node_id) for row in connection.execute(query))
    walks = {number: _Walk(number) for number in origins}
    edges = _Edges(connection)
    for _ in range(MAX_EDGES):
        ahead = sorted({number for walk in walks.values() for number in walk.level})
        if not ahead:
            break
        leads_to, is_cut = edges.lead_from(ahead)
        for walk in walks.values():
            walk.go_on(leads_to, is_cut=is_cut)
    found = {number for walk in walks.values() for number in walk.found}
    refs = _find_outer(connection, found)
    blocked: dict[UUID, Blocked] = {}
    for number, walk in walks.items():
        there = [refs[one] for one in walk.found if one in refs]
        if there:
            blocked[origins[number]] = Blocked(there[:SHOWN], len(there), walk.is_cut)
    return blocked


class _Walk:
    """How far it was gone from one definition."""

    def __init__(self, origin: int) -> None:
        self.level = [origin]
        self.found: list[int] = []
        self.is_cut = False
        self._seen = {origin}

    def go_on(self, leads_to: Mapping[int, list[int]], *, is_cut: bool) -> None:
        """Go one step further."""
        self.is_cut = self.is_cut or (is_cut and bool(self.level))
        new = dict.fromkeys(chain.from_iterable(leads_to.get(number, ()) for number in self.level))
        fresh = [number for number in new if number not in self._seen]
        room = MAX_FOUND - len(self.found)
        self.is_cut = self.is_cut or len(fresh) > room
        self.level = fresh[:room]
        self._seen.update(self.level)
        self.found += self.level


class _Edges:
    """The edges that were read: ways from several definitions lead through the same nodes, at different steps."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, list[int]] = {}

    def lead_from(self, numbers: list[int]) -> tuple[Mapping[int, list[int]], bool]:
        """Return where edges lead by where they come from, and whether there were too many to read them all."""
        lacking = [number for number in numbers if number not in self._known]
        leads_to, is_cut = _read_edges(self._connection, lacking)
        if is_cut:
            # Of some there may be more: that is not kept for a later step.
            return {**self._known, **leads_to}, True
        self._known.update((number, leads_to.get(number, [])) for number in lacking)
        return self._known, False


def _read_edges(connection: Connection, numbers: list[int]) -> tuple[dict[int, list[int]], bool]:
    columns = lineage_edges.c
    leads_to: defaultdict[int, list[int]] = defaultdict(list)
    room = MAX_READ
    for chunk in chunks(numbers):
        query = select(columns.source, columns.target).where(columns.source.in_(chunk))
        ordered = query.order_by(columns.source, columns.target, columns.kind).limit(room + 1)
        rows = connection.execute(ordered).all()
        for source, target in rows[:room]:
            leads_to[source].append(target)
        if len(rows) > room:
            return leads_to, True
        room -= len(rows)
    return leads_to, False


def _find_outer(connection: Connection, numbers: set[int]) -> dict[int, LineageRef]:
    """Return those of the nodes that are definitions and whose runs lie in no others."""
    nodes = {number: node for number, node in find_nodes(connection, numbers).items() if node.kind == "definition"}
    health = definition_health.c
    inner: set[tuple[Any, ...]] = set()
    names: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for node in nodes.values():
        names[node.engine, node.deployment].append(node.name)
    # An engine at a time: SQLite looks no list of whole keys up in an index.
    for (engine, deployment), of_engine in names.items():
        there = (health.engine == engine, health.deployment == deployment, health.is_inner)
        for chunk in chunks(of_engine):
            query = select(health.engine, health.deployment, health.definition)
            found = connection.execute(query.where(*there, health.definition.in_(chunk)))
            inner.update(tuple(row) for row in found)
    return {
        number: LineageRef(node_id=node.node_id, **node._asdict())
        for number, node in nodes.items()
        if (node.engine, node.deployment, node.name) not in inner
    }
