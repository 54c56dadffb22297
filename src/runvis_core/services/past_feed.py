"""The feed as it was in a past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.feed import (
    FAILED,
    MAX_INSIDE,
    MAX_LEVELS,
    FeedRow,
    InsideFailure,
    find_failed_inside,
    is_unexplained,
    list_feed,
)
from runvis_core.services.filters import RunFilter
from runvis_core.services.past import PastRun, PastRuns, covers, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_kin import find_by_key, key_of
from runvis_core.services.past_runs import find_past_runs, summarise_past
from runvis_core.services.reading import chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import run_intervals

_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def list_feed_at(
    store: Store,
    filters: RunFilter,
    past: PastFilter,
    *,
    limit: int,
    cursor: str | None = None,
    now: datetime,
    opened: Sequence[UUID] = (),
) -> Page[FeedRow]:
    """Return a page of the feed as it is or was; see `list_feed`, and `list_past_runs` for what it raises."""
    if past.is_present:
        return list_feed(store, filters, limit=limit, cursor=cursor, now=now, opened=opened)
    with reading_past(store, past, now=now) as (connection, found):
        runs = PastRuns(connection, found)
        page = find_past_runs(runs, filters, past, limit=limit, cursor=cursor)
        items = summarise_past(runs, page.found)
        rows = _describe(runs, page.found, items, opened)
    return Page(items=rows, next_cursor=page.next_cursor, notes=page.notes)


def _describe(
    runs: PastRuns, shown: Sequence[PastRun], items: Sequence[RunSummary], opened: Sequence[UUID]
) -> list[FeedRow]:
    counts = _count_inside(runs, [item.run_id for item in items])
    inside = {item.run_id: _inside(runs, item.run_id) for item in items if item.run_id in opened}
    attempts = _count_attempts(runs, [*shown, *(run for some in inside.values() for run in some)])
    failed = find_past_failed_inside(runs, [item.run_id for item in items if is_unexplained(item)])
    return [
        FeedRow(
            run=item,
            inside_count=counts.get(item.run_id, 0),
            attempt_count=max(attempts.get(key_of(run), 1), run.row.attempt or 0),
            failed_inside=failed.get(item.run_id),
            inside=summarise_past(runs, inside.get(item.run_id, [])),
            inside_attempt_counts=[
                max(attempts.get(key_of(one), 1), one.row.attempt or 0) for one in inside.get(item.run_id, [])
            ],
        )
        for run, item in zip(shown, items, strict=True)
    ]


def _count_inside(runs: PastRuns, run_ids: Sequence[UUID]) -> dict[UUID, int]:
    column = run_intervals.c
    counts: dict[UUID, int] = {}
    for chunk in chunks(run_ids):
        query = (
            select(column.parent_run_id, func.count(column.run_id.distinct()).label("inside"))
            .where(*covers(runs.past), column.parent_run_id.in_(chunk), column.became_run_id.is_(None))
            .group_by(column.parent_run_id)
        )
        counts.update((row.parent_run_id, row.inside) for row in runs.connection.execute(query))
    return counts


def _count_attempts(runs: PastRuns, shown: Sequence[PastRun]) -> dict[tuple[str, str, str | None], int]:
    column = run_intervals.c
    key = (column.engine, column.deployment, column.native_key)
    counts: dict[tuple[str, str, str | None], int] = {}
    for chunk in chunks(sorted({run.row.native_key for run in shown if run.row.native_key is not None})):
        query = (
            select(*key, func.count(column.run_id.distinct()).label("attempts"))
            .where(*covers(runs.past), column.native_key.in_(chunk), column.became_run_id.is_(None))
            .group_by(*key)
        )
        for row in runs.connection.execute(query):
            counts[row.engine, row.deployment, row.native_key] = row.attempts
    return counts


def _inside(runs: PastRuns, run_id: UUID) -> list[PastRun]:
    column = run_intervals.c
    query = (
        select(column.run_id)
        .where(*covers(runs.past), column.parent_run_id == run_id, column.became_run_id.is_(None))
        .order_by(column.sort_at, column.run_id)
        .limit(MAX_INSIDE)
    )
    return runs.load(runs.connection.scalars(query))


def find_failed_inside_at(store: Store, run_id: UUID, past: PastFilter, *, now: datetime) -> InsideFailure | None:
    """Return what failed first inside a run, or had failed in the past that is asked about."""
    if past.is_present:
        with reading(store) as connection:
            return find_failed_inside(connection, [run_id]).get(run_id)
    with reading_past(store, past, now=now) as (connection, found):
        return find_past_failed_inside(PastRuns(connection, found), [run_id]).get(run_id)


def find_past_failed_inside(runs: PastRuns, run_ids: Sequence[UUID]) -> dict[UUID, InsideFailure]:
    """Return by run what had failed first inside it, as `find_failed_inside` does for the present."""
    reasons: dict[UUID, PastRun] = {}
    above = {run_id: run_id for run_id in run_ids}
    for _ in range(MAX_LEVELS):
        below: dict[UUID, UUID] = {}
        for child in _failed_children(runs, list(above)):
            top = above[child.row.parent_run_id]
            known = reasons.get(top)
            if known is None or known.row.run_id == child.row.parent_run_id:
                reasons[top] = child
                below[child.row.run_id] = top
        above = below
        if not above:
            break
    told = {item.run_id: item for item in summarise_past(runs, list(reasons.values()))}
    return {
        top: InsideFailure(
            run_id=child.row.run_id,
            definition=child.row.definition,
            native_id=child.row.native_id,
            attempt=child.row.attempt,
            failure=told[child.row.run_id].failure,
        )
        for top, child in reasons.items()
    }


def _failed_children(runs: PastRuns, parents: Sequence[UUID]) -> Iterable[PastRun]:
    """Return of each parent the child that had failed first, in its last attempt."""
    column = run_intervals.c
    failed: list[PastRun] = []
    for chunk in chunks(parents):
        failed += runs.find_where(
            column.parent_run_id.in_(chunk),
            column.effective_state.in_(FAILED),
            column.became_run_id.is_(None),
            over="run_intervals_parent",
        )
    tries = find_by_key(runs, [run.row.native_key for run in failed])
    first: dict[UUID, list[PastRun]] = defaultdict(list)
    for run in failed:
        if not any(_is_later_try(other.row, run.row) for other in tries[key_of(run)]):
            first[run.row.parent_run_id].append(run)
    return [min(found, key=_by_end) for found in first.values()]


def _is_later_try(other: Any, row: Any) -> bool:
    return other.parent_run_id == row.parent_run_id and (other.attempt or 0) > (row.attempt or 0)


def _by_end(run: PastRun) -> tuple[datetime, int]:
    return (run.row.ended_at or _LATEST, run.row.first_position)
