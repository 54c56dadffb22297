"""Stores of a hundred thousand and a million runs, made in minutes: `python -m benchmarks.big_store RUNS ADDRESS`.

Entries, bodies and rows come from the functions that every append uses, and the projections beside the log from their
own steps. What is left out is what a history that is known to be new can do without: looking up what was known before,
and a durable transaction for each delivery.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, insert

from benchmarks.history import History
from runvis_core.model.encoding import SealedEvent
from runvis_core.services.steps import STEPS
from runvis_core.store import tables as t
from runvis_core.store.batch import sort_batch
from runvis_core.store.database import Store, open_store
from runvis_core.store.driver import Found, Head
from runvis_core.store.liveness import record_beats
from runvis_core.store.log import StoredEntry, driver_on
from runvis_core.store.projection import project

BATCH: Final = 20_000
"""Entries in one transaction, or a few more: a family is never divided."""
PRINCIPAL: Final = "bench"
BEAT_SECONDS: Final = 30.0
_NOTHING: Final = Found({}, [], [])


def fill_store(store: Store, history: History, *, batch: int = BATCH) -> None:
    """Write a history into an empty store, with all projections at the log's head."""
    is_sqlite = store.engine.dialect.name == "sqlite"
    # One connection, whose loss of what was written would only mean to begin again.
    with store.engine.connect() as connection:
        _hurry(connection, is_sqlite)
        head = 0
        for events in batches(history, batch):
            with connection.begin():
                head = _append(connection, events, head)
        with connection.begin():
            connection.execute(insert(t.steps), [{"name": step.name, "position": head} for step in STEPS])
        _settle(connection, is_sqlite)
        # It must not go back into the pool as it is.
        connection.invalidate()
    beats: dict[UUID, float] = dict.fromkeys(history.live, BEAT_SECONDS)
    record_beats(store.engine, beats, history.until)


def batches(history: History, size: int) -> Iterator[list[SealedEvent]]:
    """Yield a history in portions of whole families, each in the order of time."""
    waiting: list[SealedEvent] = []
    for family in history.families():
        waiting += family
        if len(waiting) >= size:
            yield _in_time(waiting)
            waiting = []
    if waiting:
        yield _in_time(waiting)


def recorded_at(events: Sequence[SealedEvent]) -> datetime:
    """Return when a portion is recorded: as its last event occurs."""
    return events[-1].event.occurred_at


def _in_time(events: list[SealedEvent]) -> list[SealedEvent]:
    return sorted(events, key=lambda sealed: sealed.event.occurred_at)


def _append(connection: Connection, events: list[SealedEvent], head: int) -> int:
    """Append a portion that is known to be new, bring the steps there, and return the new head."""
    driver = driver_on(connection)
    moment = recorded_at(events)
    if head:
        moment = max(moment, connection.execute(t.head.select()).one().recorded_at)
    portion = sort_batch(events, driver, _NOTHING, principal=PRINCIPAL)
    entries, _, (rows, bodies) = portion.record(head, moment, driver.values)
    changes = project(entries, driver, _NOTHING, received=[sealed.event for sealed in events], now=moment)
    changes.entries, changes.bodies = rows, bodies
    changes.head = Head(entries[-1].position, moment)
    driver.write(changes)
    stored = [_stored(entry.event, row) for entry, row in zip(entries, rows, strict=True)]
    for step in STEPS:
        step.take(connection, stored)
    return changes.head.position


def _stored(event: Any, row: tuple[Any, ...]) -> StoredEntry:
    position, _, _, kind, witness, leaf_hash, entry = row
    return StoredEntry(position, event.event_id, getattr(event, "run_id", None), kind, witness, leaf_hash, entry)


def _hurry(connection: Connection, is_sqlite: bool) -> None:
    if not is_sqlite:
        connection.exec_driver_sql("SET synchronous_commit = off")
        connection.commit()
        return
    raw: Any = connection.connection.driver_connection
    for setting in ("synchronous = OFF", "secure_delete = OFF", "cache_size = -1000000", "wal_autocheckpoint = 100000"):
        raw.execute(f"PRAGMA {setting}")


def _settle(connection: Connection, is_sqlite: bool) -> None:
    """Leave what a server that has run for a while leaves: a short write-ahead log, and statistics."""
    if is_sqlite:
        raw: Any = connection.connection.driver_connection
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        raw = connection.connection.driver_connection
        raw.rollback()
        raw.autocommit = True
        raw.execute("VACUUM ANALYZE")


def main(runs: str, url: str) -> None:
    """Make a store of so many runs at an address."""
    with closing(open_store(url)) as store:
        fill_store(store, History(int(runs), until=store.clock().replace(minute=0, second=0, microsecond=0)))


if __name__ == "__main__":
    main(*sys.argv[1:])
