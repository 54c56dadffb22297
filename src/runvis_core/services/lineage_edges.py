"""The edges of the lineage as they are, and as they were in a past: told by the same words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson
from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, tuple_

from runvis_core.lineage.loops import Graph
from runvis_core.lineage.tally import KEPT_RUNS, Key
from runvis_core.services.past import Past, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.reading import chunks, reading
from runvis_core.services.steps import LINEAGE
from runvis_core.store.database import Store
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import lineage_edges, lineage_facts, lineage_nodes, lineage_turns

End = Literal["source", "target"]

_LATER: Final[dict[str, str]] = {"source": "target", "target": "source"}


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

    In a past `naming` says how many of the last runs each edge names, at least one: each is a row to read.
    Raises `PastError` for a past that can't be told of, `UnreachableError` where the store can't be reached.
    """
    if past.is_present:
        catch_up(store, [LINEAGE])
        with reading(store) as connection:
            yield PresentEdges(connection), None
    else:
        with reading_past(store, past, now=now, steps=[LINEAGE]) as (connection, found):
            yield PastEdges(connection, found, naming), found


class PresentEdges:
    """The edges as they are."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def leading(self, here: End, numbers: Sequence[int], *, limit: int) -> list[Edge]:
        """Return the edges that have nodes at one end."""
        columns = lineage_edges.c
        query = select(*_COLUMNS).where(columns[here].in_(numbers))
        ordered = query.order_by(columns[here], columns[_LATER[here]], columns.kind).limit(limit)
        return [_read_edge(row) for row in self.connection.execute(ordered)]

    def between(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[Edge]]:
        """Return the edges from one node to another, by both."""
        columns = lineage_edges.c
        pair = tuple_(columns.source, columns.target)

        def read(chunk: list[tuple[int, int]]) -> Iterator[Edge]:
            query = select(*_COLUMNS).where(pair.in_(chunk))
            return (_read_edge(row) for row in self.connection.execute(query))

        return _by_pair(pairs, read)

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


class PastEdges:
    """The edges as they were: an edge stood once a fact of it was recorded and had happened."""

    def __init__(self, connection: Connection, past: Past, naming: int) -> None:
        self.connection = connection
        self._past = past
        self._naming = naming

    def leading(self, here: End, numbers: Sequence[int], *, limit: int) -> list[Edge]:
        """Return the edges that had nodes at one end."""
        query = self._proofs(lineage_facts.c[here].in_(numbers))
        place = query.selected_columns
        # Each edge has one row for each of the runs that are named, so that what is cut is beyond the limit.
        ordered = query.order_by(place[here], place[_LATER[here]], place.kind, place.latest)
        return list(islice(_join_proofs(self.connection.execute(ordered.limit(limit * self._naming))), limit))

    def between(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[Edge]]:
        """Return the edges from one node to another, by both."""
        pair = tuple_(lineage_facts.c.source, lineage_facts.c.target)

        def read(chunk: list[tuple[int, int]]) -> Iterator[Edge]:
            query = self._proofs(pair.in_(chunk))
            place = query.selected_columns
            ordered = query.order_by(place.source, place.target, place.kind, place.latest)
            return _join_proofs(self.connection.execute(ordered))

        return _by_pair(pairs, read)

    def graph(self) -> Graph:
        """Return all of them."""
        edge, fact = lineage_edges.c, lineage_facts.c
        query = select(edge.source, edge.target).where(edge.first_position <= self._past.position)
        if self._past.moment is not None:
            shown = exists().where(
                fact.source == edge.source, fact.target == edge.target, fact.kind == edge.kind, *self._counts()
            )
            query = query.where(shown)
        return Graph(
            _size(self.connection), _together((row.source, row.target) for row in self.connection.execute(query))
        )

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

    def _proofs(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        """Return the last runs that showed each edge, each with how many did, and when the first and the last."""
        fact = lineage_facts.c
        edge = (fact.source, fact.target, fact.kind)
        # What a subject showed counts from when it was known first.
        again = func.row_number().over(partition_by=(*edge, fact.subject), order_by=fact.position).label("again")
        told = select(lineage_facts, again).where(*conditions, *self._counts()).subquery()
        key = (told.c.source, told.c.target, told.c.kind)
        of_edge = (
            func.row_number().over(partition_by=key, order_by=(told.c.position.desc(), told.c.run_id)).label("latest"),
            func.count().over(partition_by=key).label("run_count"),
            func.min(told.c.position).over(partition_by=key).label("first_position"),
            func.min(told.c.seen_at).over(partition_by=key).label("first_seen_at"),
            func.max(told.c.position).over(partition_by=key).label("last_position"),
            func.max(told.c.seen_at).over(partition_by=key).label("last_seen_at"),
        )
        counted = select(*key, told.c.run_id, *of_edge).where(told.c.again == 1).subquery()
        said = (*(counted.c[name] for name in Edge._fields[:-1]), counted.c.run_id, counted.c.latest)
        return select(*said).where(counted.c.latest <= self._naming)


def _together(pairs: Iterable[tuple[int, int]]) -> Iterable[tuple[int, list[int]]]:
    """Return what each node leads to."""
    leads_to: dict[int, list[int]] = defaultdict(list)
    for source, target in pairs:
        leads_to[source].append(target)
    return leads_to.items()


def _size(connection: Connection) -> int:
    return (connection.execute(select(func.max(lineage_nodes.c.number))).scalar_one() or 0) + 1


_COLUMNS: Final = (*(lineage_edges.c[name] for name in Edge._fields[:-1]), lineage_edges.c.last_runs)


def _read_edge(row: Any) -> Edge:
    *said, last_runs = row
    return Edge._make([*said, [run_id for run_id, _ in orjson.loads(last_runs)]])


def _join_proofs(rows: Iterable[Any]) -> Iterator[Edge]:
    """Yield an edge for the rows of its last runs, which stand together."""
    edge: Edge | None = None
    for *said, run_id, _ in rows:
        if edge is None or [*edge[:3]] != said[:3]:
            if edge is not None:
                yield edge
            edge = Edge._make([*said, []])
        edge.last_run_ids.append(str(run_id))
    if edge is not None:
        yield edge


def _by_pair(
    pairs: Sequence[tuple[int, int]], read: Callable[[list[tuple[int, int]]], Iterable[Edge]]
) -> dict[tuple[int, int], list[Edge]]:
    found: dict[tuple[int, int], list[Edge]] = {pair: [] for pair in pairs}
    for chunk in chunks(pairs):
        for edge in sorted(read(chunk), key=lambda edge: edge.key):
            found[edge.source, edge.target].append(edge)
    return found
