"""Lists of runs as they were in a past."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, literal, select, tuple_

from runvis_core.errors import PastError
from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.cursors import read_cursor, read_moment, write_cursor
from runvis_core.services.filters import RunFilter
from runvis_core.services.names import resolve_run
from runvis_core.services.past import PastRun, PastRuns, bounds, covers, name_past, reading_past
from runvis_core.services.past_filter import PastFilter, PastRunFilter
from runvis_core.services.past_kin import find_past_ancestry, find_past_previous
from runvis_core.services.run_summaries import Collected, Surroundings, describe, list_items
from runvis_core.store.database import Store
from runvis_core.store.tables import run_intervals
from runvis_core.store.types import Id, Moment

_LIST: Final = "past runs"
_FIELDS: Final = {
    "engine": run_intervals.c.engine,
    "deployment": run_intervals.c.deployment,
    "definition": run_intervals.c.definition,
    "native_state": run_intervals.c.native_state,
    "trigger": run_intervals.c.trigger_kind,
}
_WITHOUT_PAST: Final = ("tag", "correlation", "silent", "kind", "text")


def list_past_runs(
    store: Store, filters: RunFilter, asked: PastFilter, *, limit: int, cursor: str | None = None, now: datetime
) -> Page[RunSummary]:
    """Return the runs that the filters let through, as they were in a past, newest first.

    The filters go by what was the case then. Raises `PastError` for a past that lies in the future and for filters that
    have none, `CursorError` for a cursor of another list.
    """
    with reading_past(store, asked, now=now) as (connection, past):
        runs = PastRuns(connection, past)
        found, next_cursor = find_past_runs(runs, filters, asked, limit=limit, cursor=cursor)
        items = summarise_past(runs, found)
    return Page(items=items, next_cursor=next_cursor, notes=[name_past(past)])


def find_past_runs(
    runs: PastRuns, filters: RunFilter, asked: PastFilter, *, limit: int, cursor: str | None
) -> tuple[list[PastRun], str | None]:
    """Return the runs of a page of a list of the past, newest first, and the cursor of the next page."""
    bound = PastRunFilter(**filters.model_dump(), **asked.model_dump())
    conditions = list(_conditions(runs.connection, filters))
    columns = run_intervals.c
    if cursor is None:
        end = bounds(runs.connection, runs.past, until=filters.until)
    else:
        end = [_after(*read_cursor(cursor, of=_LIST, filters=bound, kinds=(read_moment, UUID)))]
    query = (
        select(columns.run_id, columns.sort_at)
        .where(*covers(runs.past), *end, *conditions)
        .order_by(columns.sort_at.desc(), columns.run_id.desc())
    )
    rows = runs.connection.execute(query.limit(limit + 1)).all()
    page, more = rows[:limit], len(rows) > limit
    place = [page[-1].sort_at.isoformat(), str(page[-1].run_id)] if more else []
    next_cursor = write_cursor(place, of=_LIST, filters=bound) if more else None
    return runs.load(row.run_id for row in page), next_cursor


def _after(sort_at: datetime, run_id: UUID) -> ColumnElement[bool]:
    place = tuple_(literal(sort_at, Moment), literal(run_id, Id))
    return tuple_(run_intervals.c.sort_at, run_intervals.c.run_id) < place


def _conditions(connection: Connection, filters: RunFilter) -> Iterable[ColumnElement[bool]]:
    """Yield what must hold of intervals that the filters let through, but for the end of the list."""
    _refuse_untold(filters)
    yield run_intervals.c.became_run_id.is_(None)
    for name, column in _FIELDS.items():
        if (value := getattr(filters, name)) is not None:
            yield column == value
    if filters.top:
        yield run_intervals.c.parent_run_id.is_(None)
    if filters.parent is not None:
        yield run_intervals.c.parent_run_id == resolve_run(connection, filters.parent)
    if filters.state:
        yield run_intervals.c.effective_state.in_([state.value for state in filters.state])
    if filters.since is not None:
        yield run_intervals.c.sort_at >= filters.since
    if filters.conflicting:
        yield run_intervals.c.corrected


def _refuse_untold(filters: RunFilter) -> None:
    for name in _WITHOUT_PAST:
        if getattr(filters, name):
            allowed = ", ".join([*_FIELDS, "parent", "top", "state", "since", "until", "conflicting"])
            raise PastError(f"{name}: a list of the past can't be narrowed by it; it can be by {allowed}")


def summarise_past(runs: PastRuns, found: Sequence[PastRun], *, whole: bool = False) -> list[RunSummary]:
    """Return what lists say of runs as they were; `whole` leaves nothing of them out."""
    run_ids = [run.row.run_id for run in found]
    limit = list_items(whole=whole)
    around = Surroundings(
        ancestry=find_past_ancestry(runs, run_ids),
        previous=find_past_previous(runs, found),
        corrected={run.row.run_id for run in found if run.record.corrections},
        counts={run.row.run_id: (len(run.entries), _witnesses(run)) for run in found},
        completeness={},
        datasets=_collected(found, "dataset", limit),
        artifacts=_collected(found, "artifact", limit),
        metrics=_collected(found, "metric", limit),
    )
    contexts = {run.row.run_id: run.record.context for run in found}
    return describe(runs.connection, [run.row for run in found], contexts, around, whole=whole)


def _witnesses(run: PastRun) -> list[str]:
    return sorted({entry.event.witness.value for entry in run.entries})


def _collected(found: Iterable[PastRun], kind: str, limit: int) -> Collected:
    rows: dict[UUID, list[Any]] = {}
    cut: dict[UUID, int] = {}
    for run in found:
        of_kind = [one.event for one in run.record.collections.values() if one.event.kind == kind]
        rows[run.row.run_id], cut[run.row.run_id] = of_kind[:limit], max(0, len(of_kind) - limit)
    return Collected(rows, cut)
