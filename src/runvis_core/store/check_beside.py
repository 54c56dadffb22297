"""Whether the rows that belong to no run say what the log says: definitions, declarations, bodies, producers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, select

from runvis_core.model.encoding import encode
from runvis_core.model.entry import Entry
from runvis_core.model.event import EventBase, ProducerClosedEvent, ProducerOpenedEvent
from runvis_core.store import tables as t
from runvis_core.store.driver import Row
from runvis_core.store.log import NUL, StoredEntry, driver_on
from runvis_core.store.producers import add_numbers
from runvis_core.store.projection import project_beside
from runvis_core.store.statements import COLUMNS, key_of

_OTHERS: Final = (t.producers, *t.DECISIONS, *t.STEP_TABLES)
TABLES: Final = tuple(table for table in t.PROJECTIONS if "run_id" not in table.c and table not in _OTHERS)


class RowsBesideRuns:
    """Goes through the log with `check`, chunk by chunk, then looks at what is left with `finish`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._values = driver_on(connection).values
        self._once: dict[str, dict[Row, Row]] = {}
        """Rows of the tables that hold only the first of several, by table and key."""
        self._last = 0
        self._heard: set[UUID] = set()

    def check(self, rows: Sequence[StoredEntry], entries: Sequence[Entry]) -> Iterator[str]:
        """Yield what is wrong beside these entries: all that stand in the log, and those of them that can be read."""
        changes = project_beside(entries, self._values)
        if any(NUL in row.entry for row in rows):
            changes.without_nul()
        for table, once in changes.inserts_once.items():
            key = [COLUMNS[table].index(name) for name in key_of(t.metadata.tables[table])]
            known = self._once.setdefault(table, {})
            for row in once:
                known.setdefault(tuple(row[place] for place in key), row)
        first, self._last = rows[0].position, rows[-1].position
        for table in TABLES:
            if "position" in table.c and table.name not in self._once:
                yield from self._compare(table.name, changes.inserts.get(table.name, ()), first, self._last)
        yield from self._find_added_bodies(entries, first, self._last)
        yield from self._check_producers(entries)

    def finish(self) -> Iterator[str]:
        """Yield what is wrong with the rows that stand for the first of several, and what comes after the log's end."""
        for table in TABLES:
            if table.name in self._once or "position" not in table.c:
                yield from self._compare(table.name, self._once.get(table.name, {}).values(), None, None)
            else:
                yield from self._compare(table.name, (), self._last + 1, None)

    def _compare(self, table: str, expected: Iterable[Row], first: int | None, last: int | None) -> Iterator[str]:
        standing = set(self._read(table, first, last))
        wanted = set(expected)
        for row in standing ^ wanted:
            what = "is not what the log says" if row in wanted else "stands there, and the log does not say so"
            named = ", ".join(f"{name} {self._shown(table, name, row)}" for name in key_of(t.metadata.tables[table]))
            yield f"{table}: the row {named} {what}"

    def _shown(self, table: str, name: str, row: Row) -> Any:
        value = row[COLUMNS[table].index(name)]
        return UUID(bytes=value) if isinstance(value, bytes) and len(value) == 16 else value

    def _read(self, table: str, first: int | None, last: int | None) -> list[Row]:
        raw: Any = self._connection.connection.driver_connection
        bounds = [f"position >= {first}"] if first is not None else []
        bounds += [f"position <= {last}"] if last is not None else []
        where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
        query = f"SELECT {', '.join(COLUMNS[table])} FROM {table}{where}"  # noqa: S608 - our own names, and numbers
        return raw.execute(query).fetchall()

    def _find_added_bodies(self, entries: Sequence[Entry], first: int, last: int) -> Iterator[str]:
        columns = t.bodies.c
        query = select(columns.position, columns.digest).where(columns.position >= first, columns.position <= last)
        standing = {(row.position, bytes(row.digest)) for row in self._connection.execute(query).all()}
        wanted = {
            (entry.position, bytes.fromhex(ref.digest)) for entry in entries for ref in entry.event.bodies.values()
        }
        read = {entry.position for entry in entries}
        for position, digest in sorted(standing - wanted):
            if position in read:
                yield f"entry {position}: the body {digest.hex()[:12]} was added: the entry holds no such digest"

    def _check_producers(self, entries: Sequence[Entry]) -> Iterator[str]:
        told: dict[UUID, list[EventBase]] = {}
        for entry in entries:
            if entry.event.producer is not None:
                told.setdefault(entry.event.producer, []).append(entry.event)
        if not told:
            return
        query = select(t.producers).where(t.producers.c.producer.in_(list(told)))
        rows = {row.producer: row for row in self._connection.execute(query)}
        for producer, events in told.items():
            wrong = ["it is missing"] if producer not in rows else list(_wrong_of(rows[producer], events))
            if producer in rows and producer not in self._heard:
                wrong += _misnamed(rows[producer], events[0])
            self._heard.add(producer)
            yield from (f"producers: the row of {producer}: {what}" for what in wrong)


def _wrong_of(row: Any, events: Iterable[EventBase]) -> Iterator[str]:
    numbers: list[int] = []
    for event in events:
        if event.sequence is not None:
            numbers.append(event.sequence)
        said: dict[str, Any] = {}
        if isinstance(event, ProducerOpenedEvent):
            said = {name: _stored(getattr(event, name)) for name in ("component", "host", "pid")}
            said |= {"versions": _stored(encode(event.versions).decode()), "opened_at": event.occurred_at}
        elif isinstance(event, ProducerClosedEvent):
            said = {"closed_at": event.occurred_at, "closed_sequence": event.sequence, "refused": event.refused}
        yield from (
            f"its {name} is not what the log says" for name, value in said.items() if getattr(row, name) != value
        )
    try:
        received = orjson.loads(row.received)
        lacks = add_numbers(received, numbers) != received
    except (ValueError, TypeError, IndexError):
        lacks = True
    if lacks:
        yield "its received lacks numbers that came"


def _misnamed(row: Any, first: EventBase) -> list[str]:
    said = {"engine": first.engine, "deployment": first.deployment, "witness": first.witness.value}
    return [f"its {name} is not what the log says" for name, value in said.items() if getattr(row, name) != value]


def _stored(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
