"""The roles of a PostgreSQL database: an owner that nobody logs in as, a writer, a reader, an archivist.

The guards hold for every role. What they can't hold off by themselves is the table's owner, who may switch a trigger
off, and that is why nobody is it: an event trigger refuses such orders to all. Only a superuser can lift that, and
what a superuser does can only be found: by `doctor`, by `db check`, by whoever keeps a copy.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import SettingsError, StoreError
from runvis_core.store.grants import GRANTS
from runvis_core.store.guards.postgresql import EVENT_TRIGGER, event_trigger_statements

DEFAULT_PREFIX: Final = "runvis"
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")


class Roles(NamedTuple):
    """The names of a database's roles."""

    owner: str
    """Owns all, and can't log in."""
    writer: str
    """Whom servers connect as."""
    reader: str
    """Whom dashboards and people who only look connect as."""
    archivist: str
    """Whom the archive's own process connects as."""

    @staticmethod
    def of(prefix: str) -> Roles:
        """Return the names that begin with a prefix. Raises `SettingsError` for one that is no plain name."""
        if not _PREFIX.fullmatch(prefix):
            raise SettingsError(f"{prefix!r} can't begin a role's name: use letters, digits and _, e.g. runvis")
        return Roles(*(f"{prefix}_{name}" for name in Roles._fields))


def create_roles(engine: Engine, *, prefix: str = DEFAULT_PREFIX) -> Roles:
    """Create the roles, give them their grants and nothing else, and forbid what would go around the guards.

    Doing it again puts right what was changed. Raises `StoreError` where the database has no roles, or who connects is
    no superuser: only one can forbid something to the owner.
    """
    roles = Roles.of(prefix)
    if engine.dialect.name != "postgresql":
        raise StoreError("a SQLite file has no roles: its file's permissions say who may write")
    with engine.connect() as connection, connection.begin():
        if not connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
            raise StoreError(
                "only a superuser can set the roles up, since something is forbidden even to the owner: connect as "
                "one, e.g. --url postgresql://postgres@db/runvis"
            )
        with ddl_allowed(connection):
            for role, login in zip(roles, ("NOLOGIN", "LOGIN", "LOGIN", "LOGIN"), strict=True):
                _create_role(connection, role, login)
            apply_grants(connection, roles)
        for statement in event_trigger_statements():
            _run(connection, statement)
    return roles


def find_roles(connection: Connection) -> Roles | None:
    """Return the roles of a database; None where none were set up."""
    if connection.dialect.name != "postgresql":
        return None
    owner = connection.scalar(
        text(
            "SELECT rolname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
            " WHERE relnamespace = current_schema()::regnamespace AND relname = 'entries' AND NOT rolcanlogin"
        )
    )
    return Roles.of(str(owner).removesuffix("_owner")) if owner and str(owner).endswith("_owner") else None


def apply_grants(connection: Connection, roles: Roles) -> None:
    """Make the owner own everything, and let each role do what is stated, and nothing else."""
    schema, database = connection.exec_driver_sql("SELECT current_schema(), current_database()").one()
    everybody = f"PUBLIC, {roles.writer}, {roles.reader}, {roles.archivist}"
    _run(connection, f'REVOKE ALL ON DATABASE "{database}" FROM {everybody}')
    _run(connection, f'GRANT CONNECT ON DATABASE "{database}" TO {roles.writer}, {roles.reader}, {roles.archivist}')
    _run(connection, f'REVOKE ALL ON SCHEMA "{schema}" FROM {everybody}')
    _run(connection, f'GRANT USAGE ON SCHEMA "{schema}" TO {roles.writer}, {roles.reader}, {roles.archivist}')
    # The partitions that the log grows into are made in the owner's name.
    _run(connection, f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO {roles.owner}')
    for table in _tables(connection):
        _run(connection, f"ALTER TABLE {table} OWNER TO {roles.owner}")
        _run(connection, f"REVOKE ALL ON {table} FROM {everybody}")
    for function in _functions(connection):
        _run(connection, f"ALTER FUNCTION {function} OWNER TO {roles.owner}")
        _run(connection, f"REVOKE ALL ON FUNCTION {function} FROM {everybody}")
    _run(connection, f"GRANT EXECUTE ON FUNCTION runvis_add_partition(bigint) TO {roles.writer}")
    for table, grant in GRANTS.items():
        for role, statements in zip(roles[1:], grant, strict=True):
            _run(connection, f"GRANT {', '.join(statements)} ON {table} TO {role}")


@contextmanager
def ddl_allowed(connection: Connection) -> Generator[None]:
    """Lift, within the transaction, what forbids changes of tables, and give new ones their grants.

    Raises `StoreError` where it is forbidden and who connects is no superuser.
    """
    standing = connection.dialect.name == "postgresql" and connection.scalar(
        text("SELECT evtname FROM pg_event_trigger WHERE evtname = :name"), {"name": EVENT_TRIGGER}
    )
    if not standing:
        yield
        return
    if not connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        raise StoreError(
            "the store's roles are set up, so only a superuser may change its tables: connect as one for this, e.g. "
            "--url postgresql://postgres@db/runvis"
        )
    _run(connection, f"ALTER EVENT TRIGGER {EVENT_TRIGGER} DISABLE")
    yield
    roles = find_roles(connection)
    if roles is not None:
        apply_grants(connection, roles)
    _run(connection, f"ALTER EVENT TRIGGER {EVENT_TRIGGER} ENABLE ALWAYS")


def find_role_problems(connection: Connection) -> list[str]:
    """Return what somebody changed about the roles, which only an owner or a superuser can; nothing without roles."""
    roles = find_roles(connection)
    if roles is None:
        return []
    foreign = text(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p') AND relowner <> CAST(:owner AS regrole)"
    )
    owned = connection.execute(foreign, {"owner": roles.owner}).scalars()
    problems = [f"{table}: does not belong to {roles.owner}" for table in owned]
    policies = text("SELECT policyname, tablename FROM pg_policies WHERE schemaname = current_schema()")
    problems += [
        f"{name}: a row policy on {table}, not shipped with RunVis" for name, table in connection.execute(policies)
    ]
    mighty = text("SELECT rolname FROM pg_roles WHERE rolsuper AND rolname = ANY(:roles)")
    powers = connection.execute(mighty, {"roles": list(roles)}).scalars()
    problems += [f"{role}: a superuser, whom no guard holds" for role in powers]
    for table, grant in GRANTS.items():
        for role, stated in zip(roles[1:], grant, strict=True):
            problems += [f"{table}: {role} {fault}" for fault in _grant_faults(connection, table, role, stated)]
    return problems


def find_power(connection: Connection) -> str | None:
    """Return why who connects could go around the guards: as a superuser, or the owner; None if they can't."""
    if connection.dialect.name != "postgresql":
        return None
    row = connection.exec_driver_sql(
        "SELECT current_user, rolsuper, pg_has_role(current_user, relowner, 'MEMBER') FROM pg_roles, pg_class"
        " WHERE rolname = current_user AND pg_class.oid = 'entries'::regclass"
    ).one()
    if row[1]:
        return f"{row[0]} is a superuser"
    return f"{row[0]} owns the tables" if row[2] else None


def _grant_faults(connection: Connection, table: str, role: str, stated: Iterable[str]) -> list[str]:
    query = text(
        "SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER',"
        " 'REFERENCES']) AS privilege WHERE has_table_privilege(:role, to_regclass(:table), privilege)"
    )
    given = set(connection.execute(query, {"role": role, "table": table}).scalars())
    missing, more = sorted(set(stated) - given), sorted(given - set(stated))
    return [
        *([f"may not {', '.join(missing)}, and should"] if missing else []),
        *([f"may {', '.join(more)}, and should not"] if more else []),
    ]


def _create_role(connection: Connection, role: str, login: str) -> None:
    known = connection.scalar(text("SELECT rolname FROM pg_roles WHERE rolname = :role"), {"role": role})
    order = "ALTER" if known else "CREATE"
    _run(connection, f"{order} ROLE {role} {login} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")


def _tables(connection: Connection) -> list[str]:
    return _names(
        connection,
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p')",
    )


def _functions(connection: Connection) -> list[str]:
    return _names(
        connection,
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
        " AND proname LIKE 'runvis\\_%'",
    )


def _names(connection: Connection, query: str) -> list[str]:
    return [str(row[0]) for row in connection.exec_driver_sql(query, execution_options={"no_parameters": True})]


def _run(connection: Connection, statement: str) -> Any:
    try:
        return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    except DBAPIError as error:
        raise StoreError(f"the database refused this: {error.orig} ({statement})") from error
