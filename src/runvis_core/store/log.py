"""The event log: append, read, head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import orjson
from sqlalchemy import Connection, Engine, event, select

from runvis_core.model.encoding import SealedEvent
from runvis_core.model.entry import Entry
from runvis_core.model.event import build_kinds, parse_event
from runvis_core.model.run import Run
from runvis_core.store import tables as t
from runvis_core.store.batch import sort_batch
from runvis_core.store.driver import Driver, Head, Wanted
from runvis_core.store.outcome import Outcome
from runvis_core.store.projection import project

READ_CHUNK: Final = 1000
"""Entries that one query of `read` fetches."""

# A server reads on several threads.
build_kinds()

NUL: Final = b"\\u0000"
"""How JSON writes the NUL character."""


class StoredEntry(NamedTuple):
    """An entry as it lies in the log."""

    position: int
    event_id: UUID
    run_id: UUID | None
    kind: str
    witness: str
    leaf_hash: bytes
    entry: bytes
    """Exactly the bytes that were hashed."""

    def parse(self) -> Entry:
        """Return what the bytes say."""
        return parse_entry(self.position, self.entry)


class Appended(NamedTuple):
    """What an append did."""

    outcomes: list[Outcome]
    """One per event of the batch, in its order."""
    entries: list[Entry]
    """The new entries, those made by the store itself included."""
    ended: list[Run]
    """The runs that these entries ended."""


class EventLog(Protocol):
    """An append-only log of events, with what follows from them kept beside it."""

    def append(self, batch: Sequence[SealedEvent], *, principal: str) -> Appended:
        """Append all events or none, durably, in gap-free positions; what is known already is not appended again."""
        ...

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[StoredEntry]:
        """Return entries in order of position, from the one after `after`."""
        ...

    def head(self) -> Head:
        """Return the last position, 0 for an empty log, and when it was recorded."""
        ...


def parse_entry(position: int, data: bytes) -> Entry:
    """Return what an entry's bytes say."""
    said = orjson.loads(data)
    return Entry(position, datetime.fromisoformat(said["recorded_at"]), said["principal"], parse_event(said["event"]))


class SqlEventLog:
    """The event log in SQLite or PostgreSQL."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self._open_driver = _driver_of(engine)

    def append(self, batch: Sequence[SealedEvent], *, principal: str) -> Appended:
        """Append all events or none; see `EventLog`."""
        if not batch:
            return Appended([], [], [])
        with self._open_driver() as driver:
            head, found = driver.begin(Wanted.of(event for event, _, _ in batch))
            now = self._clock()
            recorded_at = now if head.recorded_at is None else max(now, head.recorded_at)
            sorted_batch = sort_batch(batch, driver, found, principal=principal)
            entries, outcomes, log_rows = sorted_batch.record(head.position, recorded_at, driver.values)
            received = [event for event, _, _ in batch]
            changes = project(entries, driver, found, received=received, now=recorded_at)
            changes.entries, changes.bodies = log_rows
            if entries:
                changes.head = Head(entries[-1].position, recorded_at)
            if any(NUL in data for _, data, _ in batch):
                changes.without_nul()
            driver.commit(changes)
        return Appended(outcomes, entries, changes.ended)

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[StoredEntry]:
        """Return entries in order; see `EventLog`. Each chunk is its own query, so that a long read holds nothing."""
        left = limit
        while left is None or left > 0:
            size = READ_CHUNK if left is None else min(READ_CHUNK, left)
            query = select(t.entries).where(t.entries.c.position > after).order_by(t.entries.c.position).limit(size)
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield StoredEntry(*row)
            if len(rows) < size:
                return
            after = rows[-1].position
            left = None if left is None else left - size

    def head(self) -> Head:
        """Return the last position and when it was recorded; see `EventLog`."""
        with self._engine.connect() as connection:
            position, recorded_at = connection.execute(select(t.head.c.position, t.head.c.recorded_at)).one()
        return Head(position, recorded_at)


def _driver_of(engine: Engine) -> Callable[[], Driver]:
    kind = _driver_class(engine.dialect.name)
    # Writers have connections of their own, on which nobody else prepares statements, or deallocates them.
    pool = engine.pool.recreate()

    @event.listens_for(engine, "engine_disposed")
    def dispose(_engine: Engine) -> None:
        pool.dispose()

    return lambda: kind(pool)


def driver_on(connection: Connection) -> Driver:
    """Return a driver within a transaction that somebody else began and ends."""
    kind = _driver_class(connection.dialect.name)
    return kind(connection.engine.pool, connection.connection)


def _driver_class(dialect: str) -> Callable[..., Driver]:
    if dialect == "postgresql":
        from runvis_core.store.postgresql import PostgresqlDriver  # psycopg is an extra of its own.

        return PostgresqlDriver
    from runvis_core.store.sqlite import SqliteDriver

    return SqliteDriver
