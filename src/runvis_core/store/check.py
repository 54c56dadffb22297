"""Whether a store says what its log says, and its log what was hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, Table, func, select

from runvis_core.errors import EventError
from runvis_core.model.encoding import body_digest, leaf_hash
from runvis_core.model.entry import Entry
from runvis_core.model.event import DecisionEvent
from runvis_core.store import tables as t
from runvis_core.store.check_beside import RowsBesideRuns
from runvis_core.store.database import Store
from runvis_core.store.decisions import decide, read_details
from runvis_core.store.driver import Changes, Driver, Found, Row
from runvis_core.store.guards import changed_guards
from runvis_core.store.log import NUL, StoredEntry, driver_on
from runvis_core.store.projection import project
from runvis_core.store.roles import find_role_problems
from runvis_core.store.schema import missing_tables
from runvis_core.store.statements import COLUMNS
from runvis_core.store.step_rows import find_foreign_rows

CHUNK: Final = 500
MAX_PROBLEMS: Final = 100
"""As many are told of one check: who needs more has a store to restore."""

Progress = Callable[[int, int], None]

_BESIDE: Final = (t.runs, *t.STEP_TABLES)
_OF_RUNS: Final = ("runs", *(table.name for table in t.PROJECTIONS if "run_id" in table.c and table not in _BESIDE))


def check_store(store: Store, *, progress: Progress | None = None) -> list[str]:
    """Return what is wrong with a store, in words; nothing if all is as it should be.

    Looks at the guards, then at each entry (place, hash, columns, index of event ids, bodies), then folds each run anew
    and compares it with its rows. It reads one moment of the store, and hinders nobody.
    """
    problems: list[str] = []
    options: dict[str, Any] = {}
    if store.engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with store.engine.connect().execution_options(**options) as connection, connection.begin():
        for problem in find_problems(connection, progress or (lambda _done, _total: None)):
            problems.append(problem)
            if len(problems) == MAX_PROBLEMS:
                return [*problems, f"more than {MAX_PROBLEMS} problems: the rest is not told"]
    return problems


def find_problems(connection: Connection, progress: Progress) -> Iterator[str]:
    """Yield what is wrong, in words, in the view of one connection."""
    missing = missing_tables(connection)
    if missing:
        # Without them nothing else can be looked at.
        yield from (f"table {name}: missing" for name in missing)
        return
    yield from (f"guard {problem}" for problem in changed_guards(connection))
    yield from (f"roles: {problem}" for problem in find_role_problems(connection))
    head = connection.execute(select(t.head)).one()
    if head.id != 1:
        yield f"head: its id is {head.id}, not 1"
    runs = connection.execute(select(func.count()).select_from(t.runs)).scalar_one()
    total = head.position + runs
    last: StoredEntry | None = None
    recorded_at: datetime | None = None
    beside = RowsBesideRuns(connection)
    for rows in _entries(connection):
        read: list[Entry] = []
        for row in rows:
            expected = 1 if last is None else last.position + 1
            if row.position != expected:
                yield f"entry {row.position}: the position after {expected - 1} is missing"
            last = row
            entry, problem = _read(row)
            yield from problem
            if entry is not None:
                if recorded_at is not None and entry.recorded_at < recorded_at:
                    yield f"entry {row.position}: recorded before the one in front of it"
                recorded_at = entry.recorded_at
                read.append(entry)
        yield from _event_ids(connection, rows)
        yield from beside.check(rows, read)
        yield from _missing_bodies(connection, rows)
        progress(rows[-1].position, total)
    if head.position != (last.position if last else 0) or head.recorded_at != recorded_at:
        yield f"head: says position {head.position}, recorded at {head.recorded_at}, and the last entry says otherwise"
    known = connection.execute(select(func.count()).select_from(t.event_ids)).scalar_one()
    if known != head.position:
        yield f"event_ids: {known} ids for {head.position} entries"
    yield from beside.finish()
    yield from _bodies(connection)
    yield from _decisions(connection)
    yield from _runs(connection, lambda done: progress(head.position + done, total))


def _entries(connection: Connection) -> Iterator[list[StoredEntry]]:
    after = 0
    while True:
        query = select(t.entries).where(t.entries.c.position > after).order_by(t.entries.c.position).limit(CHUNK)
        rows = [StoredEntry(*row) for row in connection.execute(query)]
        if not rows:
            return
        yield rows
        after = rows[-1].position


def _read(row: StoredEntry) -> tuple[Entry | None, list[str]]:
    if leaf_hash(row.entry) != row.leaf_hash:
        return None, [f"entry {row.position}: the bytes are not those that were hashed"]
    try:
        entry = row.parse()
        if isinstance(entry.event, DecisionEvent):
            read_details(entry.event)
    except (ValueError, KeyError, EventError) as error:
        return None, [f"entry {row.position}: can't be read: {error}"]
    event = entry.event
    said = (event.event_id, getattr(event, "run_id", None), event.kind.replace("\0", "\ufffd"), event.witness.value)
    if said != (row.event_id, row.run_id, row.kind, row.witness):
        return entry, [f"entry {row.position}: its columns say otherwise than its bytes"]
    return entry, []


def _event_ids(connection: Connection, rows: Sequence[StoredEntry]) -> Iterator[str]:
    query = select(t.event_ids).where(t.event_ids.c.event_id.in_([row.event_id for row in rows]))
    known: dict[UUID, int] = {row.event_id: row.position for row in connection.execute(query)}
    for row in rows:
        if known.get(row.event_id) != row.position:
            yield f"entry {row.position}: the index of event ids says otherwise"


def _missing_bodies(connection: Connection, rows: Sequence[StoredEntry]) -> Iterator[str]:
    """Name each body that an entry holds the digest of, and that is there though it was erased, or is not there."""
    held = [(row.position, name, digest) for row in rows for name, digest in _digests(row)]
    if not held:
        return
    span = (rows[0].position, rows[-1].position)
    there = _keys(connection, t.bodies, span)
    erased = _keys(connection, t.erasures, span)
    for position, name, digest in held:
        key = (position, digest)
        if key in there and key in erased:
            yield f"entry {position}: the body '{name}' is there, though decision {erased[key]} erased it"
        elif key not in there and key not in erased:
            yield f"entry {position}: the body '{name}' is missing, and no decision erased it"


def _digests(row: StoredEntry) -> Iterator[tuple[str, bytes]]:
    if b'"bodies":{' not in row.entry:
        return
    try:
        bodies: dict[str, Any] = orjson.loads(row.entry)["event"].get("bodies", {})
        yield from ((name, bytes.fromhex(ref["digest"])) for name, ref in bodies.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        # That the entry can't be read has been told.
        return


def _keys(connection: Connection, table: Table, span: tuple[int, int]) -> dict[tuple[int, bytes], int]:
    """Return by position and digest the bodies that a table has between two positions, each with its decision."""
    decided = table.c.decided_position if "decided_position" in table.c else table.c.position
    query = select(table.c.position, table.c.digest, decided.label("decided")).where(table.c.position.between(*span))
    return {(row.position, bytes(row.digest)): row.decided for row in connection.execute(query)}


def _decisions(connection: Connection) -> Iterator[str]:
    """Compare what follows from decisions with what the tables say."""
    driver = driver_on(connection)
    query = select(t.entries).where(t.entries.c.kind.in_(("decision", "access"))).order_by(t.entries.c.position)
    read = [_read(StoredEntry(*row))[0] for row in connection.execute(query)]
    entries = [entry for entry in read if entry is not None]
    if len(entries) < len(read):
        return  # What an unreadable one decided nobody knows; that it can't be read has been told.
    # Their runs are folded, and compared, with all else that is told of them.
    changes = Changes()
    for entry in entries:
        decide(changes, entry, driver.values)
    for table in t.DECISIONS:
        columns = [table.c[name] for name in COLUMNS[table.name]]
        standing = {tuple(_bound(value, driver) for value in row) for row in connection.execute(select(*columns)).all()}
        for row in standing ^ set(changes.inserts.get(table.name, [])):
            what = "stands there, and the log does not say so" if row in standing else "is not what the log says"
            yield f"{table.name}: a row {what}: {row[:2]}"


def _bound(value: Any, driver: Driver) -> Any:
    if isinstance(value, UUID):
        return driver.values.bind_id(value)
    return driver.values.bind_moment(value) if isinstance(value, datetime) else value


def _bodies(connection: Connection) -> Iterator[str]:
    columns = t.bodies.c
    after: tuple[int, bytes] = (0, b"")
    while True:
        query = (
            select(t.bodies)
            .where((columns.position > after[0]) | ((columns.position == after[0]) & (columns.digest > after[1])))
            .order_by(columns.position, columns.digest)
            .limit(CHUNK)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        for position, digest, salt, content in rows:
            if body_digest(bytes(salt), bytes(content)) != bytes(digest):
                yield f"entry {position}: a body is not the one whose digest the entry holds"
        after = (rows[-1].position, bytes(rows[-1].digest))


def _runs(connection: Connection, done: Callable[[int], None]) -> Iterator[str]:
    driver = driver_on(connection)
    after, number = 0, 0
    while True:
        query = select(t.runs.c.first_position, t.runs.c.run_id).where(t.runs.c.first_position > after)
        found = connection.execute(query.order_by(t.runs.c.first_position).limit(CHUNK)).all()
        if not found:
            break
        after, number = found[-1].first_position, number + len(found)
        yield from _compare(connection, driver, [row.run_id for row in found])
        done(number)
    told = connection.execute(select(func.count(t.entries.c.run_id.distinct()))).scalar_one()
    if told != number:
        yield f"runs: {number} rows, and the log tells of {told} runs"
    yield from find_foreign_rows(connection, t.run_teams)


def _compare(connection: Connection, driver: Driver, run_ids: list[Any]) -> Iterator[str]:
    """Compare the rows of some runs with what their entries mean, folded at once."""
    query = select(t.entries).where(t.entries.c.run_id.in_(run_ids)).order_by(t.entries.c.position)
    stored = [StoredEntry(*row) for row in connection.execute(query)]
    read = [(row.run_id, _read(row)[0]) for row in stored]
    # What an unreadable entry said of its run nobody knows; that it can't be read has been told.
    unreadable = {run_id for run_id, entry in read if entry is None}
    entries = [entry for run_id, entry in read if entry is not None and run_id not in unreadable]
    run_ids = [run_id for run_id in run_ids if run_id not in unreadable]
    changes = project(entries, driver, Found({}, [], []), received=())
    if any(NUL in row.entry for row in stored):
        changes.without_nul()
    for table in _OF_RUNS:
        expected = {*changes.inserts.get(table, []), *changes.inserts_once.get(table, [])}
        for row in set(driver.find_rows(table, run_ids)) ^ expected:
            what = "is not what the log says" if row in expected else "stands there, and the log does not say so"
            yield f"{table}: a row of run {_run_of(table, row, driver)} {what}"


def _run_of(table: str, row: Row, driver: Driver) -> Any:
    return driver.values.read_id(row[COLUMNS[table].index("run_id")])
