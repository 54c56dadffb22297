"""Lists of runs as they were in a past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection

from runvis_core.errors import PastError
from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.cursors import read_cursor, read_moment, write_cursor
from runvis_core.services.filters import RunFilter
from runvis_core.services.past import PastRun, PastRuns, covers, find_end, name_past, reading_past
from runvis_core.services.past_filter import PastFilter, PastRunFilter
from runvis_core.services.past_kin import find_past_ancestry, find_past_previous
from runvis_core.services.past_names import resolve_past_run
from runvis_core.services.run_summaries import Collected, Surroundings, describe, list_items
from runvis_core.services.ways import Bounds, Place, Way, find_named, is_of, name_walked, walk
from runvis_core.store.database import Store
from runvis_core.store.tables import run_intervals

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
        page = find_past_runs(runs, filters, asked, limit=limit, cursor=cursor)
        items = summarise_past(runs, page.found)
    return Page(items=items, next_cursor=page.next_cursor, notes=page.notes)


class PastPage(NamedTuple):
    """A page of a list of the past, newest first."""

    found: list[PastRun]
    next_cursor: str | None
    notes: list[str]


def find_past_runs(
    runs: PastRuns, filters: RunFilter, asked: PastFilter, *, limit: int, cursor: str | None
) -> PastPage:
    """Return a page of a list of the past. It looks through no more of it than `list_runs` does."""
    bound = PastRunFilter(**filters.model_dump(), **asked.model_dump())
    after = None if cursor is None else Place(*read_cursor(cursor, of=_LIST, filters=bound, kinds=(read_moment, UUID)))
    ends = [end for end in (filters.until, find_end(runs.connection, runs.past)) if end is not None]
    parent = None if filters.parent is None else resolve_past_run(runs, filters.parent)
    walked = walk(
        runs.connection,
        run_intervals,
        _candidates(runs.connection, filters, parent),
        [*covers(runs.past), *_conditions(filters, parent)],
        bounds=Bounds(filters.since, min(ends, default=None), after),
        limit=limit + 1,
    )
    page, more = walked.places[:limit], len(walked.places) > limit
    last = page[-1] if more else walked.until
    notes = [name_past(runs.past)]
    if not more and last is not None:
        notes.append(name_walked(last))
    next_cursor = (
        None if last is None else write_cursor([last.sort_at.isoformat(), str(last.run_id)], of=_LIST, filters=bound)
    )
    return PastPage(runs.load(place.run_id for place in page), next_cursor, notes)


def _candidates(connection: Connection, filters: RunFilter, parent: UUID | None) -> Iterator[list[Way]]:
    """Yield the ways that have all intervals which the filters let through, those that are short as a rule first."""
    if parent is not None:
        yield [Way(run_intervals, "run_intervals_parent", (run_intervals.c.parent_run_id == parent,))]
    named = find_named(connection, filters)
    if named is not None:
        yield [Way(run_intervals, "run_intervals_definition", tuple(is_of(run_intervals, name))) for name in named]
    if filters.state:
        states = sorted({state.value for state in filters.state})
        yield [
            Way(run_intervals, "run_intervals_state", (run_intervals.c.effective_state == state,)) for state in states
        ]
    yield [Way(run_intervals, "run_intervals_sort", ())]


def _conditions(filters: RunFilter, parent: UUID | None) -> Iterable[ColumnElement[bool]]:
    """Yield what must hold of intervals that the filters let through, but for when."""
    _refuse_untold(filters)
    yield run_intervals.c.became_run_id.is_(None)
    for name, column in _FIELDS.items():
        if (value := getattr(filters, name)) is not None:
            yield column == value
    if filters.unnamed:
        yield run_intervals.c.definition.is_(None)
    if filters.top:
        yield run_intervals.c.parent_run_id.is_(None)
    if parent is not None:
        yield run_intervals.c.parent_run_id == parent
    if filters.state:
        yield run_intervals.c.effective_state.in_([state.value for state in filters.state])
    if filters.conflicting:
        yield run_intervals.c.corrected


def _refuse_untold(filters: RunFilter) -> None:
    for name in _WITHOUT_PAST:
        if getattr(filters, name):
            allowed = ", ".join([*_FIELDS, "parent", "top", "state", "since", "until", "conflicting", "unnamed"])
            raise PastError(name, f"a list of the past can't be narrowed by it; it can be by {allowed}")


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
