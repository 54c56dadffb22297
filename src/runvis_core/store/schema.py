"""The store's schema: which one a database has, and how it gets the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from runvis_core.errors import SchemaVersionError
from runvis_core.store import guards
from runvis_core.store.roles import ddl_allowed, find_role_problems
from runvis_core.store.tables import metadata

SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x52756E566973
"""The PostgreSQL advisory lock under which one process upgrades."""


def newest_version() -> str:
    """Return the schema version that this RunVis works on."""
    head = ScriptDirectory(str(SCRIPTS)).get_current_head()
    assert head is not None, "there is at least one migration"
    return head


def schema_version(engine: Engine) -> str | None:
    """Return the schema version of a database; None for one without a store."""
    with engine.connect() as connection:
        return _version(connection)


def changed_guards(engine: Engine) -> list[str]:
    """Return the guards of a store that are missing, off, or not as this version ships them, in words.

    And tables that are missing; and where roles were set up, what was changed about them.
    """
    with engine.connect() as connection:
        return [
            *(f"table {name}: missing" for name in missing_tables(connection)),
            *guards.changed_guards(connection),
            *find_role_problems(connection),
        ]


def missing_tables(connection: Connection) -> list[str]:
    """Return the tables that a store has and this one has not."""
    return sorted(metadata.tables.keys() - set(inspect(connection).get_table_names()))


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def require_schema(engine: Engine, *, upgrade: bool | None = None) -> None:
    """Make sure that a database has the newest schema: by upgrading, where that is allowed, else by refusing."""
    newest = newest_version()
    with engine.connect() as connection:
        version = _version(connection)
        if version == newest:
            return
        if version is not None and version not in _known_versions():
            raise SchemaVersionError(
                f"the store has schema {version}, which is newer than this RunVis, which works on {newest}:"
                " upgrade RunVis (pip install -U runvis)"
            )
        if version is None and inspect(connection).has_table("entries"):
            raise SchemaVersionError("the database has tables, but not those of a store: use a database of its own")
        may = upgrade if upgrade is not None else (version is None or engine.dialect.name == "sqlite")
    if not may:
        what = f"schema {version}" if version else "no schema yet"
        raise SchemaVersionError(f"the store has {what}, and this RunVis works on {newest}: run `runvis db upgrade`")
    upgrade_schema(engine)


def upgrade_schema(engine: Engine) -> str:
    """Bring a database to the newest schema, in one transaction; return the version."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        # Two processes that open a new store at once: the second one waits, and finds nothing left to do.
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        with ddl_allowed(connection):
            command.upgrade(config, "head")
    return newest_version()


def _known_versions() -> set[str]:
    return {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}
