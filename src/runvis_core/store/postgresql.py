"""The append path on PostgreSQL, with psycopg 3.

A small batch goes in two round trips: one takes the lock and looks up, one writes and commits. The many rows of a
large one go by COPY, which takes a round trip of its own, but which costs less per row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types import TypeInfo
from sqlalchemy import Column, Pool, PoolProxiedConnection

from runvis_core.store import tables as t
from runvis_core.store.driver import Changes, Found, Head, OwnErrors, Row, Values, Wanted, as_is
from runvis_core.store.guards.postgresql import partition_name
from runvis_core.store.pipeline import BEGIN, COMMIT, Order, Pipeline, Statement
from runvis_core.store.statements import COLUMNS, RUN_READ, WRITE_ORDER, key_of, upsert_tail

COPY_FROM: Final = 20
"""Rows from which on COPY is the faster way into a table, and arrays where there is no COPY."""


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


VALUES: Final = Values(as_is, as_is, as_is, _utc)

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


def _type_of(table: str, name: str) -> TypeInfo:
    from sqlalchemy.dialects import postgresql

    column: Column[Any] = t.metadata.tables[table].c[name]
    return _type(_TYPES[column.type.compile(dialect=postgresql.dialect())])


def _type(name: str) -> TypeInfo:
    found = psycopg.adapters.types.get(name)
    assert found is not None, f"psycopg knows {name}"
    return found


@cache
def _types(table: str) -> tuple[int, ...]:
    return tuple(_type_of(table, name).oid for name in COLUMNS[table])


def _numbers(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


@cache
def _insert(table: str, tail: str = "") -> Statement:
    columns = COLUMNS[table]
    text = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({_numbers(len(columns))}) {tail}"
    return Statement(text, _types(table))


def _array_types(table: str, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(_type_of(table, name).array_oid for name in names)


def _insert_all(table: str, tail: str) -> Statement:
    columns = COLUMNS[table]
    text = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({_numbers(len(columns))}) {tail}"
    return Statement(text, _array_types(table, columns))


@cache
def _insert_all_once(table: str) -> Statement:
    return _insert_all(table, _ONCE)


@cache
def _upsert_all(table: str) -> Statement:
    return _insert_all(table, upsert_tail(t.metadata.tables[table]))


@cache
def _delete_all(table: str) -> Statement:
    key = key_of(t.metadata.tables[table])
    same = " AND ".join(f"{table}.{name} = gone.{name}" for name in key)
    text = f"DELETE FROM {table} USING unnest({_numbers(len(key))}) AS gone({', '.join(key)}) WHERE {same}"
    return Statement(text, _array_types(table, key))


@cache
def _find_by(table: str, names: tuple[str, ...], key: tuple[str, ...]) -> Statement:
    given = f"unnest({_numbers(len(key))}) AS wanted({', '.join(key)})"
    found = ", ".join(f"{table}.{name}" for name in names)
    text = f"SELECT {found} FROM {table} JOIN {given} USING ({', '.join(key)})"
    return Statement(text, _array_types(table, key))


@cache
def _update_run(names: tuple[str, ...]) -> Statement:
    changed = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, 1))
    types = tuple(_type_of("runs", name).oid for name in (*names, "run_id"))
    return Statement(f"UPDATE runs SET {changed} WHERE run_id = ${len(types)}", types)


@cache
def _update_runs(names: tuple[str, ...]) -> Statement:
    given = (*names, "run_id")
    changed = ", ".join(f"{name} = changed.{name}" for name in names)
    return Statement(
        f"UPDATE runs SET {changed} FROM unnest({_numbers(len(given))}) AS changed({', '.join(given)})"
        " WHERE runs.run_id = changed.run_id",
        _array_types("runs", given),
    )


@cache
def _find_rows(table: str) -> Statement:
    order = " ORDER BY position" if "position" in COLUMNS[table] else ""
    return Statement(f"SELECT {', '.join(COLUMNS[table])} FROM {table} WHERE run_id = ANY($1){order}", _IDS)


_ONCE: Final = "ON CONFLICT DO NOTHING"
_IDS: Final = (_type("uuid").array_oid,)
_POSITIONS: Final = (_type("int8").array_oid,)

LOCK_HEAD: Final = Statement("SELECT position, recorded_at FROM head FOR UPDATE")
MOVE_HEAD: Final = Statement(
    "UPDATE head SET position = $1, recorded_at = $2", (_type("int8").oid, _type("timestamptz").oid)
)
FIND_POSITIONS: Final = Statement("SELECT event_id, position FROM event_ids WHERE event_id = ANY($1)", _IDS)
FIND_RUNS: Final = Statement(f"SELECT {RUN_READ} FROM runs WHERE run_id = ANY($1)", _IDS)
FIND_PRODUCERS: Final = Statement(
    f"SELECT {', '.join(COLUMNS['producers'])} FROM producers WHERE producer = ANY($1)", _IDS
)
FIND_ENTRIES: Final = Statement("SELECT position, entry FROM entries WHERE position = ANY($1)", _POSITIONS)
FIND_BODIES: Final = Statement("SELECT digest, content FROM bodies WHERE position = ANY($1)", _POSITIONS)
DELETE_BODY: Final = Statement(
    "DELETE FROM bodies WHERE position = $1 AND digest = $2", (_type("int8").oid, _type("bytea").oid)
)
DELETE_BEATS: Final = Statement("DELETE FROM liveness WHERE run_id = ANY($1)", _IDS)
UPSERT_PRODUCER: Final = _insert("producers", upsert_tail(t.producers))
HAS_TABLE: Final = Statement("SELECT to_regclass($1) IS NOT NULL", (_type("text").oid,))
ADD_PARTITION: Final = Statement("SELECT runvis_add_partition($1)", (_type("int8").oid,))


class PostgresqlDriver:
    """One transaction of a writer on PostgreSQL."""

    values = VALUES

    def __init__(self, pool: Pool, pooled: PoolProxiedConnection | None = None) -> None:
        """`pool` is for writers alone; `pooled` is a connection of whose transaction somebody else takes care."""
        self._pool = pool
        self._orders: list[Order] = []
        """What is to be executed next, in one round trip."""
        if pooled is not None:
            self._connection: psycopg.Connection[Row] = _psycopg(pooled)
            self._pipeline = Pipeline(self._connection, is_shared=True)

    def __enter__(self) -> Self:
        with _OWN_ERRORS:
            self._pooled = self._pool.connect()
        self._connection = _psycopg(self._pooled)
        # For as long as the connection: what is prepared stays prepared.
        self._pipeline = self._pooled.info.get(_PIPELINE) or Pipeline(self._connection)
        self._pooled.info[_PIPELINE] = self._pipeline
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.closed:
            self._pooled.invalidate()
        else:
            # The pool rolls back what was not committed.
            self._pooled.close()

    def begin(self, wanted: Wanted) -> tuple[Head, Found]:
        """Take the lock on the head's row, then look up. Each statement sees what was committed before it began."""
        queries = _queries(wanted)
        with _OWN_ERRORS:
            _, locked, *answers = self._pipeline.run([(BEGIN, ()), (LOCK_HEAD, ()), *queries])
        position, recorded_at = locked[0]
        return Head(position, None if recorded_at is None else _utc(recorded_at)), _found(queries, answers)

    def find(self, wanted: Wanted) -> Found:
        """Look up what a batch needs."""
        queries = _queries(wanted)
        with _OWN_ERRORS:
            return _found(queries, self._pipeline.run(queries))

    def find_positions(self, event_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the positions of known events."""
        return dict(self._find(FIND_POSITIONS, event_ids))

    def find_entries(self, positions: Sequence[int]) -> dict[int, bytes]:
        """Return the bytes of entries."""
        return dict(self._find(FIND_ENTRIES, positions))

    def find_bodies(self, position: int) -> Mapping[bytes, bytes]:
        """Return an entry's bodies by digest."""
        return dict(self._find(FIND_BODIES, [position]))

    def find_rows(self, table: str, run_ids: Sequence[UUID]) -> Sequence[Row]:
        """Return all rows about some runs."""
        return self._find(_find_rows(table), run_ids)

    def _find(self, statement: Statement, keys: Sequence[Any]) -> list[Any]:
        with _OWN_ERRORS:
            return self._pipeline.run([(statement, (list(keys),))])[0]

    def write(self, changes: Changes) -> None:
        """Write everything."""
        with _OWN_ERRORS:
            self._write(changes)
            self._execute()

    def write_producers(self, rows: list[Row]) -> None:
        """Write whole rows of producers."""
        with _OWN_ERRORS:
            self._pipeline.run([(UPSERT_PRODUCER, row) for row in rows])

    def insert(self, table: str, rows: list[Row]) -> None:
        """Write new rows."""
        with _OWN_ERRORS:
            self._insert(table, rows)
            self._execute()

    def upsert(self, table: str, rows: list[Row]) -> None:
        """Write whole rows, new or not."""
        with _OWN_ERRORS:
            self._pipeline.run([(_upsert_all(table), _columns(rows))])

    def delete(self, table: str, keys: list[Row]) -> None:
        """Remove rows."""
        with _OWN_ERRORS:
            self._pipeline.run([(_delete_all(table), _columns(keys))])

    def find_by(self, table: str, names: tuple[str, ...], key: tuple[str, ...], keys: Sequence[Row]) -> list[Row]:
        """Return columns of all rows with one of some keys."""
        with _OWN_ERRORS:
            return self._pipeline.run([(_find_by(table, names, key), _columns(keys))])[0]

    def commit(self, changes: Changes) -> None:
        """Write everything and commit: for a small batch in one round trip."""
        with _OWN_ERRORS:
            self._write(changes)
            self._orders.append((COMMIT, ()))
            self._execute()

    def _execute(self) -> None:
        orders, self._orders = self._orders, []
        self._pipeline.run(orders)

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
            if self._pipeline.run([(HAS_TABLE, (partition_name(number),))]) == [[(False,)]]:
                self._pipeline.run([(ADD_PARTITION, (number,))])

    def _write(self, changes: Changes) -> None:
        """Write what goes by COPY, and leave the rest of it in `_orders`."""
        self._add_partitions(changes)
        self._insert("entries", changes.entries)
        self._insert("bodies", changes.bodies)
        for table in WRITE_ORDER:
            if rows := changes.inserts.get(table):
                self._insert(table, rows)
        orders = self._orders
        orders += [(DELETE_BODY, row[:2]) for row in changes.inserts.get("erasures", ())]
        for table, rows in changes.inserts_once.items():
            if len(rows) < COPY_FROM:
                orders += [(_insert(table, _ONCE), row) for row in rows]
            else:
                orders.append((_insert_all_once(table), _columns(rows)))
        for names, rows in changes.changed_runs.items():
            if len(rows) < COPY_FROM:
                orders += [(_update_run(names), row) for row in rows]
            else:
                orders.append((_update_runs(names), _columns(rows)))
        orders += [(UPSERT_PRODUCER, row) for row in changes.producers]
        if changes.ended:
            orders.append((DELETE_BEATS, ([run.run_id for run in changes.ended],)))
        if changes.head is not None:
            orders.append((MOVE_HEAD, changes.head))

    def _insert(self, table: str, rows: list[Row]) -> None:
        if len(rows) < COPY_FROM:
            self._orders += [(_insert(table), row) for row in rows]
            return
        self._execute()
        copy_from = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, COLUMNS[table]))
        )
        with self._connection.cursor() as cursor, cursor.copy(copy_from) as copy:
            copy.set_types(_types(table))
            for row in rows:
                copy.write_row(row)


_PIPELINE: Final = "runvis_pipeline"


def _psycopg(pooled: PoolProxiedConnection) -> psycopg.Connection[Row]:
    connection: Any = pooled.driver_connection
    return connection


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _queries(wanted: Wanted) -> list[Order]:
    keys = {FIND_POSITIONS: wanted.event_ids, FIND_RUNS: wanted.run_ids, FIND_PRODUCERS: wanted.producers}
    return [(query, (ids,)) for query, ids in keys.items() if ids]


def _found(queries: list[Order], answers: list[list[Row]]) -> Found:
    rows: dict[Statement, list[Any]] = {query: answer for (query, _), answer in zip(queries, answers, strict=True)}
    return Found(dict(rows.get(FIND_POSITIONS, ())), rows.get(FIND_RUNS, ()), rows.get(FIND_PRODUCERS, ()))


_OWN_ERRORS: Final = OwnErrors(
    psycopg.Error,
    refused=psycopg.IntegrityError,
    unreachable=(psycopg.OperationalError, psycopg.InterfaceError),
    said_by=lambda error: error.diag.message_primary or str(error),
)
