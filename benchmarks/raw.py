"""The limit that a database sets: append an event and keep current states, with no check, no hash, no guard.

What is appended is what RunVis is given: the same bytes, under the same ids. Whose state changes with each of them is
another matter, since a row of RunVis stands for a run and all that is known of it. The raw log keeps what a plain
history of runs would: nine events in the life of a run of three tasks, each of which changes the state of the run or of
a task; four hundred such runs, which begin anew when they are over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

import psycopg
from sqlalchemy.engine import make_url

from benchmarks.workload import fields_of

Row = tuple[str, str, str, str, str, str, str]
"""event id, run id, entity, engine, state, time, body."""


class RawLog(Protocol):
    """A table of events and a table of current states."""

    def append(self, batch: Sequence[Row]) -> None:
        """Write all rows and the states they leave, in one durable transaction."""
        ...

    def append_one(self, row: Row) -> None:
        """Write one row and the state it leaves, in one durable transaction."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


LIFE: Final = (
    ("run", "queued"),
    ("run", "running"),
    *((f"task{number}", state) for number in range(3) for state in ("running", "success")),
    ("run", "success"),
)
"""What changes its state in the life of a run, and to which."""
LIVES: Final = 400


def rows(items: Sequence[bytes]) -> list[Row]:
    """Return what the raw log holds of wire items."""
    return [_row(number, item) for number, item in enumerate(items)]


def _row(number: int, item: bytes) -> Row:
    life, place = divmod(number, len(LIFE))
    life %= LIVES
    entity, state = LIFE[place]
    moment = f"2026-11-24T07:{life // 60 % 60:02}:{life % 60:02}.{place:06}Z"
    engine = "airflow" if life % 2 else "prefect"
    return fields_of(item)["event_id"], str(UUID(int=life << 16)), entity, engine, state, moment, item.decode()


class SqliteLog:
    """The standard library's driver, WAL, synchronous FULL: the settings of RunVis's own store."""

    _SCHEMA = """
        CREATE TABLE events (
            position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE, run_id TEXT, entity TEXT, engine TEXT,
            state TEXT, occurred_at TEXT, body TEXT
        );
        CREATE INDEX events_run ON events (run_id);
        CREATE TABLE current (
            run_id TEXT, entity TEXT, engine TEXT, state TEXT, occurred_at TEXT, position INTEGER,
            PRIMARY KEY (run_id, entity)
        ) WITHOUT ROWID;
        CREATE INDEX current_state ON current (engine, state, occurred_at);
    """
    _INSERT = (
        "INSERT INTO events (event_id, run_id, entity, engine, state, occurred_at, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    _UPSERT = """
        INSERT INTO current VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
        SET state = excluded.state, occurred_at = excluded.occurred_at, position = excluded.position
    """

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(str(make_url(url).database), isolation_level=None)
        for setting in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.executescript(self._SCHEMA)

    def append(self, batch: Sequence[Row]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._INSERT, batch)
        self._connection.executemany(self._UPSERT, [(*row[1:6], 0) for row in batch])
        self._connection.execute("COMMIT")

    def append_one(self, row: Row) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        position = self._connection.execute(self._INSERT, row).lastrowid
        self._connection.execute(self._UPSERT, (*row[1:6], position))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class PostgresqlLog:
    """psycopg 3: COPY and one upsert of the folded states for a batch, one statement for one event."""

    _SCHEMA = b"""
        CREATE TABLE events (
            position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid UNIQUE, run_id text, entity text,
            engine text, state text, occurred_at timestamptz, body jsonb
        );
        CREATE INDEX ON events (run_id);
        CREATE TABLE current (
            run_id text, entity text, engine text, state text, occurred_at timestamptz, position bigint,
            PRIMARY KEY (run_id, entity)
        );
        CREATE INDEX ON current (engine, state, occurred_at);
    """
    _COPY = b"COPY events (event_id, run_id, entity, engine, state, occurred_at, body) FROM STDIN"
    _SET = b"""
        ON CONFLICT (run_id, entity) DO UPDATE
        SET state = excluded.state, occurred_at = excluded.occurred_at, position = excluded.position
    """
    _UPSERT_ALL = (
        b"INSERT INTO current SELECT * FROM unnest"
        b"(%s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::bigint[])" + _SET
    )
    _INSERT_ONE = (
        b"WITH appended AS (INSERT INTO events (event_id, run_id, entity, engine, state, occurred_at, body)"
        b" VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING position)"
        b" INSERT INTO current SELECT %s, %s, %s, %s, %s, position FROM appended" + _SET
    )

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(self._SCHEMA)

    def append(self, batch: Sequence[Row]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(self._COPY) as copy:
                for row in batch:
                    copy.write_row(row)
            folded = {row[1:3]: (*row[1:6], 0) for row in batch}
            cursor.execute(self._UPSERT_ALL, [list(column) for column in zip(*folded.values(), strict=True)])

    def append_one(self, row: Row) -> None:
        self._connection.execute(self._INSERT_ONE, (*row, *row[1:6]))

    def close(self) -> None:
        self._connection.close()
