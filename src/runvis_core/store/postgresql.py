"""The append path on PostgreSQL, with psycopg 3.

A small batch goes in two round trips: one pipeline takes the lock and looks up, one writes and commits. A large one
goes by COPY, which a pipeline can't hold, but which costs less per row.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import Column, Engine
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import LogRuleError, StoreError, UnreachableError
from runvis_core.store import tables as t
from runvis_core.store.driver import Changes, Found, Head, Row, Values, Wanted
from runvis_core.store.guards import PREFIX
from runvis_core.store.guards.postgresql import partition_name
from runvis_core.store.statements import COLUMNS, INSERTED_ONCE, RUN_READ, WRITE_ORDER, upsert_tail

COPY_FROM: Final = 20
"""Rows from which on COPY is the faster way into a table."""

Cursor: TypeAlias = "psycopg.Cursor[Row]"


def _as_is(value: Any) -> Any:
    return value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


VALUES: Final = Values(_as_is, _as_is, _as_is, _utc)

_TYPES: Final = {
    "BIGINT": "int8",
    "INTEGER": "int4",
    "UUID": "uuid",
    "TEXT": "text",
    "BYTEA": "bytea",
    "BOOLEAN": "bool",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "FLOAT(53)": "float8",
}


def _type_of(table: str, name: str) -> str:
    from sqlalchemy.dialects import postgresql

    column: Column[Any] = t.metadata.tables[table].c[name]
    return _TYPES[column.type.compile(dialect=postgresql.dialect())]


@cache
def _types(table: str) -> list[str]:
    return [_type_of(table, name) for name in COLUMNS[table]]


@cache
def _query(text: str) -> sql.SQL:
    # Only this module's own texts, made of the tables' names: values go beside them.
    return sql.SQL(text)  # pyright: ignore[reportArgumentType]


def _insert(table: str) -> str:
    columns = COLUMNS[table]
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%b'] * len(columns))})"


INSERT: Final = {table.name: _insert(table.name) for table in t.metadata.sorted_tables}
INSERT_ONCE: Final = {table.name: f"{INSERT[table.name]} ON CONFLICT DO NOTHING" for table in INSERTED_ONCE}
DELETE_BODY: Final = "DELETE FROM bodies WHERE position = %b AND digest = %b"
UPSERT_PRODUCER: Final = f"{INSERT['producers']} {upsert_tail(t.producers)}"


@cache
def _update_run(names: tuple[str, ...]) -> str:
    return f"UPDATE runs SET {', '.join(f'{name} = %b' for name in names)} WHERE run_id = %b"


@cache
def _update_runs(names: tuple[str, ...]) -> str:
    arrays = ", ".join(f"%b::{_type_of('runs', name)}[]" for name in (*names, "run_id"))
    changed = ", ".join(f"{name} = changed.{name}" for name in names)
    return (
        f"UPDATE runs SET {changed} FROM unnest({arrays}) AS changed({', '.join((*names, 'run_id'))})"
        " WHERE runs.run_id = changed.run_id"
    )


class PostgresqlDriver:
    """One transaction of a writer on PostgreSQL."""

    values = VALUES

    def __init__(self, engine: Engine, connection: Any = None) -> None:
        """`connection` is for one of whose transaction somebody else takes care."""
        self._engine = engine
        if connection is not None:
            self._connection: psycopg.Connection[Row] = connection

    def __enter__(self) -> Self:
        with _own_errors():
            self._pooled = self._engine.raw_connection()
        connection: Any = self._pooled.driver_connection
        self._connection = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The pool rolls back what was not committed, and drops a connection that broke.
        self._pooled.close()

    def begin(self, wanted: Wanted) -> tuple[Head, Found]:
        """Take the lock on the head's row, then look up. Each statement sees what was committed before it began."""
        with _own_errors(), self._connection.pipeline():
            locked = self._execute("SELECT position, recorded_at FROM head FOR UPDATE")
            cursors = self._look_up(wanted)
        with _own_errors():
            position, recorded_at = locked.fetchall()[0]
            found = _found(cursors)
        return Head(position, None if recorded_at is None else _utc(recorded_at)), found

    def find(self, wanted: Wanted) -> Found:
        """Look up what a batch needs."""
        with _own_errors():
            with self._connection.pipeline():
                cursors = self._look_up(wanted)
            return _found(cursors)

    def _look_up(self, wanted: Wanted) -> tuple[Cursor | None, ...]:
        queries = (
            ("SELECT event_id, position FROM event_ids WHERE event_id = ANY(%b)", wanted.event_ids),
            (f"SELECT {RUN_READ} FROM runs WHERE run_id = ANY(%b)", wanted.run_ids),
            (f"SELECT {', '.join(COLUMNS['producers'])} FROM producers WHERE producer = ANY(%b)", wanted.producers),
        )
        return tuple(self._execute(query, (keys,)) if keys else None for query, keys in queries)

    def find_positions(self, event_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the positions of known events."""
        rows = self._find("SELECT event_id, position FROM event_ids WHERE event_id = ANY(%b)", event_ids)
        return dict(rows)

    def find_entries(self, positions: Sequence[int]) -> dict[int, bytes]:
        """Return the bytes of entries."""
        rows = self._find("SELECT position, entry FROM entries WHERE position = ANY(%b)", positions)
        return {position: bytes(entry) for position, entry in rows}

    def find_bodies(self, position: int) -> Mapping[bytes, bytes]:
        """Return an entry's bodies by digest."""
        rows = self._find("SELECT digest, content FROM bodies WHERE position = ANY(%b)", [position])
        return {bytes(digest): bytes(content) for digest, content in rows}

    def find_rows(self, table: str, run_ids: Sequence[UUID]) -> Sequence[Row]:
        """Return all rows about some runs."""
        columns = ", ".join(COLUMNS[table])
        order = " ORDER BY position" if "position" in COLUMNS[table] else ""
        return self._find(f"SELECT {columns} FROM {table} WHERE run_id = ANY(%b){order}", run_ids)

    def _find(self, query: str, keys: Sequence[Any]) -> list[Row]:
        with _own_errors():
            return self._execute(query, (list(keys),)).fetchall()

    def _execute(self, query: str, parameters: Sequence[Any] = ()) -> Cursor:
        cursor = self._connection.cursor(binary=True)
        return cursor.execute(_query(query), parameters, prepare=True)

    def write(self, changes: Changes) -> None:
        """Write everything."""
        with _own_errors():
            self._add_partitions(changes)
            if _is_large(changes):
                self._write(changes)
            else:
                with self._connection.pipeline():
                    self._write(changes)

    def write_producers(self, rows: list[Row]) -> None:
        """Write whole rows of producers."""
        with _own_errors():
            self._execute_many(UPSERT_PRODUCER, rows)

    def commit(self, changes: Changes) -> None:
        """Write everything and commit: for a small batch in one round trip."""
        with _own_errors():
            self._add_partitions(changes)
            if _is_large(changes):
                self._write(changes)
                self._connection.commit()
            else:
                with self._connection.pipeline():
                    self._write(changes)
                    self._connection.commit()

    def _add_partitions(self, changes: Changes) -> None:
        """Create the partitions that the new entries need, and the next one while the last is half full."""
        if not changes.entries:
            return
        first, last = changes.entries[0][0], changes.entries[-1][0]
        half = t.PARTITION_SIZE // 2
        # Only a batch that crosses a half needs to look: 0 has been there from the first.
        if first // half == last // half and first % half != 0:
            return
        for number in range(first // t.PARTITION_SIZE, (last + half) // t.PARTITION_SIZE + 1):
            exists = self._execute("SELECT to_regclass(%b::text) IS NOT NULL", (partition_name(number),)).fetchone()
            if exists == (False,):
                self._execute("SELECT runvis_add_partition(%b::bigint)", (number,))

    def _write(self, changes: Changes) -> None:
        self._insert("entries", changes.entries)
        self._insert("bodies", changes.bodies)
        for table in WRITE_ORDER:
            if rows := changes.inserts.get(table):
                self._insert(table, rows)
        self._execute_many(DELETE_BODY, [row[:2] for row in changes.inserts.get("erasures", ())])
        for table, rows in changes.inserts_once.items():
            self._execute_many(INSERT_ONCE[table], rows)
        for names, rows in changes.changed_runs.items():
            if len(rows) < COPY_FROM:
                self._execute_many(_update_run(names), rows)
            else:
                self._execute(_update_runs(names), [list(column) for column in zip(*rows, strict=True)])
        if changes.producers:
            self._execute_many(UPSERT_PRODUCER, changes.producers)
        if changes.ended:
            self._execute("DELETE FROM liveness WHERE run_id = ANY(%b)", ([run.run_id for run in changes.ended],))
        if changes.head is not None:
            self._execute("UPDATE head SET position = %b, recorded_at = %b", changes.head)

    def _insert(self, table: str, rows: list[Row]) -> None:
        if len(rows) < COPY_FROM:
            self._execute_many(INSERT[table], rows)
            return
        copy_from = f"COPY {table} ({', '.join(COLUMNS[table])}) FROM STDIN (FORMAT binary)"
        with self._connection.cursor() as cursor, cursor.copy(_query(copy_from)) as copy:
            copy.set_types(_types(table))
            for row in rows:
                copy.write_row(row)

    def _execute_many(self, query: str, rows: list[Row]) -> None:
        for row in rows:
            self._execute(query, row)


def _is_large(changes: Changes) -> bool:
    """Return whether any table is written by COPY."""
    tables = (changes.entries, changes.bodies, *changes.inserts.values())
    return any(len(rows) >= COPY_FROM for rows in tables)


def _found(cursors: tuple[Cursor | None, ...]) -> Found:
    positions, runs, producers = ([] if cursor is None else cursor.fetchall() for cursor in cursors)
    return Found(dict(positions), runs, producers)


@contextmanager
def _own_errors() -> Generator[None, None, None]:
    try:
        yield
    except DBAPIError as error:
        raise UnreachableError(f"the store can't be opened: {error.orig}") from error
    except psycopg.IntegrityError as error:
        said = error.diag.message_primary or str(error)
        if said.startswith(PREFIX):
            raise LogRuleError(said.removeprefix(PREFIX)) from error
        raise StoreError(f"the store refused a row: {said}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise UnreachableError(f"the store can't be written to now: {error}") from error
    except psycopg.Error as error:
        raise StoreError(f"the store failed: {error}") from error
