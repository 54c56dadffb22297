"""Whether the rows of runs say what their entries mean, folded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, func, select

from runvis_core.errors import EventError
from runvis_core.model.encoding import leaf_hash
from runvis_core.model.entry import Entry
from runvis_core.model.event import DecisionEvent
from runvis_core.store import tables as t
from runvis_core.store.decisions import read_details
from runvis_core.store.driver import Found, Row
from runvis_core.store.id_lists import id_list, is_among
from runvis_core.store.log import NUL, StoredEntry, driver_on
from runvis_core.store.projection import project
from runvis_core.store.statements import COLUMNS
from runvis_core.store.step_rows import find_foreign_rows

WINDOW: Final = 10_000
"""Entries that are kept in memory: most runs lie in so many, and are not read again."""
CHUNK: Final = 500
"""Runs that are compared at once."""
_IDS: Final = id_list("ids")

_BESIDE: Final = (t.runs, *t.STEP_TABLES)
_OF_RUNS: Final = ("runs", *(table.name for table in t.PROJECTIONS if "run_id" in table.c and table not in _BESIDE))


def read_entry(row: StoredEntry) -> tuple[Entry | None, list[str]]:
    """Return what a stored entry says, None if that can't be read, and what is wrong with it."""
    if leaf_hash(row.entry) != row.leaf_hash:
        return None, [f"entry {row.position}: the bytes are not those that were hashed"]
    try:
        entry = row.parse()
        if isinstance(entry.event, DecisionEvent):
            read_details(entry.event)
    except (ValueError, KeyError, EventError) as error:
        return None, [f"entry {row.position}: can't be read: {error}"]
    event = entry.event
    said = (event.event_id, getattr(event, "run_id", None), event.kind.replace("\0", "\ufffd"), event.witness.value)
    if said != (row.event_id, row.run_id, row.kind, row.witness):
        return entry, [f"entry {row.position}: its columns say otherwise than its bytes"]
    return entry, []


class RowsOfRuns:
    """Goes through the log with `check`, chunk by chunk, then looks at what is left with `finish`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = driver_on(connection)
        self._window: dict[UUID, list[tuple[StoredEntry, Entry | None]]] = {}
        self._size = 0
        self._after = 0
        self.compared = 0
        """How many runs were compared."""

    def check(self, rows: Sequence[StoredEntry], read: Sequence[Entry | None]) -> Iterator[str]:
        """Yield what is wrong with runs that began up to here. `read` is what each row says, None where nobody can."""
        for row, entry in zip(rows, read, strict=True):
            if row.run_id is not None:
                self._window.setdefault(row.run_id, []).append((row, entry))
        self._size += len(rows)
        if self._size >= WINDOW:
            yield from self._compare_up_to(rows[-1].position)
            self._window, self._size = {}, 0

    def finish(self, done: Callable[[int], None]) -> Iterator[str]:
        """Yield what is wrong with all other runs, and with rows of runs that there are not."""
        yield from self._compare_up_to(None, done)
        told = self._connection.scalar(select(func.count(t.entries.c.run_id.distinct())))
        if told != self.compared:
            yield f"runs: {self.compared} rows, and the log tells of {told} runs"
        yield from find_foreign_rows(self._connection, t.run_teams)

    def _compare_up_to(
        self, position: int | None, done: Callable[[int], None] = lambda _compared: None
    ) -> Iterator[str]:
        first = t.runs.c.first_position
        bounds = [] if position is None else [first <= position]
        while True:
            query = select(first, t.runs.c.run_id).where(first > self._after, *bounds).order_by(first).limit(CHUNK)
            found = self._connection.execute(query).all()
            if not found:
                return
            self._after, self.compared = found[-1].first_position, self.compared + len(found)
            yield from self._compare([row.run_id for row in found])
            done(self.compared)

    def _compare(self, run_ids: list[UUID]) -> Iterator[str]:
        """Compare the rows of some runs with what their entries mean, folded at once."""
        told = self._find_told(run_ids)
        # What an unreadable entry said of its run nobody knows; that it can't be read has been told.
        readable = [run_id for run_id in run_ids if all(entry is not None for _, entry in told[run_id])]
        entries = [entry for run_id in readable for _, entry in told[run_id] if entry is not None]
        changes = project(entries, self._driver, Found({}, [], []), received=())
        if any(NUL in row.entry for run_id in readable for row, _ in told[run_id]):
            changes.without_nul()
        for table in _OF_RUNS:
            expected = {*changes.inserts.get(table, []), *changes.inserts_once.get(table, [])}
            for row in set(self._driver.find_rows(table, readable)) ^ expected:
                what = "is not what the log says" if row in expected else "stands there, and the log does not say so"
                yield f"{table}: a row of run {self._run_of(table, row)} {what}"

    def _find_told(self, run_ids: list[UUID]) -> dict[UUID, list[tuple[StoredEntry, Entry | None]]]:
        """Return all entries of runs, in order of position: those that are in the window, and others read again."""
        column = t.entries.c.run_id
        counted = select(column, func.count()).where(is_among(column, _IDS)).group_by(column)
        counts = {row[0]: row[1] for row in self._connection.execute(counted, {_IDS.key: run_ids}).all()}
        told = {run_id: self._window.get(run_id, []) for run_id in run_ids}
        elsewhere = [run_id for run_id in run_ids if len(told[run_id]) != counts.get(run_id, 0)]
        if elsewhere:
            told |= {run_id: [] for run_id in elsewhere}
            query = select(t.entries).where(is_among(column, _IDS)).order_by(t.entries.c.position)
            for row in self._connection.execute(query, {_IDS.key: elsewhere}).all():
                stored = StoredEntry(*row)
                told[row.run_id].append((stored, read_entry(stored)[0]))
        return told

    def _run_of(self, table: str, row: Row) -> Any:
        return self._driver.values.read_id(row[COLUMNS[table].index("run_id")])
