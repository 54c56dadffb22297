"""Whether a store says what its log says, and its log what was hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, Table, func, select

from runvis_core.model.encoding import body_digest
from runvis_core.model.entry import Entry
from runvis_core.store import tables as t
from runvis_core.store.check_beside import RowsBesideRuns
from runvis_core.store.check_runs import RowsOfRuns, read_entry
from runvis_core.store.database import Store
from runvis_core.store.decisions import decide
from runvis_core.store.driver import Changes, Driver
from runvis_core.store.garbage import searched_rarely
from runvis_core.store.guards import changed_guards
from runvis_core.store.id_lists import id_list, is_among
from runvis_core.store.log import StoredEntry, driver_on
from runvis_core.store.roles import find_role_problems
from runvis_core.store.schema import missing_tables
from runvis_core.store.statements import COLUMNS

CHUNK: Final = 500
_IDS: Final = id_list("ids")
MAX_PROBLEMS: Final = 100
"""As many are told of one check: who needs more has a store to restore."""

Progress = Callable[[int, int], None]


@searched_rarely()
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
    total = head.position + connection.execute(select(func.count()).select_from(t.runs)).scalar_one()
    last: StoredEntry | None = None
    recorded_at: datetime | None = None
    beside, runs = RowsBesideRuns(connection), RowsOfRuns(connection)
    for rows in _entries(connection):
        read: list[Entry | None] = []
        for row in rows:
            expected = 1 if last is None else last.position + 1
            if row.position != expected:
                yield f"entry {row.position}: the position after {expected - 1} is missing"
            last = row
            entry, problem = read_entry(row)
            yield from problem
            if entry is not None:
                if recorded_at is not None and entry.recorded_at < recorded_at:
                    yield f"entry {row.position}: recorded before the one in front of it"
                recorded_at = entry.recorded_at
            read.append(entry)
        yield from _event_ids(connection, rows)
        yield from beside.check(rows, [entry for entry in read if entry is not None])
        yield from _missing_bodies(connection, rows)
        yield from runs.check(rows, read)
        progress(rows[-1].position + runs.compared, total)
    if head.position != (last.position if last else 0) or head.recorded_at != recorded_at:
        yield f"head: says position {head.position}, recorded at {head.recorded_at}, and the last entry says otherwise"
    known = connection.execute(select(func.count()).select_from(t.event_ids)).scalar_one()
    if known != head.position:
        yield f"event_ids: {known} ids for {head.position} entries"
    yield from beside.finish()
    yield from _bodies(connection)
    yield from _decisions(connection)
    yield from runs.finish(lambda compared: progress(head.position + compared, total))


def _entries(connection: Connection) -> Iterator[list[StoredEntry]]:
    after = 0
    while True:
        query = select(t.entries).where(t.entries.c.position > after).order_by(t.entries.c.position).limit(CHUNK)
        rows = [StoredEntry(*row) for row in connection.execute(query).all()]
        if not rows:
            return
        yield rows
        after = rows[-1].position


def _event_ids(connection: Connection, rows: Sequence[StoredEntry]) -> Iterator[str]:
    query = select(t.event_ids).where(is_among(t.event_ids.c.event_id, _IDS))
    found = connection.execute(query, {_IDS.key: [row.event_id for row in rows]}).all()
    known: dict[UUID, int] = {row.event_id: row.position for row in found}
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
    return {(row.position, bytes(row.digest)): row.decided for row in connection.execute(query).all()}


def _decisions(connection: Connection) -> Iterator[str]:
    """Compare what follows from decisions with what the tables say."""
    driver = driver_on(connection)
    query = select(t.entries).where(t.entries.c.kind.in_(("decision", "access"))).order_by(t.entries.c.position)
    read = [read_entry(StoredEntry(*row))[0] for row in connection.execute(query)]
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
