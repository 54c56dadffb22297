"""The feed: runs as a person reads them, each with what happened inside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, func, select, tuple_

from runvis_core.model.state import State, is_going_on
from runvis_core.services.answers import Answer, FailureView, Page, RunSummary
from runvis_core.services.filters import RunFilter
from runvis_core.services.reading import RUN_IDS, chunks, reading
from runvis_core.services.run_refs import HAS_LATE, SUMMARY_COLUMNS
from runvis_core.services.run_summaries import find_failures, summarise
from runvis_core.services.runs import list_runs
from runvis_core.services.silence import find_silent_among
from runvis_core.store.database import Store
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import runs

MAX_INSIDE: Final = 100
"""How many runs inside one that is opened the feed shows; the run's own page shows more."""
MAX_LEVELS: Final = 4
"""How many levels down the feed looks for what failed."""
FAILED: Final = (State.FAILED.value, State.TIMED_OUT.value)
SOMETHING_INSIDE: Final = frozenset({"task_failure"})
"""The engines' words for a failure that says no more than that something inside failed: the reason lies there."""


class InsideFailure(Answer):
    """What failed first inside a run, and so says why the run failed."""

    run_id: UUID
    definition: str | None = None
    native_id: str | None = None
    attempt: int | None = None
    failure: FailureView | None = None


class FeedRow(Answer):
    """A run, how many runs lie directly in it, how many attempts there are of it, and what failed first inside."""

    run: RunSummary
    inside_count: int = 0
    attempt_count: int = 1
    failed_inside: InsideFailure | None = None
    inside: list[RunSummary] = Field(default_factory=list[RunSummary])
    """The runs directly inside, the earliest first, at most `MAX_INSIDE`; empty unless they were asked for."""
    silent: frozenset[UUID] = frozenset()
    """Which of the run and those inside are silent: live, and their heartbeat is overdue. Of a past it is not known."""
    inside_attempt_counts: list[int] = Field(default_factory=list[int])
    """How many attempts there are of each of these."""


def list_feed(
    store: Store,
    filters: RunFilter,
    *,
    limit: int,
    cursor: str | None = None,
    now: datetime,
    opened: Sequence[UUID] = (),
) -> Page[FeedRow]:
    """Return the runs that the filters let through, newest first, as `list_runs` does; `opened` ones with their inside.

    Raises `CursorError` for a cursor of another list.
    """
    page = list_runs(store, filters, limit=limit, cursor=cursor, now=now)
    with reading(store) as connection:
        rows = describe_runs(connection, page.items, now=now, opened=opened)
    return Page(items=rows, next_cursor=page.next_cursor, notes=page.notes)


def describe_runs(
    connection: Connection, found: Sequence[RunSummary], *, now: datetime, opened: Sequence[UUID] = ()
) -> list[FeedRow]:
    """Return runs with what happened inside them."""
    run_ids = [run.run_id for run in found]
    counts = _count_inside(connection, run_ids)
    failed = find_failed_inside(connection, [run.run_id for run in found if is_unexplained(run)])
    inside = {run_id: _inside(connection, run_id) for run_id in opened if counts.get(run_id)}
    shown = {run.run_id: [run, *inside.get(run.run_id, [])] for run in found}
    going_on = [run.run_id for group in shown.values() for run in group if is_going_on(run.effective_state)]
    silent = find_silent_among(connection, going_on, now=now)
    attempts = _count_attempts(connection, [*run_ids, *(run.run_id for some in inside.values() for run in some)])
    return [
        FeedRow(
            run=run,
            inside_count=counts.get(run.run_id, 0),
            attempt_count=attempts.get(run.run_id, 1),
            failed_inside=failed.get(run.run_id),
            inside=inside.get(run.run_id, []),
            silent=frozenset(silent.intersection(one.run_id for one in shown[run.run_id])),
            inside_attempt_counts=[attempts.get(one.run_id, 1) for one in inside.get(run.run_id, [])],
        )
        for run in found
    ]


def is_unexplained(run: RunSummary) -> bool:
    """Return whether a run failed and does not say why itself."""
    return run.effective_state in (State.FAILED, State.TIMED_OUT) and not says_why(run.failure)


def says_why(failure: FailureView | None) -> bool:
    """Return whether a failure gives a reason of its own, more than that something inside failed."""
    if failure is None or failure.error_type in SOMETHING_INSIDE:
        return False
    return bool(failure.message or failure.error_type)


def _count_inside(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, int]:
    counts: dict[UUID, int] = {}
    for chunk in chunks(run_ids):
        rows = connection.execute(_INSIDE_COUNTS, {RUN_IDS.key: chunk})
        counts.update((row.parent_run_id, row.inside) for row in rows)
    return counts


_INSIDE_COUNTS: Final = (
    select(runs.c.parent_run_id, func.count().label("inside"))
    .where(is_among(runs.c.parent_run_id, RUN_IDS), runs.c.became_run_id.is_(None))
    .group_by(runs.c.parent_run_id)
)


@cache
def _attempt_counts() -> Any:
    other = runs.alias("other")
    same = tuple_(other.c.native_key, other.c.engine, other.c.deployment) == tuple_(
        runs.c.native_key, runs.c.engine, runs.c.deployment
    )
    query = select(
        runs.c.run_id, func.count(other.c.run_id).label("attempts"), func.max(other.c.attempt).label("highest")
    )
    query = query.join(other, same)
    return query.where(is_among(runs.c.run_id, RUN_IDS), other.c.became_run_id.is_(None)).group_by(runs.c.run_id)


def _count_attempts(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, int]:
    counts: dict[UUID, int] = {}
    for chunk in chunks(run_ids):
        rows = connection.execute(_attempt_counts(), {RUN_IDS.key: chunk})
        # The first ones may not have been recorded.
        counts.update((row.run_id, max(row.attempts, row.highest or 0)) for row in rows)
    return counts


def _inside(connection: Connection, run_id: UUID) -> list[RunSummary]:
    query = (
        select(*SUMMARY_COLUMNS)
        .where(runs.c.parent_run_id == run_id, runs.c.became_run_id.is_(None))
        .order_by(runs.c.sort_at, runs.c.run_id)
        .limit(MAX_INSIDE)
    )
    return summarise(connection, connection.execute(query).all())


_RECORDS: Final = select(runs.c.run_id, runs.c.record, HAS_LATE).where(is_among(runs.c.run_id, RUN_IDS))


def find_failed_inside(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, InsideFailure]:
    """Return by run what failed first inside it, as deep as `MAX_LEVELS`: the deepest of it, which failed by itself."""
    reasons: dict[UUID, Any] = {}
    above = {run_id: run_id for run_id in run_ids}
    for _ in range(MAX_LEVELS):
        below: dict[UUID, UUID] = {}
        for row in _failed_children(connection, list(above)):
            top = above[row.parent_run_id]
            # The last attempt tells whether the thing failed; on each level the first failure counts.
            known = reasons.get(top)
            if known is None or known.run_id == row.parent_run_id:
                reasons[top] = row
                below[row.run_id] = top
        above = below
        if not above:
            break
    told: dict[UUID, FailureView | None] = {}
    for chunk in chunks([row.run_id for row in reasons.values()]):
        told |= find_failures(connection, connection.execute(_RECORDS, {RUN_IDS.key: chunk}).all())
    return {
        top: InsideFailure(
            run_id=row.run_id,
            definition=row.definition,
            native_id=row.native_id,
            attempt=row.attempt,
            failure=told[row.run_id],
        )
        for top, row in reasons.items()
    }


def is_tried_again() -> ColumnElement[bool]:
    """Return the condition that a run has a later attempt under the same parent."""
    later = runs.alias("later")
    return (
        select(later.c.run_id)
        .where(
            later.c.native_key == runs.c.native_key,
            later.c.engine == runs.c.engine,
            later.c.deployment == runs.c.deployment,
            later.c.parent_run_id == runs.c.parent_run_id,
            later.c.attempt > runs.c.attempt,
        )
        .exists()
    )


@cache
def _first_failures() -> Any:
    # One that is presumed lost has no end; the databases don't agree on where what is not known stands.
    order = (runs.c.ended_at.nulls_last(), runs.c.first_position)
    numbered = (
        select(
            runs.c.run_id,
            runs.c.parent_run_id,
            runs.c.definition,
            runs.c.native_id,
            runs.c.attempt,
            func.row_number().over(partition_by=runs.c.parent_run_id, order_by=order).label("place"),
        )
        .where(
            is_among(runs.c.parent_run_id, RUN_IDS),
            runs.c.effective_state.in_(FAILED),
            runs.c.became_run_id.is_(None),
            ~is_tried_again(),
        )
        # By state SQLite would look through all that ever failed.
        .with_hint(runs, "INDEXED BY runs_parent", "sqlite")
        .subquery()
    )
    return select(numbered).where(numbered.c.place == 1)


def _failed_children(connection: Connection, parents: Sequence[UUID]) -> list[Any]:
    """Return of each parent the child that failed first, in its last attempt."""
    found: list[Any] = []
    for chunk in chunks(parents):
        found += connection.execute(_first_failures(), {RUN_IDS.key: chunk}).all()
    return found
