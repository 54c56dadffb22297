"""Lists of runs, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, exists, false, select

from runvis_core.services.ancestry import MAX_CORRELATED, find_correlated
from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.cursors import read_cursor, read_moment, write_cursor
from runvis_core.services.filters import RunFilter
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import begins_with, reading
from runvis_core.services.run_summaries import summarise
from runvis_core.services.silence import find_silent
from runvis_core.services.steps import FAILURES
from runvis_core.services.ways import Place, Walked, count_up_to, fetch, gather, name_walked, walk_runs, within
from runvis_core.store.database import Store
from runvis_core.store.failures import find_words
from runvis_core.store.id_lists import is_among, these
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import corrections, failure_words, run_tags, runs

MAX_SILENT: Final = 10_000
MAX_GATHERED: Final = 5_000
"""Runs that a filter names by itself are looked at one by one, if they are no more than so many."""
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
    was there at the start exactly once. No page looks through more than `MAX_WALKED` runs: where the filters let
    through few of very many, it may be short, even empty, and still have a next one, and a note says how far it came.
    A run that waited under a provisional id is shown under its last one only.

    Raises `CursorError` for a cursor of another list, and `NotFoundError` for a parent that there is not.
    """
    if filters.text is not None:
        catch_up(store, [FAILURES])
    after = (
        None if cursor is None else Place(*read_cursor(cursor, of=_LIST, filters=filters, kinds=(read_moment, UUID)))
    )
    with reading(store) as connection:
        walked, notes = _find(connection, filters, after, limit + 1, now)
        page, more = fetch(connection, walked.places[:limit]), len(walked.places) > limit
        items = summarise(connection, page)
    last = walked.places[limit - 1] if more else walked.until
    if not more and last is not None:
        notes.append(name_walked(last))
    return Page(items=items, next_cursor=None if last is None else _cursor_after(last, filters), notes=notes)


def _find(
    connection: Connection, filters: RunFilter, after: Place | None, limit: int, now: datetime
) -> tuple[Walked, list[str]]:
    """Return where the runs stand that the filters let through, by the fewest runs that have them all."""
    parent = None if filters.parent is None else resolve_run(connection, filters.parent)
    asked = _Asked(connection, filters, parent, now)
    named = asked.name_few()
    if named is not None:
        conditions = [*named, *asked.conditions]
        return gather(connection, conditions, filters=filters, after=after, limit=limit), asked.notes
    found = walk_runs(connection, filters, asked.conditions, after=after, parent=parent, limit=limit)
    return found, asked.notes


def _cursor_after(place: Place, filters: RunFilter) -> str:
    return write_cursor([place.sort_at.isoformat(), str(place.run_id)], of=_LIST, filters=filters)


def run_conditions(
    connection: Connection, filters: RunFilter, now: datetime
) -> tuple[list[ColumnElement[bool]], list[str]]:
    """Return what must hold of rows of `runs` that the filters let through, and what is to be said of it."""
    parent = None if filters.parent is None else resolve_run(connection, filters.parent)
    asked = _Asked(connection, filters, parent, now)
    return [*asked.conditions, *within(filters)], asked.notes


class _Asked:
    """What filters let through, but for when: as conditions, and as ids of runs where they say which runs."""

    def __init__(self, connection: Connection, filters: RunFilter, parent: UUID | None, now: datetime) -> None:
        self.conditions: list[ColumnElement[bool]] = [runs.c.became_run_id.is_(None), *_field_conditions(filters)]
        self.notes: list[str] = []
        self._connection = connection
        self._sets: list[Select[Any]] = []
        self._has_list = False
        if filters.top:
            self.conditions.append(runs.c.parent_run_id.is_(None))
        if parent is not None:
            self.conditions.append(runs.c.parent_run_id == parent)
        if filters.tag is not None:
            self._narrow(run_tags.c.run_id, run_tags.c.tag == filters.tag)
        if filters.conflicting:
            self._narrow(corrections.c.run_id)
        if filters.text is not None:
            self._narrow_to_words(find_words(filters.text))
        if filters.silent:
            silent = find_silent(connection, now, limit=MAX_SILENT)
            self._narrow_to(silent)
            if len(silent) >= MAX_SILENT:
                self.notes.append(f"more than {MAX_SILENT} runs are silent; only so many of them are listed")
        if filters.correlation is not None:
            found, cut = find_correlated(connection, filters.correlation)
            self._narrow_to(sorted(found))
            if cut:
                self.notes.append(
                    f"the correlation has more than {MAX_CORRELATED} runs; only so many of them were looked through"
                )

    def name_few(self) -> list[ColumnElement[bool]] | None:
        """Return what names the runs that are let through, beside the conditions; None unless they are few."""
        if self._has_list:
            # The conditions have it.
            return []
        counted = [(count_up_to(self._connection, one, MAX_GATHERED + 1), one) for one in self._sets]
        count, fewest = min(counted, key=lambda pair: pair[0], default=(MAX_GATHERED + 1, None))
        return [runs.c.run_id.in_(fewest)] if fewest is not None and count <= MAX_GATHERED else None

    def _narrow(self, run_id: Any, *conditions: ColumnElement[bool]) -> None:
        self._sets.append(select(run_id).where(*conditions))
        self.conditions.append(exists().where(run_id == runs.c.run_id, *conditions))

    def _narrow_to(self, run_ids: list[UUID]) -> None:
        self._has_list = True
        self.conditions.append(is_among(runs.c.run_id, these(run_ids)))

    def _narrow_to_words(self, words: list[str]) -> None:
        """Let through whose failure's first line has these words; the last one may be a beginning."""
        if not words:
            self.conditions.append(false())
            self._has_list = True
        for place, word in enumerate(words):
            table = failure_words.alias()
            is_last = place == len(words) - 1
            is_there = begins_with(self._connection, table.c.word, word) if is_last else table.c.word == word
            self._narrow(table.c.run_id, is_there)


def _field_conditions(filters: RunFilter) -> Iterable[ColumnElement[bool]]:
    for name, column in _FIELDS.items():
        if (value := getattr(filters, name)) is not None:
            yield column == value
    if filters.unnamed:
        yield runs.c.definition.is_(None)
    if filters.state:
        yield runs.c.effective_state.in_([state.value for state in filters.state])
