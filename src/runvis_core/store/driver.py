"""What the append path asks of a database's own driver.

The hot path does without SQLAlchemy's expression layer: its statements are built once, from the tables, and rows go
to the driver as tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from runvis_core.errors import LogRuleError, RowRefusedError, StoreError, UnreachableError
from runvis_core.model.event import EventBase
from runvis_core.model.run import Run
from runvis_core.store.guards import PREFIX

Row = tuple[Any, ...]


class Values(NamedTuple):
    """How a driver takes and gives ids and times. None stays None."""

    bind_id: Callable[[Any], Any]
    bind_moment: Callable[[Any], Any]
    read_id: Callable[[Any], Any]
    read_moment: Callable[[Any], Any]


def as_is(value: Any) -> Any:
    """Return a value that a driver takes or gives as Python has it."""
    return value


class Head(NamedTuple):
    """The last position of a log, 0 for an empty one, and when it was recorded."""

    position: int
    recorded_at: datetime | None


class Wanted(NamedTuple):
    """What a batch needs to know before anything of it can be appended."""

    event_ids: list[UUID]
    run_ids: list[UUID]
    producers: list[UUID]

    @staticmethod
    def of(events: Iterable[EventBase]) -> Wanted:
        """Return what is needed for these events, each id once."""
        event_ids: dict[UUID, None] = {}
        run_ids: dict[UUID, None] = {}
        producers: dict[UUID, None] = {}
        for event in events:
            event_ids[event.event_id] = None
            if (run_id := getattr(event, "run_id", None)) is not None:
                run_ids[run_id] = None
            if event.producer is not None:
                producers[event.producer] = None
        return Wanted(list(event_ids), list(run_ids), list(producers))


class Found(NamedTuple):
    """What the database has of it. Rows are as the driver gives them, columns as `rows` names them."""

    positions: dict[UUID, int]
    """Of the events that are known."""
    runs: Sequence[Row]
    producers: Sequence[Row]


@dataclass
class Changes:
    """All that one append writes: rows by table, as the driver takes them."""

    head: Head | None = None
    entries: list[Row] = field(default_factory=list[Row])
    bodies: list[Row] = field(default_factory=list[Row])
    inserts: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    """New rows of projections, by table."""
    inserts_once: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    """Rows of projections that may be there already, by table."""
    changed_runs: dict[tuple[str, ...], list[Row]] = field(default_factory=dict[tuple[str, ...], list[Row]])
    """By the names of the changed columns: their values and, last, the run's id."""
    producers: list[Row] = field(default_factory=list[Row])
    """Whole rows, in place of those with the same key."""
    ended: list[Run] = field(default_factory=list[Run])
    _named: dict[str, set[Row]] = field(default_factory=dict[str, set[Row]])

    def insert(self, table: str, row: Row) -> None:
        """Add a new row of a projection."""
        self.inserts.setdefault(table, []).append(row)

    def without_nul(self) -> None:
        """Put U+FFFD for the NUL character, which PostgreSQL's text can't hold. Entries keep it in their bytes."""
        self.entries = _without_nul(self.entries)
        for tables in (self.inserts, self.inserts_once):
            for table, rows in tables.items():
                tables[table] = _without_nul(rows)
        for names, rows in self.changed_runs.items():
            self.changed_runs[names] = _without_nul(rows)
        self.producers = _without_nul(self.producers)

    def insert_once(self, table: str, row: Row) -> None:
        """Add a row of a projection that may be there already."""
        self.inserts_once.setdefault(table, []).append(row)

    def insert_first(self, table: str, row: Row, *, key: int) -> None:
        """Add such a row if it is the first with its first `key` columns: a batch names one thing many times."""
        named = self._named.setdefault(table, set())
        if row[:key] not in named:
            named.add(row[:key])
            self.insert_once(table, row)


def _without_nul(rows: list[Row]) -> list[Row]:
    return [tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row) for row in rows]


class Driver(Protocol):
    """One transaction of a writer. Leaving it without `commit` undoes everything; errors come out as RunVis's own."""

    values: Values

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, wanted: Wanted) -> tuple[Head, Found]:
        """Take the lock on the head, then look up what a batch needs: nobody else appends until the end."""
        ...

    def find(self, wanted: Wanted) -> Found:
        """Look up what a batch needs, under a lock that is held already."""
        ...

    def find_positions(self, event_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the positions of those events that are known."""
        ...

    def find_entries(self, positions: Sequence[int]) -> dict[int, bytes]:
        """Return the bytes of entries."""
        ...

    def find_bodies(self, position: int) -> Mapping[bytes, bytes]:
        """Return the contents of an entry's bodies by digest."""
        ...

    def find_rows(self, table: str, run_ids: Sequence[UUID]) -> Sequence[Row]:
        """Return all rows of a table about some runs, in order of position where it has one."""
        ...

    def write(self, changes: Changes) -> None:
        """Write everything, under a lock that is held already."""
        ...

    def write_producers(self, rows: list[Row]) -> None:
        """Write whole rows of producers in place of those with the same key."""
        ...

    def insert(self, table: str, rows: list[Row]) -> None:
        """Write new rows of a table, under a lock that is held already."""
        ...

    def upsert(self, table: str, rows: list[Row]) -> None:
        """Write whole rows in place of those with the same key, of which each has another one."""
        ...

    def delete(self, table: str, keys: list[Row]) -> None:
        """Remove the rows of a table with these primary keys."""
        ...

    def find_by(self, table: str, names: tuple[str, ...], key: tuple[str, ...], keys: Sequence[Row]) -> list[Row]:
        """Return columns of all rows of a table whose `key` columns are one of some."""
        ...

    def commit(self, changes: Changes) -> None:
        """Write everything and make it durable."""
        ...


class OwnErrors:
    """A block whose errors come out as RunVis's own. A plain class, since each append enters several."""

    def __init__(
        self,
        errors: type[Exception],
        *,
        refused: type[Exception],
        unreachable: tuple[type[Exception], ...],
        said_by: Callable[[Any], str] = str,
    ) -> None:
        """`errors` are all of a driver's; `said_by` gives what the database said of a row that it `refused`."""
        self._errors = errors
        self._refused = refused
        self._unreachable = unreachable
        self._said_by = said_by

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, DBAPIError):
            raise UnreachableError(f"the store can't be opened: {error.orig}") from error
        if isinstance(error, self._refused):
            said = self._said_by(error)
            if said.startswith(PREFIX):
                raise LogRuleError(said.removeprefix(PREFIX)) from error
            raise RowRefusedError(f"the store refused a row: {said}") from error
        if isinstance(error, self._unreachable):
            raise UnreachableError(f"the store can't be written to now: {error}") from error
        if isinstance(error, self._errors):
            raise StoreError(f"the store failed: {error}") from error
