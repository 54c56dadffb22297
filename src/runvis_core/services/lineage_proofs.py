"""What shows an edge, and how a loop turned: the runs behind the graph, as they are or were."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, exists, literal, select, tuple_

from runvis_core.errors import NotFoundError
from runvis_core.lineage.nodes import node_of
from runvis_core.lineage.turns import Chains, Column, Trigger
from runvis_core.services.answers import Page, RunRef
from runvis_core.services.cursors import read_cursor, read_position, write_cursor
from runvis_core.services.lineage_answers import EdgeProofs, LineageRef, LoopTurn, PastEdgeQuery, Proof
from runvis_core.services.lineage_edges import Edges, reading_edges
from runvis_core.services.past import Past, PastRuns
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.reading import chunks
from runvis_core.services.run_refs import find_refs, run_ref_fields
from runvis_core.store.database import Store
from runvis_core.store.tables import lineage_facts, lineage_nodes, lineage_runs, lineage_triggers, lineage_turns
from runvis_core.store.types import Id

_LIST: Final = "edge proofs"
SHOWN_TURNS: Final = 5
"""How many turns of a loop are shown as runs in time."""


def get_proofs(
    store: Store, query: PastEdgeQuery, *, limit: int, cursor: str | None = None, now: datetime
) -> EdgeProofs:
    """Return the runs that show an edge, or showed it in a past, the last one to become known first.

    Raises `NotFoundError` where there is or was no such edge, `CursorError` for a cursor of another one, `PastError`.
    """
    asked = PastFilter(as_of=query.as_of, known_at=query.known_at)
    with reading_edges(store, asked, now=now) as (edges, past):
        source, target = _find_ends(edges, query)
        fact, earlier = lineage_facts.c, lineage_facts.alias()
        of_edge = [fact.source == source.number, fact.target == target.number, fact.kind == query.kind]
        same = and_(*(earlier.c[name] == fact[name] for name in ("source", "target", "kind", "subject")))
        # A second row of a subject tells only of an earlier moment.
        before = exists().where(same, earlier.c.position < fact.position, *_counted(earlier.c, past))
        statement = select(lineage_facts).where(*of_edge, *_counted(fact, past), ~before)
        if cursor is not None:
            position, subject = read_cursor(cursor, of=_LIST, filters=query, kinds=(read_position, UUID))
            place = tuple_(literal(position), literal(subject, Id))
            statement = statement.where(tuple_(fact.position, fact.subject) < place)
        ordered = statement.order_by(fact.position.desc(), fact.subject.desc()).limit(limit + 1)
        rows = edges.connection.execute(ordered).all()
        if not rows and cursor is None:
            raise NotFoundError(f"'{source.name}' and '{target.name}' have no edge of kind '{query.kind}'")
        page = rows[:limit]
        refs = _find_refs(edges.connection, past, [row.run_id for row in page])
        place = [str(page[-1].position), str(page[-1].subject)] if len(rows) > limit else []
        return EdgeProofs(
            source=_ref(source),
            target=_ref(target),
            kind=query.kind,
            items=[
                Proof(run=refs[row.run_id], position=row.position, happened_at=row.happened_at, seen_at=row.seen_at)
                for row in page
                if row.run_id in refs
            ],
            next_cursor=write_cursor(place, of=_LIST, filters=query) if place else None,
        )


def list_turns(store: Store, node_id: UUID, past: PastFilter, *, now: datetime) -> Page[LoopTurn]:
    """Return the last turns that came back to a definition, the latest first, each with its runs in order.

    Raises `NotFoundError` where there is or was no such definition, and `PastError`.
    """
    with reading_edges(store, past, now=now) as (edges, then):
        node = _find_node(edges, node_id)
        columns = lineage_turns.c
        query = select(lineage_turns).where(columns.node == node.number, *edges.turns())
        rows = edges.connection.execute(query.order_by(columns.position.desc(), columns.thing).limit(SHOWN_TURNS)).all()
        starts = {row.thing: _start_of(edges.connection, row) for row in rows}
        chains = Chains(starts.values(), lambda column, things: _read_triggers(edges.connection, column, things))
        ways = {row.thing: chains.things_of(starts[row.thing], row.position) for row in rows}
        first = _first_runs(edges.connection, {thing for way in ways.values() for thing in way})
        refs = _find_refs(edges.connection, then, first.values())
        return Page[LoopTurn](
            items=[
                LoopTurn(
                    position=row.position,
                    happened_at=row.happened_at,
                    runs=[refs[first[thing]] for thing in ways[row.thing] if first.get(thing) in refs],
                )
                for row in rows
            ]
        )


def _counted(fact: Any, past: Past | None) -> list[ColumnElement[bool]]:
    if past is None:
        return []
    known = [fact.position <= past.position]
    return known if past.moment is None else [*known, fact.happened_at <= past.moment]


def _find_ends(edges: Edges, query: PastEdgeQuery) -> tuple[Any, Any]:
    return _find_node(edges, query.source), _find_node(edges, query.target)


def _find_node(edges: Edges, node_id: UUID) -> Any:
    query, condition = select(lineage_nodes).where(lineage_nodes.c.node_id == node_id), edges.has_node()
    row = edges.connection.execute(query if condition is None else query.where(condition)).one_or_none()
    if row is None:
        raise NotFoundError(f"no lineage is known of a node {node_id}")
    return row


def _ref(row: Any) -> LineageRef:
    return LineageRef(node_id=row.node_id, **node_of(row)._asdict())


def _find_refs(connection: Connection, past: Past | None, run_ids: Iterable[UUID]) -> dict[UUID, RunRef]:
    wanted = list(dict.fromkeys(run_ids))
    if past is not None:
        found = PastRuns(connection, past).load(wanted)
        refs = [RunRef(**run_ref_fields(run.row, corrected=bool(run.record.corrections))) for run in found]
    else:
        refs = find_refs(connection, wanted)
    return {ref.run_id: ref for ref in refs}


def _start_of(connection: Connection, turn: Any) -> Trigger:
    """Return a start of the thing that closed a turn."""
    columns = lineage_triggers.c
    query = select(lineage_triggers).where(columns.thing == turn.thing, columns.position <= turn.position)
    return Trigger(*connection.execute(query.order_by(columns.position, columns.source).limit(1)).one())


def _read_triggers(connection: Connection, column: Column, things: Iterable[UUID]) -> Iterable[Trigger]:
    for chunk in chunks(list(things)):
        query = select(lineage_triggers).where(lineage_triggers.c[column].in_(chunk))
        yield from (Trigger(*row) for row in connection.execute(query))


def _first_runs(connection: Connection, things: Iterable[UUID]) -> dict[UUID, UUID]:
    """Return by thing the run that was named first as an attempt of it."""
    columns = lineage_runs.c
    found: dict[UUID, UUID] = {}
    for chunk in chunks(list(things)):
        query = select(columns.thing, columns.run_id).where(columns.thing.in_(chunk)).order_by(columns.known_at)
        for row in connection.execute(query):
            found.setdefault(row.thing, row.run_id)
    return found
