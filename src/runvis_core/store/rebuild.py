"""Derive all projections again from the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from runvis_core.errors import UnreachableError
from runvis_core.store import tables as t
from runvis_core.store.database import Store
from runvis_core.store.driver import Driver, Row, Wanted
from runvis_core.store.garbage import searched_rarely
from runvis_core.store.guards import create_guards
from runvis_core.store.log import NUL, driver_on, parse_entry
from runvis_core.store.producers import carry_over
from runvis_core.store.projection import project
from runvis_core.store.roles import ddl_allowed
from runvis_core.store.statements import COLUMNS

CHUNK: Final = 2000
"""Entries that are folded at a time."""
SHADOW: Final = "runvis_rebuild"
"""The PostgreSQL schema in which new tables grow beside those in use."""

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


@searched_rarely()
def rebuild_store(store: Store, *, progress: Progress | None = None) -> None:
    """Replace all projections by what the log says, in one transaction: nobody sees a half of it.

    Nothing can be appended meanwhile; reading goes on. It is the only way around the guards: the tables are made anew,
    and so are their guards, before anybody else can write.
    """
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    try:
        connecting = store.engine.connect().execution_options(**options)
        with connecting as connection, connection.begin(), ddl_allowed(connection):
            _rebuild(connection, progress or (lambda _done, _total: None))
    except OperationalError as error:
        raise UnreachableError(f"the store can't be rebuilt now: {error.orig}") from error


def _rebuild(connection: Connection, progress: Progress) -> None:
    on_postgresql = connection.dialect.name == "postgresql"
    lock = select(t.head.c.position)
    total = connection.execute(lock.with_for_update() if on_postgresql else lock).scalar_one()
    # As the driver has them, which writes them back.
    query = text(f"SELECT {', '.join(COLUMNS['producers'])} FROM producers ORDER BY producer")  # noqa: S608
    received = [tuple(row) for row in connection.execute(query)]
    tables = list(t.PROJECTIONS)
    home = _begin_shadow(connection) if on_postgresql else ""
    if not on_postgresql:
        for table in tables:
            connection.exec_driver_sql(f"DROP TABLE {table.name}")
    t.metadata.create_all(connection, tables, checkfirst=False)
    driver = driver_on(connection)
    for done in _fill(connection, driver):
        progress(done, total)
    _keep_received(driver, received)
    if on_postgresql:
        _end_shadow(connection, home)
    create_guards(connection, tables)


def _begin_shadow(connection: Connection) -> str:
    home = str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
    connection.exec_driver_sql(f"CREATE SCHEMA {SHADOW}")
    connection.exec_driver_sql(f'SET LOCAL search_path = {SHADOW}, "{home}"')
    return home


def _end_shadow(connection: Connection, home: str) -> None:
    for table in t.PROJECTIONS:
        connection.exec_driver_sql(f'DROP TABLE "{home}".{table.name}')
        connection.exec_driver_sql(f'ALTER TABLE {SHADOW}.{table.name} SET SCHEMA "{home}"')
    connection.exec_driver_sql(f"DROP SCHEMA {SHADOW}")
    connection.exec_driver_sql(f'SET LOCAL search_path = "{home}"')


def _fill(connection: Connection, driver: Driver) -> Iterator[int]:
    after = 0
    while True:
        query = select(t.entries.c.position, t.entries.c.entry).where(t.entries.c.position > after)
        rows = connection.execute(query.order_by(t.entries.c.position).limit(CHUNK)).all()
        if not rows:
            return
        entries = [parse_entry(position, bytes(data)) for position, data in rows]
        events = [entry.event for entry in entries]
        found = driver.find(Wanted.of(events)._replace(event_ids=[]))
        changes = project(entries, driver, found, received=events, now=entries[-1].recorded_at)
        if any(NUL in row.entry for row in rows):
            changes.without_nul()
        driver.write(changes)
        after = entries[-1].position
        yield after


def _keep_received(driver: Driver, before: list[Row]) -> None:
    read_id = driver.values.read_id
    found = driver.find(Wanted([], [], [read_id(row[0]) for row in before])).producers
    rebuilt = {row[0]: row for row in found}
    driver.write_producers([carry_over(row, rebuilt.get(row[0])) for row in before])
