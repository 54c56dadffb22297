"""Which live runs are silent: their heartbeat is overdue. Heartbeats are not in the log, so it is told of now alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from runvis_core.model.state import is_going_on
from runvis_core.services.answers import AttemptView
from runvis_core.services.reading import LISTED, RUN_IDS, chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import liveness, runs
from runvis_core.store.types import Moment

MISSED_BEATS: Final = 3
"""After how many intervals without a heartbeat a run is silent: one that is a little late is no sign of anything."""


def is_overdue(last_heartbeat_at: datetime, interval_seconds: float, *, now: datetime) -> bool:
    """Return whether so many heartbeats should have come that the run is silent."""
    return (now - last_heartbeat_at).total_seconds() > MISSED_BEATS * interval_seconds


def find_silent(connection: Connection, now: datetime, *, limit: int) -> list[UUID]:
    """Return live runs whose heartbeat is overdue, the longest silent first."""
    # In two steps: a run that ended has no row of liveness left, so the first one is all that could be silent.
    overdue = (
        select(liveness.c.run_id)
        .where(has_fallen_silent(now))
        .order_by(liveness.c.last_heartbeat_at, liveness.c.run_id)
    )
    found = list(connection.scalars(overdue.limit(limit)))
    live: set[UUID] = set()
    for chunk in chunks(found, LISTED):
        live.update(connection.scalars(_LIVE, {RUN_IDS.key: chunk}))
    return [run_id for run_id in found if run_id in live]


_LIVE: Final = select(runs.c.run_id).where(
    is_among(runs.c.run_id, RUN_IDS), runs.c.frozen_position.is_(None), runs.c.became_run_id.is_(None)
)


def find_silent_among(connection: Connection, run_ids: Iterable[UUID], *, now: datetime) -> set[UUID]:
    """Return which of these runs, all of which are going on, are silent; of none nothing is asked."""
    silent: set[UUID] = set()
    for chunk in chunks(run_ids, LISTED):
        rows: Iterable[Any] = connection.execute(_HEARTBEATS, {RUN_IDS.key: chunk})
        silent.update(row.run_id for row in rows if is_overdue(row.last_heartbeat_at, row.interval_seconds, now=now))
    return silent


def find_silent_shown(store: Store, shown: Iterable[AttemptView | None], *, now: datetime) -> set[UUID]:
    """Return which runs of those that a page shows are silent: that are going on, and their heartbeat is overdue."""
    live = {run.run_id for run in shown if run is not None and is_going_on(run.effective_state)}
    if not live:
        return set()
    with reading(store) as connection:
        return find_silent_among(connection, sorted(live), now=now)


_HEARTBEATS: Final = select(liveness).where(is_among(liveness.c.run_id, RUN_IDS))


class SecondsBetween(FunctionElement[float]):
    """The seconds from the first moment to the second."""

    inherit_cache = True


@compiles(SecondsBetween, "sqlite")
def _seconds_between_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(SecondsBetween, "postgresql")
def _seconds_between_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"EXTRACT(EPOCH FROM ({end} - {start}))"


def has_fallen_silent(now: datetime, *, since: datetime | None = None) -> ColumnElement[bool]:
    """Return the condition on a row of `liveness` that so many heartbeats should have come that the run is silent.

    With `since`, that they should have come from then on: what was said before, nobody may have heard.
    """
    # A run that never beat is not silent: its engine may send no heartbeats at all.
    limit = MISSED_BEATS * liveness.c.interval_seconds
    overdue = SecondsBetween(liveness.c.last_heartbeat_at, literal(now, Moment)) > limit
    return overdue if since is None else and_(overdue, literal((now - since).total_seconds()) > limit)
