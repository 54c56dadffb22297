"""What is in order in a store, and what is not."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Connection, func, select

from runvis_core.services.answers import Check
from runvis_core.services.clock import check_clock
from runvis_core.services.completeness import check_completeness
from runvis_core.services.reading import reading
from runvis_core.services.starts import check_capture
from runvis_core.store.database import Store
from runvis_core.store.roles import find_power
from runvis_core.store.schema import changed_guards, newest_version, schema_version
from runvis_core.store.tables import head, producers

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"

_WAL_RESET_BUG: Final = ((3, 7, 0), (3, 51, 2))
_WAL_RESET_FIXED: Final = frozenset({(3, 44, 6), (3, 50, 7)})
_MAX_VERSIONS: Final = 5


def examine_store(store: Store, *, now: datetime) -> list[Check]:
    """Return what was looked at in a store. Raises `UnreachableError` if it can't be read."""
    with reading(store) as connection:
        end = connection.execute(select(head.c.position, head.c.recorded_at)).one_or_none()
        heard = _heard(connection)
        power = _power(connection)
        clock = _database_clock(connection, now)
    position, recorded_at = (end.position, end.recorded_at) if end else (0, None)
    said = f"{position} entries" + (
        f", the last one recorded at {recorded_at:%Y-%m-%d %H:%M:%S} UTC" if recorded_at else ""
    )
    return [
        Check(name="store", outcome=OK, detail=f"{store.url}: {said}"),
        _schema(store),
        _guards(store),
        *([power] if power else []),
        *([clock] if clock else []),
        *([check_sqlite(sqlite3.sqlite_version_info)] if store.engine.dialect.name == "sqlite" else []),
        *heard,
        check_completeness(store, now=now),
        check_capture(store, since=now - timedelta(days=1)),
    ]


def _schema(store: Store) -> Check:
    version, newest = schema_version(store.engine), newest_version()
    if version == newest:
        return Check(name="schema", outcome=OK, detail=f"version {version}")
    return Check(
        name="schema",
        outcome=PROBLEM,
        detail=f"version {version}, and this RunVis works on {newest}",
        remedy="run `runvis db upgrade`, or upgrade RunVis if the store is the newer one",
    )


def _guards(store: Store) -> Check:
    changed = changed_guards(store.engine)
    if not changed:
        return Check(
            name="triggers", outcome=OK, detail="as shipped: the database itself refuses what would bend the record"
        )
    return Check(
        name="triggers",
        outcome=PROBLEM,
        detail=f"missing or changed: {', '.join(changed)}",
        remedy="somebody with rights on the database removed what protects the record: find out who and why, then "
        "restore the store from a backup",
    )


def _power(connection: Connection) -> Check | None:
    if connection.dialect.name != "postgresql":
        return None
    power = find_power(connection)
    if power is None:
        return Check(name="roles", outcome=OK, detail="who connects here can't switch off what protects the record")
    return Check(
        name="roles",
        outcome=WARNING,
        detail=f"{power}: they could switch off what protects the record",
        remedy="run `runvis db roles` as a superuser, and connect as the writer",
    )


def check_sqlite(version: tuple[int, ...]) -> Check:
    """Return whether a SQLite library has the bug that can lose committed transactions in WAL mode."""
    name = ".".join(map(str, version))
    first, last = _WAL_RESET_BUG
    if not first <= version[:3] <= last or version[:3] in _WAL_RESET_FIXED:
        return Check(name="sqlite", outcome=OK, detail=f"SQLite {name}, without the WAL-reset bug")
    return Check(
        name="sqlite",
        outcome=WARNING,
        detail=f"SQLite {name} has the WAL-reset bug: with several writers, a rare race can damage the file",
        remedy="let one `runvis serve` be the only writer, or use PostgreSQL, or a Python with SQLite 3.51.3, 3.50.7, "
        "3.44.6 or later",
    )


def _database_clock(connection: Connection, now: datetime) -> Check | None:
    if connection.dialect.name != "postgresql":
        return None
    theirs = connection.scalar(select(func.clock_timestamp()))
    assert isinstance(theirs, datetime)
    return check_clock("database", theirs - now)


def _heard(connection: Connection) -> list[Check]:
    """Return in which processes each adapter was heard."""
    key = (producers.c.engine, producers.c.deployment, producers.c.component, producers.c.witness)
    query = (
        select(
            *key,
            func.count().label("processes"),
            func.max(producers.c.opened_at).label("last_at"),
            func.sum(producers.c.refused).label("refused"),
        )
        .group_by(*key)
        .order_by(*key)
    )
    rows = connection.execute(query).all()
    if not rows:
        return [
            Check(
                name="adapters",
                outcome=WARNING,
                detail="no process of any engine was heard yet",
                remedy="set RUNVIS_URL and RUNVIS_DEPLOYMENT in every process of the engine, and look at its log",
            )
        ]
    return [_heard_check(connection, row) for row in rows]


def _heard_check(connection: Connection, row: Any) -> Check:
    name = f"adapter {row.engine} {row.deployment}"
    last_at = f", the last one began at {row.last_at:%Y-%m-%d %H:%M:%S} UTC" if row.last_at else ""
    versions = _versions_of(connection, row)
    said = f"heard in {row.processes} {row.component or 'unnamed'} process(es) ({row.witness}){last_at}{versions}"
    if row.refused:
        return Check(
            name=name,
            outcome=PROBLEM,
            detail=f"{said}; they could not keep {row.refused} events",
            remedy="look at the room and the rights of RUNVIS_SPOOL_DIR where they run",
        )
    return Check(name=name, outcome=OK, detail=said)


def _versions_of(connection: Connection, row: Any) -> str:
    query = select(producers.c.versions).where(
        producers.c.engine == row.engine,
        producers.c.deployment == row.deployment,
        producers.c.component == row.component,
        producers.c.versions.is_not(None),
    )
    found = connection.scalars(query.distinct().limit(_MAX_VERSIONS))
    named = sorted({_name_versions(orjson.loads(versions)) for versions in found if versions})
    return f": {' | '.join(named)}" if any(named) else ""


def _name_versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
