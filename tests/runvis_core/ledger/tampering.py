"""Ways to bend a store behind its back: guards are lifted, something is changed, and the guards stand again as shipped.

What is found then is found by what the store holds, and not by a guard that is missing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Column, Connection, Table, delete, func, insert, select, text, update

from runvis_core.model.encoding import leaf_hash
from runvis_core.store import tables as t
from runvis_core.store.database import Store

NOT_TESTIFIED = {
    # No signature says when a checkpoint was made: who needs that asks a witness, whose signature has its time.
    ("checkpoints", "made_at"),
    ("declarations", "made_at"),
    # They tell when reports came, also those that left no entry.
    ("producers", "gaps"),
    ("producers", "last_heard_at"),
    # How far a step came: one that is set back is checked up to there, and takes the rest again.
    ("steps", "position"),
    ("steps", "name"),
}
"""Columns that nothing testifies to."""
NOT_REMOVED = {t.cosignatures.name}
"""Rows of which nothing here tells that they were there: a witness signs of its own accord and keeps what it signed."""
NOT_ADDED = {t.producers.name}
"""Rows that the log needs not know of: a process of which all was told by others before leaves no entry."""
UNCHECKED = (t.steps, *(table for table in t.STEP_TABLES if table.name.startswith("lineage_")))
"""How far the steps came, which is no claim about the log; and lineage, of which its own tests tell."""
KEPT = {table.name for table in (*t.KEPT, *UNCHECKED)}
"""Tables that are not of the log nor, as far as these tests check them, derived from it."""


class Tampering(NamedTuple):
    """What was done, and words of which one must stand in what is found."""

    name: str
    named_by: list[str]


@contextmanager
def unguarded(store: Store) -> Iterator[Connection]:
    """A transaction in which nothing is refused, and after which all guards stand."""
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    with store.engine.connect().execution_options(**options) as connection, connection.begin():
        if connection.dialect.name == "sqlite":
            triggers = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
            for name, _ in triggers:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            yield connection
            for _, sql in triggers:
                connection.exec_driver_sql(sql)
            return
        triggers = connection.execute(
            text(
                "SELECT c.relname, g.tgname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid"
                " WHERE NOT g.tgisinternal"
            )
        ).all()
        for table, trigger in triggers:
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        yield connection
        for table, trigger in triggers:
            connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def tampered_columns() -> list[tuple[str, str]]:
    """Every column of every table of the log, the ledger, and what is derived from the log with the log itself."""
    return [
        (table.name, column.name)
        for table in t.metadata.sorted_tables
        if table.name not in KEPT
        for column in table.columns
        if (table.name, column.name) not in NOT_TESTIFIED
    ]


def alter(store: Store, chance: random.Random, table_name: str, column_name: str) -> Tampering:
    """Give one column of one row another value."""
    table = t.metadata.tables[table_name]
    with unguarded(store) as connection:
        row, where = _choose(connection, chance, table)
        column = table.c[column_name]
        another = _fresh_key(connection, chance, column, row[column_name]) if column.primary_key else None
        value = another if another not in (None, row[column_name]) else _another(chance, column, row[column_name])
        connection.execute(update(table).where(*where).values({column_name: value}))
    return Tampering(
        f"alter {table_name}.{column_name} of {_key(table, row)}", _names_of(table, row, {column_name: value})
    )


def remove(store: Store, chance: random.Random, table_name: str) -> Tampering:
    """Take one row away."""
    table = t.metadata.tables[table_name]
    with unguarded(store) as connection:
        row, where = _choose(connection, chance, table)
        connection.execute(delete(table).where(*where))
    return Tampering(f"remove {table_name} {_key(table, row)}", _names_of(table, row, {}))


def add(store: Store, chance: random.Random, table_name: str) -> Tampering:
    """Put in a copy of a row under a key of its own."""
    table = t.metadata.tables[table_name]
    with unguarded(store) as connection:
        row, _ = _choose(connection, chance, table)
        fresh = dict(row)
        for column in table.primary_key:
            fresh[column.name] = _fresh_key(connection, chance, column, row[column.name])
        for column in table.columns:
            if column.unique:
                fresh[column.name] = _another(chance, column, row[column.name])
        connection.execute(insert(table).values(fresh))
    return Tampering(f"add {table_name} {_key(table, fresh)}", _names_of(table, fresh, {}))


def rewrite_entry(store: Store, chance: random.Random) -> Tampering:
    """Give an entry other bytes, and its hash with them."""
    with unguarded(store) as connection:
        position, entry = _choose_entry(connection, chance)
        changed = _bend(chance, entry)
        values = {"entry": changed, "leaf_hash": leaf_hash(changed)}
        connection.execute(update(t.entries).where(t.entries.c.position == position).values(values))
    return Tampering(f"rewrite entry {position} with its hash", [f"entry {position}:", f"entry {position} "])


def swap_entries(store: Store, chance: random.Random) -> Tampering:
    """Let two entries change places, with all that stands in their rows."""
    with unguarded(store) as connection:
        size = _size(connection)
        one, two = sorted(chance.sample(range(1, size + 1), 2))
        for before, after in ((one, size + 10), (two, one), (size + 10, two)):
            connection.execute(update(t.entries).where(t.entries.c.position == before).values(position=after))
        for position in (one, two):
            event_id = connection.execute(
                select(t.entries.c.event_id).where(t.entries.c.position == position)
            ).scalar_one()
            connection.execute(update(t.event_ids).where(t.event_ids.c.event_id == event_id).values(position=position))
    return Tampering(f"swap entries {one} and {two}", [f"entry {one}: moved: the tree has it at {two}"])


def cut_entry_out(store: Store, chance: random.Random) -> Tampering:
    """Take an entry out and close the gap: all after it move up, and the head with them."""
    with unguarded(store) as connection:
        size = _size(connection)
        position = chance.randint(1, size - 1)
        gone = connection.execute(select(t.entries.c.event_id).where(t.entries.c.position == position)).scalar_one()
        connection.execute(delete(t.entries).where(t.entries.c.position == position))
        connection.execute(delete(t.event_ids).where(t.event_ids.c.event_id == gone))
        for table in (t.entries, t.event_ids):
            for after in range(position + 1, size + 1):
                connection.execute(update(table).where(table.c.position == after).values(position=after - 1))
        connection.execute(update(t.head).values(position=size - 1))
    return Tampering(f"cut out entry {position} of {size}", [f"entry {position}: removed"])


def push_entry_in(store: Store, chance: random.Random) -> Tampering:
    """Put an entry in between, with its hash and its event id, and move the others on."""
    with unguarded(store) as connection:
        size = _size(connection)
        position = chance.randint(1, size)
        for table in (t.entries, t.event_ids):
            for after in range(size, position - 1, -1):
                connection.execute(update(table).where(table.c.position == after).values(position=after + 1))
        row = dict(connection.execute(select(t.entries).where(t.entries.c.position == position + 1)).mappings().one())
        event_id = uuid4()
        entry = bytes(row["entry"]).replace(str(row["event_id"]).encode(), str(event_id).encode())
        row |= {"position": position, "event_id": event_id, "entry": entry, "leaf_hash": leaf_hash(entry)}
        connection.execute(insert(t.entries).values(row))
        connection.execute(insert(t.event_ids).values(event_id=event_id, position=position))
        connection.execute(update(t.head).values(position=size + 1))
    return Tampering(f"push in entry {position} of {size}", [f"entry {position}: added"])


def cut_end_off(store: Store, chance: random.Random) -> Tampering:
    """Take the last entries away and set the head back, and let the checkpoints stay."""
    with unguarded(store) as connection:
        size = _size(connection)
        last = size - chance.randint(1, 20)
        moment = connection.execute(select(t.entries.c.entry).where(t.entries.c.position == last)).scalar_one()
        found = re.search(rb'"recorded_at":"([^"]+)"', bytes(moment))
        assert found is not None
        for table in (t.entries, t.event_ids, t.bodies):
            connection.execute(delete(table).where(table.c.position > last))
        recorded_at = datetime.fromisoformat(found[1].decode())
        connection.execute(update(t.head).values(position=last, recorded_at=recorded_at))
    gone = f"entry {size}: removed" if last == size - 1 else f"entries {last + 1} to {size}: removed"
    return Tampering(f"cut the log of {size} off after {last}", [gone])


WAYS: dict[str, Callable[[Store, random.Random], Tampering]] = {
    "rewrite": rewrite_entry,
    "swap": swap_entries,
    "cut out": cut_entry_out,
    "push in": push_entry_in,
    "cut off": cut_end_off,
}


def tamper(store: Store, seed: int) -> Tampering:
    """Bend a store in one way, which follows from the seed: each column in turn, then everything else by chance."""
    chance = random.Random(seed)
    columns = tampered_columns()
    place = seed % (len(columns) + 60)
    if place < len(columns):
        return alter(store, chance, *columns[place])
    way = chance.choice([*WAYS, "remove", "remove", "add", "add"])
    if way in WAYS:
        return WAYS[way](store, chance)
    kept = {"head", *(NOT_REMOVED if way == "remove" else NOT_ADDED)}
    table = chance.choice(sorted({table for table, _ in columns} - kept))
    return (remove if way == "remove" else add)(store, chance, table)


def _size(connection: Connection) -> int:
    return connection.execute(select(t.head.c.position)).scalar_one()


def _choose_entry(connection: Connection, chance: random.Random) -> tuple[int, bytes]:
    position = chance.randint(1, _size(connection))
    query = select(t.entries.c.entry).where(t.entries.c.position == position)
    return position, bytes(connection.execute(query).scalar_one())


def _choose(connection: Connection, chance: random.Random, table: Table) -> tuple[dict[str, Any], list[Any]]:
    number = connection.execute(select(func.count()).select_from(table)).scalar_one()
    assert number, f"{table.name} has no row to bend"
    key = list(table.primary_key)
    query = select(table).order_by(*key).offset(chance.randrange(number)).limit(1)
    row = dict(connection.execute(query).mappings().one())
    return row, [column == row[column.name] for column in key]


def _key(table: Table, row: dict[str, Any]) -> str:
    return ", ".join(_shown(row[column.name]) for column in table.primary_key)


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _names_of(table: Table, row: dict[str, Any], changed: dict[str, Any]) -> list[str]:
    """Words by which a finding may name a row: before it was changed, and after."""
    rows = [row, {**row, **changed}]
    if table is t.head:
        return ["head:", "event_ids:"]
    if table is t.tiles:
        return [f"tile/{one['level']}/{one['number']:03}" for one in rows] + [
            f"tile {one['number']} of" for one in rows
        ]
    if table in (t.checkpoints, t.declarations):
        what = table.name.removesuffix("s")
        if table is t.declarations:
            near = [f"{what} {one['number'] + step}:" for one in rows for step in (-1, 0, 1)]
            return [*near, "that no declaration here introduces"]
        return [f"{what} {one['number']}:" for one in rows] + [f"{what} {row['number'] + step}:" for step in (-1, 1)]
    if table is t.cosignatures:
        return [f"cosignature of {one['name']} on checkpoint {one['number']}" for one in rows]
    names = [_shown(one[column]) for one in rows for column in ("run_id", "correction_id") if one.get(column)]
    if table is t.event_ids:
        return [f"entry {one['position']}:" for one in rows] + ["event_ids:"]
    if table in (t.entries, t.bodies):
        return [f"entry {one['position']}:" for one in rows]
    if table is t.runs:
        names += ["runs:"]
    return [*(name for name in names), *([] if names else [f"{table.name}: the row", f"{table.name}: a row"])]


def _bend(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _fresh_key(connection: Connection, chance: random.Random, column: Column[Any], value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return connection.execute(select(func.max(column))).scalar_one() + chance.randint(1, 3)
    if isinstance(value, datetime):
        # The story's moments are whole seconds: no other row has this one.
        return value + timedelta(microseconds=chance.randint(1, 999))
    # A run that exists, unless its id is the whole key.
    is_shared = column.name == "run_id" and len(column.table.primary_key) > 1
    return value if is_shared else _another(chance, column, value)


def _another(chance: random.Random, column: Column[Any], value: Any) -> Any:
    """Return a value of the column's kind that is not the one that it has."""
    if column.name == "received":
        # That more came than came can't be refuted by the log; that less did, can.
        return "[]"
    if value is None:
        kind = column.type.__class__.__name__
        return {"Moment": datetime(2026, 11, 24, tzinfo=UTC), "Id": uuid4()}.get(kind) or _SAMPLES[
            column.type.python_type
        ]
    return next(change(chance, value) for kind, change in _CHANGES.items() if isinstance(value, kind))


_SAMPLES: dict[type, Any] = {int: 7, bool: True, float: 1.5, str: "x", bytes: b"x"}
_CHANGES: dict[type, Callable[[random.Random, Any], Any]] = {
    bool: lambda _, value: not value,
    int: lambda chance, value: value + chance.choice([-1, 1, 1000]),
    float: lambda _, value: value + 1.5,
    bytes: lambda chance, value: _bend(chance, value) if value else b"\1" * 32,
    UUID: lambda _chance, _value: uuid4(),
    datetime: lambda chance, value: value + timedelta(seconds=chance.choice([-1, 1, 86_400])),
    str: lambda _, value: f"{value[:-1]}{chr(ord(value[-1]) ^ 1)}" if value else "x",
}
"""How a value of each kind becomes another one; a bool comes before the int that it is, too."""
