"""Lists of runs, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, exists, false, literal, select, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from runvis_core.services.ancestry import MAX_CORRELATED, find_correlated
from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.cursors import read_cursor, read_moment, write_cursor
from runvis_core.services.filters import RunFilter
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import begins_with, chunks, reading
from runvis_core.services.run_summaries import summarise
from runvis_core.services.steps import FAILURES
from runvis_core.store.database import Store
from runvis_core.store.failures import find_words
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import corrections, failure_words, liveness, run_tags, runs
from runvis_core.store.types import Id, Moment

MAX_SILENT: Final = 10_000
_LIST: Final = "runs"
_FIELDS: Final = {
    "engine": runs.c.engine,
    "deployment": runs.c.deployment,
    "definition": runs.c.definition,
    "kind": runs.c.definition_kind,
    "native_state": runs.c.native_state,
    "trigger": runs.c.trigger_kind,
}


def list_runs(
    store: Store, filters: RunFilter, *, limit: int, cursor: str | None = None, now: datetime
) -> Page[RunSummary]:
    """Return the runs that the filters let through, newest first, and the cursor of the next page.

    The order is by when the run was first heard of, which never changes: whoever follows the cursors sees each run that
    was there at the start exactly once. A run that waited under a provisional id is shown under its last one only.
    Raises `CursorError` for a cursor of another list, and `NotFoundError` for a parent that there is not.
    """
    if filters.text is not None:
        catch_up(store, [FAILURES])
    with reading(store) as connection:
        conditions, notes = run_conditions(connection, filters, now)
        query = select(runs).where(*conditions).order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
        if cursor is not None:
            query = query.where(_after(*read_cursor(cursor, of=_LIST, filters=filters, kinds=(read_moment, UUID))))
        rows = connection.execute(query.limit(limit + 1)).all()
        page, more = rows[:limit], len(rows) > limit
        items = summarise(connection, page)
    return Page(items=items, next_cursor=_cursor_after(page[-1], filters) if more else None, notes=notes)


def find_silent(connection: Connection, now: datetime, *, limit: int) -> list[UUID]:
    """Return live runs whose heartbeat is overdue, the longest silent first."""
    # In two steps: a run that ended has no row of liveness left, so the first one is all that could be silent.
    overdue = (
        select(liveness.c.run_id).where(_is_overdue(now)).order_by(liveness.c.last_heartbeat_at, liveness.c.run_id)
    )
    found = list(connection.scalars(overdue.limit(limit)))
    live: set[UUID] = set()
    for chunk in chunks(found):
        query = select(runs.c.run_id).where(runs.c.run_id.in_(chunk), runs.c.frozen_position.is_(None))
        live.update(connection.scalars(query.where(runs.c.became_run_id.is_(None))))
    return [run_id for run_id in found if run_id in live]


def _cursor_after(row: Any, filters: RunFilter) -> str:
    return write_cursor([row.sort_at.isoformat(), str(row.run_id)], of=_LIST, filters=filters)


def _after(sort_at: datetime, run_id: UUID) -> ColumnElement[bool]:
    place = tuple_(literal(sort_at, Moment), literal(run_id, Id))
    return tuple_(runs.c.sort_at, runs.c.run_id) < place


def run_conditions(
    connection: Connection, filters: RunFilter, now: datetime
) -> tuple[list[ColumnElement[bool]], list[str]]:
    """Return what must hold of rows of `runs` that the filters let through, and what is to be said of it."""
    conditions = [runs.c.became_run_id.is_(None), *_field_conditions(filters)]
    notes: list[str] = []
    if filters.top:
        conditions.append(runs.c.parent_run_id.is_(None))
    if filters.tag is not None:
        conditions.append(exists().where(run_tags.c.run_id == runs.c.run_id, run_tags.c.tag == filters.tag))
    if filters.conflicting:
        conditions.append(exists().where(corrections.c.run_id == runs.c.run_id))
    if filters.parent is not None:
        conditions.append(runs.c.parent_run_id == resolve_run(connection, filters.parent))
    if filters.text is not None:
        conditions += _has_words(connection, filters.text)
    if filters.silent:
        silent = find_silent(connection, now, limit=MAX_SILENT)
        conditions.append(runs.c.run_id.in_(silent))
        if len(silent) >= MAX_SILENT:
            notes.append(f"more than {MAX_SILENT} runs are silent; only so many of them are listed")
    if filters.correlation is not None:
        found, cut = find_correlated(connection, filters.correlation)
        conditions.append(runs.c.run_id.in_(found))
        if cut:
            notes.append(
                f"the correlation has more than {MAX_CORRELATED} runs; only so many of them were looked through"
            )
    return conditions, notes


def _has_words(connection: Connection, text: str) -> Iterable[ColumnElement[bool]]:
    """Return the conditions that a failure's first line has these words; the last one may be a beginning."""
    words = find_words(text)
    if not words:
        yield false()
    for place, word in enumerate(words):
        is_last = place == len(words) - 1
        is_there = begins_with(connection, failure_words.c.word, word) if is_last else failure_words.c.word == word
        yield runs.c.run_id.in_(select(failure_words.c.run_id).where(is_there))


def _field_conditions(filters: RunFilter) -> Iterable[ColumnElement[bool]]:
    for name, column in _FIELDS.items():
        if (value := getattr(filters, name)) is not None:
            yield column == value
    if filters.state:
        yield runs.c.effective_state.in_([state.value for state in filters.state])
    if filters.since is not None:
        yield runs.c.sort_at >= filters.since
    if filters.until is not None:
        yield runs.c.sort_at < filters.until


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


def _is_overdue(now: datetime) -> ColumnElement[bool]:
    # A run that never beat is not silent: its engine may send no heartbeats at all.
    return SecondsBetween(liveness.c.last_heartbeat_at, literal(now, Moment)) > liveness.c.interval_seconds
