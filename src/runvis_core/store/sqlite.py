"""The append path on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import Pool, PoolProxiedConnection

from runvis_core.model.identity import timestamp
from runvis_core.store import tables as t
from runvis_core.store.driver import Changes, Found, Head, OwnErrors, Row, Values, Wanted
from runvis_core.store.statements import COLUMNS, INSERTED_ONCE, RUN_READ, WRITE_ORDER, key_of, upsert_tail

MAX_VARIABLES: Final = 900
"""Keys that one query looks for: every SQLite takes 999."""


def _bind_id(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes


def _bind_moment(value: datetime | None) -> str | None:
    return None if value is None else timestamp(value)


def _read_id(value: bytes) -> UUID:
    return UUID(bytes=value)


VALUES: Final = Values(_bind_id, _bind_moment, _read_id, datetime.fromisoformat)


def _insert(table: str) -> str:
    columns = COLUMNS[table]
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _insert_once(table: str) -> str:
    # Not ON CONFLICT DO NOTHING: a guard on INSERT refuses before there is a conflict.
    # Nor numbered parameters: Python deprecates them where values come in their order.
    columns = COLUMNS[table]
    same = " AND ".join(f"held.{name} = new.{name}" for name in key_of(t.metadata.tables[table]))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(f'new.{name}' for name in columns)}"
        f" FROM (SELECT {', '.join(f'? AS {name}' for name in columns)}) AS new"
        f" WHERE NOT EXISTS (SELECT 1 FROM {table} AS held WHERE {same})"
    )


INSERT: Final = {table.name: _insert(table.name) for table in t.metadata.sorted_tables}
INSERT_ONCE: Final = {table.name: _insert_once(table.name) for table in INSERTED_ONCE}
DELETE_BODY: Final = "DELETE FROM bodies WHERE position = ? AND digest = ?"
DELETE_BEATS: Final = "DELETE FROM liveness WHERE run_id = ?"
MOVE_HEAD: Final = "UPDATE head SET position = ?, recorded_at = ?"
UPSERT_PRODUCER: Final = f"{INSERT['producers']} {upsert_tail(t.producers)}"


@cache
def _update_runs(names: tuple[str, ...]) -> str:
    # Only the changed columns: naming a column makes SQLite write every index that has it.
    return f"UPDATE runs SET {', '.join(f'{name} = ?' for name in names)} WHERE run_id = ?"


@cache
def _upsert(table: str) -> str:
    return f"{INSERT[table]} {upsert_tail(t.metadata.tables[table])}"


@cache
def _delete(table: str) -> str:
    return f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in key_of(t.metadata.tables[table]))}"


def _find_by(table: str, names: tuple[str, ...], key: tuple[str, ...], count: int) -> str:
    # As an index is looked up in: of several VALUES without a SELECT around them SQLite reads the whole table.
    if len(key) == 1:
        wanted = f"{key[0]} IN ({', '.join('?' * count)})"
    else:
        places = ", ".join(f"column{number}" for number in range(1, len(key) + 1))
        listed = ", ".join([f"({', '.join('?' * len(key))})"] * count)
        wanted = f"({', '.join(key)}) IN (SELECT {places} FROM (VALUES {listed}))"
    return f"SELECT {', '.join(names)} FROM {table} WHERE {wanted}"


class SqliteDriver:
    """One transaction of a writer on SQLite."""

    values = VALUES

    def __init__(self, pool: Pool, pooled: PoolProxiedConnection | None = None) -> None:
        """`pooled` is a connection of whose transaction somebody else takes care."""
        self._pool = pool
        if pooled is not None:
            self._use(pooled)

    def _use(self, pooled: PoolProxiedConnection) -> None:
        self._pooled = pooled
        connection: Any = pooled.driver_connection
        self._connection: sqlite3.Connection = connection

    def __enter__(self) -> Self:
        with _OWN_ERRORS:
            self._use(self._pool.connect())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.in_transaction:
            self._connection.rollback()
        self._pooled.close()

    def begin(self, wanted: Wanted) -> tuple[Head, Found]:
        """Begin with the write lock, then look up."""
        with _OWN_ERRORS:
            self._connection.execute("BEGIN IMMEDIATE")
            position, recorded_at = self._connection.execute("SELECT position, recorded_at FROM head").fetchone()
        head = Head(position, None if recorded_at is None else datetime.fromisoformat(recorded_at))
        return head, self.find(wanted)

    def find(self, wanted: Wanted) -> Found:
        """Look up what a batch needs."""
        runs = self._find(f"SELECT {RUN_READ} FROM runs WHERE run_id", wanted.run_ids)
        producers = self._find(
            f"SELECT {', '.join(COLUMNS['producers'])} FROM producers WHERE producer", wanted.producers
        )
        return Found(self.find_positions(wanted.event_ids), runs, producers)

    def find_positions(self, event_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the positions of known events."""
        rows = self._find("SELECT event_id, position FROM event_ids WHERE event_id", event_ids)
        return {_read_id(event_id): position for event_id, position in rows}

    def find_entries(self, positions: Sequence[int]) -> dict[int, bytes]:
        """Return the bytes of entries."""
        return dict(self._find("SELECT position, entry FROM entries WHERE position", positions))

    def find_bodies(self, position: int) -> Mapping[bytes, bytes]:
        """Return an entry's bodies by digest."""
        return dict(self._find("SELECT digest, content FROM bodies WHERE position", [position]))

    def find_rows(self, table: str, run_ids: Sequence[UUID]) -> Sequence[Row]:
        """Return all rows about some runs."""
        rows = self._find(f"SELECT {', '.join(COLUMNS[table])} FROM {table} WHERE run_id", run_ids)
        if "position" not in COLUMNS[table]:
            return rows
        place = COLUMNS[table].index("position")
        return sorted(rows, key=lambda row: row[place])

    def _find(self, query: str, keys: Sequence[Any]) -> list[Row]:
        rows: list[Row] = []
        for start in range(0, len(keys), MAX_VARIABLES):
            chunk = [key.bytes if isinstance(key, UUID) else key for key in keys[start : start + MAX_VARIABLES]]
            with _OWN_ERRORS:
                rows += self._connection.execute(f"{query} IN ({', '.join('?' * len(chunk))})", chunk).fetchall()
        return rows

    def write(self, changes: Changes) -> None:
        """Write everything."""
        with _OWN_ERRORS:
            for statement, rows in _statements(changes):
                self._connection.executemany(statement, rows)

    def write_producers(self, rows: list[Row]) -> None:
        """Write whole rows of producers."""
        with _OWN_ERRORS:
            self._connection.executemany(UPSERT_PRODUCER, rows)

    def insert(self, table: str, rows: list[Row]) -> None:
        """Write new rows."""
        with _OWN_ERRORS:
            self._connection.executemany(INSERT[table], rows)

    def upsert(self, table: str, rows: list[Row]) -> None:
        """Write whole rows, new or not."""
        with _OWN_ERRORS:
            self._connection.executemany(_upsert(table), rows)

    def delete(self, table: str, keys: list[Row]) -> None:
        """Remove rows."""
        with _OWN_ERRORS:
            self._connection.executemany(_delete(table), keys)

    def find_by(self, table: str, names: tuple[str, ...], key: tuple[str, ...], keys: Sequence[Row]) -> list[Row]:
        """Return columns of all rows with one of some keys."""
        rows: list[Row] = []
        size = MAX_VARIABLES // len(key)
        for start in range(0, len(keys), size):
            chunk = keys[start : start + size]
            with _OWN_ERRORS:
                found = self._connection.execute(_find_by(table, names, key, len(chunk)), list(chain(*chunk)))
                rows += found.fetchall()
        return rows

    def commit(self, changes: Changes) -> None:
        """Write everything and commit."""
        self.write(changes)
        with _OWN_ERRORS:
            self._connection.commit()


def _statements(changes: Changes) -> Iterator[tuple[str, Sequence[Row]]]:
    """Yield what writes the changes, in order: statements and their rows, of which there are some.

    A batch of one event has rows for three or four of some forty tables.
    """
    inserts = changes.inserts
    if changes.entries:
        yield INSERT["entries"], changes.entries
    if changes.bodies:
        yield INSERT["bodies"], changes.bodies
    yield from ((INSERT[table], inserts[table]) for table in WRITE_ORDER if table in inserts)
    if "erasures" in inserts:
        yield DELETE_BODY, [row[:2] for row in inserts["erasures"]]
    yield from ((INSERT_ONCE[table], rows) for table, rows in changes.inserts_once.items())
    yield from ((_update_runs(names), rows) for names, rows in changes.changed_runs.items())
    if changes.producers:
        yield UPSERT_PRODUCER, changes.producers
    if changes.ended:
        yield DELETE_BEATS, [(run.run_id.bytes,) for run in changes.ended]
    if changes.head is not None:
        yield MOVE_HEAD, [(changes.head.position, _bind_moment(changes.head.recorded_at))]


_OWN_ERRORS: Final = OwnErrors(sqlite3.Error, refused=sqlite3.IntegrityError, unreachable=(sqlite3.OperationalError,))
