"""The edges of the lineage as they are, and as they were in a past: told by the same words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson
from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from runvis_core.lineage.loops import Graph
from runvis_core.lineage.tally import KEPT_RUNS, Key
from runvis_core.services.past import Past, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.reading import chunks, reading
from runvis_core.services.steps import LINEAGE
from runvis_core.store.database import Store
from runvis_core.store.id_lists import are_among
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import lineage_edges, lineage_facts, lineage_nodes, lineage_turns

End = Literal["source", "target"]

_LATER: Final[dict[str, str]] = {"source": "target", "target": "source"}
_KEY: Final = (lineage_facts.c.source, lineage_facts.c.target, lineage_facts.c.kind)


class Edge(NamedTuple):
    """An edge between numbered nodes, and what shows it."""

    source: int
    target: int
    kind: Literal["reads", "writes", "triggers"]
    first_position: int
    first_seen_at: datetime
    last_position: int
    last_seen_at: datetime
    run_count: int
    last_run_ids: list[str]
    """As text: a graph has thousands of edges, and ids are made only of those that are answered."""

    @property
    def key(self) -> Key:
        """The edge alone."""
        return (self.source, self.target, self.kind)


class Edges(Protocol):
    """The edges of one moment, in one view of a store."""

    connection: Connection

    def leading(self, here: End, numbers: Sequence[int], *, limit: int) -> list[Edge]:
        """Return the edges that have nodes at one end, at most so many, in the order of that end, then the other."""
        ...

    def between(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[Edge]]:
        """Return the edges from one node to another, by both."""
        ...

    def graph(self) -> Graph:
        """Return all of them."""
        ...

    def has_node(self) -> ColumnElement[bool] | None:
        """Return the condition under which a row of `lineage_nodes` is there, if it needs one."""
        ...

    def turns(self) -> list[ColumnElement[bool]]:
        """Return the conditions under which a row of `lineage_turns` counts."""
        ...


@contextmanager
def reading_edges(
    store: Store, past: PastFilter, *, now: datetime, naming: int = KEPT_RUNS
) -> Generator[tuple[Edges, Past | None]]:
    """Open the edges as they are, or as they were in a past, with the lineage at the log's head.

    `naming` says how many of the last runs each edge names, at most `KEPT_RUNS`; each has its cost.
    Raises `PastError` for a past that can't be told of, `UnreachableError` where the store can't be reached.
    """
    if past.is_present:
        catch_up(store, [LINEAGE])
        with reading(store) as connection:
            yield PresentEdges(connection, naming), None
    else:
        with reading_past(store, past, now=now, steps=[LINEAGE]) as (connection, found):
            yield PastEdges(connection, found, naming), found


class PresentEdges:
    """The edges as they are."""

    def __init__(self, connection: Connection, naming: int) -> None:
        self.connection = connection
        self._naming = naming

    def leading(self, here: End, numbers: Sequence[int], *, limit: int) -> list[Edge]:
        """Return the edges that have nodes at one end."""
        columns = lineage_edges.c
        ordered = self._edges().order_by(columns[here], columns[_LATER[here]], columns.kind)
        return list(self._read(ordered.where(columns[here].in_(numbers)).limit(limit)))

    def between(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[Edge]]:
        """Return the edges from one node to another, by both."""
        ends = (lineage_edges.c.source, lineage_edges.c.target)
        return _by_pair(pairs, lambda chunk: self._read(self._edges().where(are_among(ends, chunk))))

    def graph(self) -> Graph:
        """Return all of them. There are many: they come as few values, in the form that each driver reads soonest."""
        size = _size(self.connection)
        raw: Any = self.connection.connection.driver_connection
        if self.connection.dialect.name == "postgresql":
            with raw.cursor(binary=True) as cursor:
                ends = cursor.execute("SELECT array_agg(source), array_agg(target) FROM lineage_edges").fetchone()
            return Graph(size, _together(zip(*(end or () for end in ends), strict=True)))
        rows = raw.execute("SELECT source, json_group_array(target) FROM lineage_edges GROUP BY source").fetchall()
        return Graph(size, ((source, orjson.loads(targets)) for source, targets in rows))

    def has_node(self) -> ColumnElement[bool] | None:
        """Return nothing: all nodes are there."""
        return None

    def turns(self) -> list[ColumnElement[bool]]:
        """Return no condition: all turns count."""
        return []

    def _edges(self) -> Select[Any]:
        columns = lineage_edges.c
        # Where no run is named, the text that names them is not read.
        last_runs = [columns.last_runs] if self._naming else []
        return select(*(columns[name] for name in Edge._fields[:-1]), *last_runs)

    def _read(self, query: Select[Any]) -> Iterator[Edge]:
        rows = self.connection.execute(query).all()
        if not self._naming:
            yield from (Edge._make((*said, [])) for said in rows)
            return
        for *said, last_runs in rows:
            yield Edge._make((*said, [run_id for run_id, _ in orjson.loads(last_runs)[: self._naming]]))


class PastEdges:
    """The edges as they were: an edge stood once a fact of it was recorded and had happened."""

    def __init__(self, connection: Connection, past: Past, naming: int) -> None:
        self.connection = connection
        self._past = past
        self._naming = naming

    def leading(self, here: End, numbers: Sequence[int], *, limit: int) -> list[Edge]:
        """Return the edges that had nodes at one end."""
        return self._read(lineage_facts.c[here].in_(numbers), (here, _LATER[here], "kind"), limit=limit)

    def between(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[Edge]]:
        """Return the edges from one node to another, by both."""
        ends = (lineage_facts.c.source, lineage_facts.c.target)
        return _by_pair(pairs, lambda chunk: self._read(are_among(ends, chunk), ("source", "target", "kind")))

    def graph(self) -> Graph:
        """Return all of them."""
        edge, fact = lineage_edges.c, lineage_facts.c
        is_postgresql = self.connection.dialect.name == "postgresql"
        targets = func.array_agg(edge.target) if is_postgresql else func.json_group_array(edge.target)
        query = select(edge.source, targets).where(edge.first_position <= self._past.position)
        if self._past.moment is not None:
            shown = exists().where(
                fact.source == edge.source, fact.target == edge.target, fact.kind == edge.kind, *self._counts()
            )
            query = query.where(shown)
        rows = self.connection.execute(query.group_by(edge.source))
        read = list[int] if is_postgresql else orjson.loads
        return Graph(_size(self.connection), ((source, read(leads_to)) for source, leads_to in rows))

    def has_node(self) -> ColumnElement[bool] | None:
        """Return the condition that a node was told of by then."""
        return lineage_nodes.c.position <= self._past.position

    def turns(self) -> list[ColumnElement[bool]]:
        """Return the conditions that a turn was known then, and had come back."""
        columns = lineage_turns.c
        known = [columns.position <= self._past.position]
        return known if self._past.moment is None else [*known, columns.happened_at <= self._past.moment]

    def _counts(self) -> list[ColumnElement[bool]]:
        fact, moment = lineage_facts.c, self._past.moment
        known = [fact.position <= self._past.position]
        return known if moment is None else [*known, fact.happened_at <= moment]

    def _read(self, told: ColumnElement[bool], order: tuple[str, str, str], limit: int | None = None) -> list[Edge]:
        """Return the edges that facts under a condition show, in an order of their key."""
        fact = lineage_facts.c
        positions = (func.min(fact.position), func.min(fact.seen_at), func.max(fact.position), func.max(fact.seen_at))
        counted = select(*_KEY, *positions, func.count(fact.subject.distinct()), func.count())
        query = counted.where(told, *self._counts()).group_by(*_KEY).order_by(*(fact[name] for name in order))
        edges: dict[Key, Edge] = {}
        told_again: list[Key] = []
        for *said, fact_count in self.connection.execute(query.limit(limit)).all():
            edge = Edge._make([*said, []])
            edges[edge.key] = edge
            if fact_count > edge.run_count:
                told_again.append(edge.key)
        for key, last_position, last_seen_at in self._last_news(told_again):
            edges[key] = edges[key]._replace(last_position=last_position, last_seen_at=last_seen_at)
        if self._naming:
            named = self._last_runs(told).order_by(*order, "latest")
            for row in self.connection.execute(named.limit(limit and limit * self._naming)):
                if (edge := edges.get((row.source, row.target, row.kind))) is not None:
                    edge.last_run_ids.append(str(row.run_id))
        return list(edges.values())

    def _last_news(self, keys: Sequence[Key]) -> Iterator[tuple[Key, int, datetime]]:
        """Yield where and when edges were shown last, of which some subject was told of several times.

        What a subject shows counts from when it was known first.
        """
        fact = lineage_facts.c
        for chunk in chunks(keys):
            since = (func.min(fact.position).label("position"), func.min(fact.seen_at).label("seen_at"))
            counted = select(*_KEY, *since).where(are_among(_KEY, chunk), *self._counts())
            first = counted.group_by(*_KEY, fact.subject).subquery().c
            key = (first.source, first.target, first.kind)
            query = select(*key, func.max(first.position), func.max(first.seen_at)).group_by(*key)
            for source, target, kind, position, seen_at in self.connection.execute(query):
                yield (source, target, kind), position, seen_at

    def _last_runs(self, told: ColumnElement[bool]) -> Select[Any]:
        """Return the last runs that showed each edge, numbered from the latest on."""
        fact = lineage_facts.c
        again = func.row_number().over(partition_by=(*_KEY, fact.subject), order_by=fact.position).label("again")
        known = select(*_KEY, fact.run_id, fact.position, again).where(told, *self._counts()).subquery().c
        key = (known.source, known.target, known.kind)
        latest = func.row_number().over(partition_by=key, order_by=(known.position.desc(), known.run_id))
        numbered = select(*key, known.run_id, latest.label("latest")).where(known.again == 1).subquery()
        return select(numbered).where(numbered.c.latest <= self._naming)


def _together(pairs: Iterable[tuple[int, int]]) -> Iterable[tuple[int, list[int]]]:
    """Return what each node leads to."""
    leads_to: dict[int, list[int]] = defaultdict(list)
    for source, target in pairs:
        leads_to[source].append(target)
    return leads_to.items()


def _size(connection: Connection) -> int:
    return (connection.execute(select(func.max(lineage_nodes.c.number))).scalar_one() or 0) + 1


def _by_pair(
    pairs: Sequence[tuple[int, int]], read: Callable[[list[tuple[int, int]]], Iterable[Edge]]
) -> dict[tuple[int, int], list[Edge]]:
    found: dict[tuple[int, int], list[Edge]] = {pair: [] for pair in pairs}
    for chunk in chunks(pairs):
        for edge in sorted(read(chunk), key=lambda edge: edge.key):
            found[edge.source, edge.target].append(edge)
    return found
