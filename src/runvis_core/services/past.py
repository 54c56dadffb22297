"""The past: as of a moment, by all that is known now; as known at a position of the log; or both.

`Past` says which, `PastRuns` gives the runs as they were then: each folded from those of its entries that count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Connection, or_, select

from runvis_core.errors import PastError
from runvis_core.model.entry import Entry
from runvis_core.model.past import fold_until, happened_at
from runvis_core.model.run import Record
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.reading import LoggedEntry, chunks, read_envelope, reading
from runvis_core.store.database import Store
from runvis_core.store.intervals import AHEAD, EARLY, INTERVALS
from runvis_core.store.log import NUL, parse_entry
from runvis_core.store.rows import RUN_FIELDS
from runvis_core.store.steps import Step, catch_up
from runvis_core.store.tables import entries, head, interval_bounds, run_intervals, runs

CLOCKS: Final = timedelta(minutes=1)
"""How far ahead of the store's a clock may be that asks for now."""


class Past(NamedTuple):
    """Which past: as of `moment`, None for the end of time; as known at `position`."""

    moment: datetime | None
    position: int


@contextmanager
def reading_past(
    store: Store, asked: PastFilter, *, now: datetime, steps: Sequence[Step] = (INTERVALS,)
) -> Generator[tuple[Connection, Past]]:
    """Open one consistent view of the store, with the projections that the past is found in at the log's head.

    Raises `PastError` for a past that can't be told of, `UnreachableError` where the projection can't be brought up.
    """
    catch_up(store, steps)
    with reading(store) as connection:
        yield connection, find_past(connection, asked, now=now)


def find_past(connection: Connection, asked: PastFilter, *, now: datetime) -> Past:
    """Return which past is asked about. Raises `PastError` for one that lies in the future, or after the log's end."""
    end = connection.execute(select(head.c.position)).scalar_one()
    moment = asked.as_of
    if moment is not None and moment > now + CLOCKS:
        raise PastError("as_of", f"{moment:%Y-%m-%d %H:%M:%S} UTC lies in the future; leave it out to ask about now")
    known_at = asked.known_at
    if known_at is None:
        return Past(moment, end)
    if isinstance(known_at, datetime):
        if known_at > now + CLOCKS:
            raise PastError("known_at", "the moment lies in the future; leave it out to ask for what is known now")
        return Past(moment, find_position(connection, known_at, end=end))
    if known_at > end:
        raise PastError("known_at", f"the log ends at position {end}, and {known_at} lies after it")
    return Past(moment, known_at)


def find_position(connection: Connection, moment: datetime, *, end: int) -> int:
    """Return the position of the last entry that was recorded by a moment; 0 for none. Reads O(log n) entries."""
    low, high = 0, end
    while low < high:
        middle = (low + high + 1) // 2
        data = connection.execute(select(entries.c.entry).where(entries.c.position == middle)).scalar_one()
        if read_envelope(middle, data).recorded_at <= moment:
            low = middle
        else:
            high = middle - 1
    return low


def covers(past: Past) -> list[ColumnElement[bool]]:
    """Return the conditions under which an interval is the one of this past."""
    columns = run_intervals.c
    known = [columns.known_from <= past.position, or_(columns.known_to.is_(None), columns.known_to > past.position)]
    if past.moment is None:
        return [*known, columns.to_at.is_(None)]
    return [*known, columns.from_at <= past.moment, or_(columns.to_at.is_(None), columns.to_at > past.moment)]


def find_end(connection: Connection, past: Past) -> datetime | None:
    """Return the moment before which every interval of this past stands in lists: so these pass over what came later.

    None if nothing was recorded by then.
    """
    seconds = {row.name: row.seconds for row in connection.execute(select(interval_bounds))}
    latest: list[datetime] = []
    if past.moment is not None:
        latest.append(past.moment + timedelta(seconds=seconds.get(EARLY, 0)))
    data = connection.execute(select(entries.c.entry).where(entries.c.position == past.position)).scalar_one_or_none()
    if data is not None:
        recorded_at = read_envelope(past.position, data).recorded_at
        latest.append(recorded_at + timedelta(seconds=seconds.get(AHEAD, 0)))
    return min(latest) + timedelta.resolution if latest else None


def bounds(connection: Connection, past: Past) -> list[ColumnElement[bool]]:
    """Return the condition that `find_end` stands for."""
    end = find_end(connection, past)
    return [] if end is None else [run_intervals.c.sort_at < end]


def name_past(past: Past) -> str:
    """Return which past was told of, in words."""
    of = f"as of {past.moment:%Y-%m-%d %H:%M:%S} UTC, " if past.moment is not None else ""
    return f"{of}as known at position {past.position}"


class PastRun(NamedTuple):
    """A run as it was in a past."""

    record: Record
    row: Any
    """What its row in `runs` would have been."""
    entries: list[Entry]
    """Its entries that count."""
    logged: list[LoggedEntry]
    """The same, as JSON values."""


class PastRuns:
    """The runs of one past, each read once."""

    def __init__(self, connection: Connection, past: Past) -> None:
        self.connection = connection
        self.past = past
        self._runs: dict[UUID, PastRun | None] = {}

    def load(self, run_ids: Iterable[UUID]) -> list[PastRun]:
        """Return those of the runs that were there, in the order of the ids."""
        wanted = list(dict.fromkeys(run_ids))
        for chunk in chunks([run_id for run_id in wanted if run_id not in self._runs]):
            self._read(chunk)
        return [run for run_id in wanted if (run := self._runs[run_id]) is not None]

    def find(self, run_id: UUID) -> PastRun | None:
        """Return a run as it was; None if it was not there."""
        self.load([run_id])
        return self._runs[run_id]

    def find_where(self, *conditions: ColumnElement[bool], over: str) -> list[PastRun]:
        """Return the runs whose interval of this past fulfils conditions, in the order in which lists have them.

        `over` names the index by which they are few: SQLite would choose another.
        """
        query = select(run_intervals.c.run_id).where(*covers(self.past), *conditions)
        query = query.with_hint(run_intervals, f"INDEXED BY {over}", "sqlite")
        found = self.load(self.connection.scalars(query))
        return sorted(found, key=lambda run: (run.row.sort_at, run.row.run_id))

    def _read(self, run_ids: Sequence[UUID]) -> None:
        query = (
            select(entries.c.run_id, entries.c.position, entries.c.entry)
            .where(entries.c.run_id.in_(run_ids), entries.c.position <= self.past.position)
            .order_by(entries.c.position)
        )
        told: dict[UUID, list[tuple[int, bytes]]] = defaultdict(list)
        for row in self.connection.execute(query):
            told[row.run_id].append((row.position, row.entry))
        sorted_at = self.connection.execute(select(runs.c.run_id, runs.c.sort_at).where(runs.c.run_id.in_(run_ids)))
        sort_at = {row.run_id: row.sort_at for row in sorted_at}
        for run_id in run_ids:
            self._runs[run_id] = self._fold(told.get(run_id, []), sort_at.get(run_id))

    def _fold(self, told: list[tuple[int, bytes]], sort_at: datetime | None) -> PastRun | None:
        # As the tables have it, which can't hold the NUL character.
        texts = [(position, data.replace(NUL, b"\\ufffd")) for position, data in told]
        known = [parse_entry(position, data) for position, data in texts]
        moment = self.past.moment
        record = fold_until(known, moment)
        if record is None:
            return None
        counted = [place for place, entry in enumerate(known) if moment is None or happened_at(entry) <= moment]
        row = SimpleNamespace(**{name: getattr(record.run, name) for name in RUN_FIELDS})
        row.first_position, row.sort_at = known[0].position, sort_at
        return PastRun(
            record, row, [known[place] for place in counted], [read_envelope(*texts[place]) for place in counted]
        )


def as_json(value: Any) -> Any:
    """Return a value of a record as its row would have it."""
    return orjson.loads(orjson.dumps(value))
