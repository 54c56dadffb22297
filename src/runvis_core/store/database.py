"""A store at an address: a SQLite file or a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, FromClause, create_engine, event, make_url
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from runvis_core.errors import StoreAddressError, UnreachableError
from runvis_core.store.log import EventLog, SqlEventLog
from runvis_core.store.schema import require_schema

BUSY_SECONDS: Final = 30
"""How long a writer waits for another one's transaction."""


def utc_now() -> datetime:
    """Return the store's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Store:
    """An open store: its log, and the engine for reading its tables."""

    url: str
    """The address, without a password."""
    engine: Engine
    log: EventLog
    clock: Callable[[], datetime] = field(default=utc_now)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(url: str, *, upgrade: bool | None = None, clock: Callable[[], datetime] = utc_now) -> Store:
    """Open the store at `url`.

    An empty database and a SQLite file get the newest schema; `upgrade` does so for any, or for none. Raises
    `StoreAddressError`, `UnreachableError`, or `SchemaVersionError` where the schema is not the one to work on.
    """
    engine = connect_engine(url)
    try:
        require_schema(engine, upgrade=upgrade)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine.url.render_as_string(), engine, SqlEventLog(engine, clock=clock), clock)


def connect_engine(url: str) -> Engine:
    """Return an engine for the store at `url`, set up as the log needs it."""
    address = _parse(url)
    engine = _sqlite_engine(address) if address.drivername == "sqlite" else _postgresql_engine(address)
    try:
        engine.connect().close()
    except DBAPIError as error:
        raise UnreachableError(f"the store {address.render_as_string()} can't be opened: {error.orig}") from error
    return engine


def _parse(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise StoreAddressError(f"{url!r} is no address of a store: use sqlite:///FILE or postgresql://…") from None
    if address.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return address.set(drivername="postgresql+psycopg")
    if address.drivername != "sqlite":
        raise StoreAddressError(f"no store answers to {address.drivername}: use sqlite:///FILE or postgresql://…")
    if address.database in (None, "", ":memory:"):
        raise StoreAddressError(f"{url!r} names no file: use sqlite:///FILE, or sqlite:////ABSOLUTE/FILE")
    folder = Path(str(address.database)).absolute().parent
    if not folder.is_dir():
        raise StoreAddressError(f"the folder {folder} of the store does not exist: create it, or name another file")
    return address


class _SqliteCompiler(SQLiteCompiler):
    """Writes which index a statement follows, where it says so: SQLAlchemy writes no such hints for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        """Return what stands after a table's name."""
        del table
        return text


def _sqlite_engine(address: URL) -> Engine:
    engine = create_engine(address, connect_args={"timeout": BUSY_SECONDS})
    engine.dialect.statement_compiler = _SqliteCompiler

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # The driver would begin a deferred transaction on its own, and only before some statements.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        # What was acknowledged survives a loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        # What is erased is overwritten, not only unlinked.
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


def _postgresql_engine(address: URL) -> Engine:
    try:
        from runvis_core.store.pooling import keep_connections  # psycopg is an extra of its own.

        # The connection that was used last knows its statements, and who asks alone is always given that one.
        engine = create_engine(address, connect_args={"options": "-c timezone=UTC"}, pool_use_lifo=True)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise StoreAddressError("a postgresql:// store needs psycopg: pip install 'runvis[postgres]'") from None
    keep_connections(engine)
    return engine
