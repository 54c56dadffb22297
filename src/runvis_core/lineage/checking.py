"""Whether the lineage tables are what the log makes of them: they are made again in a scratch place, and compared.

The scratch place is a database of SQLite that it keeps in a temporary file, so that memory stays bounded, and what is
verified is not written to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Table, create_engine, literal, select, tuple_
from sqlalchemy.pool import StaticPool

from runvis_core.store import tables as t
from runvis_core.store.log import StoredEntry

CHUNK: Final = 1000
"""Entries that are taken at a time, and rows that are compared at a time."""

Take = Callable[[Connection, Connection, Sequence[StoredEntry]], object]
"""Adds to the tables of one connection what entries complete, given the log of another."""


def find_differences(connection: Connection, step: str, take: Take) -> Iterator[str]:
    """Yield each row of the lineage tables that the log does not support, and each that is lacking.

    It goes as far as the step of that name is.
    """
    until = connection.scalar(select(t.steps.c.position).where(t.steps.c.name == step)) or 0
    with _scratch() as scratch:
        after = 0
        while after < until:
            query = select(t.entries).where(t.entries.c.position > after, t.entries.c.position <= until)
            rows = connection.execute(query.order_by(t.entries.c.position).limit(CHUNK))
            entries = [StoredEntry(*row) for row in rows]
            if not entries:
                break
            take(scratch, connection, entries)
            after = entries[-1].position
        for table in t.LINEAGE:
            yield from _compare(table, scratch, connection)


@contextmanager
def _scratch() -> Generator[Connection]:
    # Without a name SQLite keeps a database in a temporary file that only this connection sees.
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(""), poolclass=StaticPool)
    try:
        with engine.connect() as connection, connection.begin():
            t.metadata.create_all(connection, list(t.LINEAGE))
            yield connection
    finally:
        engine.dispose()


def _compare(table: Table, expected: Connection, standing: Connection) -> Iterator[str]:
    """Go through a table on both sides in the order of its key."""
    keys = [column.name for column in table.primary_key]
    place: tuple[Any, ...] | None = None
    while True:
        wanted, there = (_read(connection, table, keys, place) for connection in (expected, standing))
        ends = [max(rows) for rows in (wanted, there) if len(rows) == CHUNK]
        place = min(ends) if ends else None
        for key in sorted(wanted.keys() | there.keys()):
            if place is not None and key > place:
                break
            if wanted.get(key) == there.get(key):
                continue
            what = "is not what the log says" if key in wanted else "stands there, and the log does not say so"
            named = ", ".join(f"{name} {value}" for name, value in zip(keys, key, strict=True))
            yield f"{table.name}: the row {named} {what}"
        if place is None:
            return


def _read(
    connection: Connection, table: Table, keys: list[str], after: tuple[Any, ...] | None
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    columns = [table.c[name] for name in keys]
    query = select(table).order_by(*columns).limit(CHUNK)
    if after is not None:
        last = (literal(value, column.type) for value, column in zip(after, columns, strict=True))
        query = query.where(tuple_(*columns) > tuple_(*last))
    return {tuple(row[name] for name in keys): tuple(row.values()) for row in connection.execute(query).mappings()}
