"""Events a second into the store, all guards and projections on, beside the raw limit and beside Dagster's event log.

The raw limit is measured in the same process on the same database server; Dagster in a process of its own, because it
needs another SQLAlchemy. Every store is opened once and grows from round to round, its peers' as well.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks import postgresql
from benchmarks.environments import Peer, own_versions, python_of, with_peer
from benchmarks.harness import Goal, Result, Side, alternate, compare
from benchmarks.posting import Poster, serving
from benchmarks.raw import PostgresqlLog, RawLog, SqliteLog, rows
from benchmarks.workload import context, items
from runvis_core.services.ingest import ingest_items
from runvis_core.store.database import Store, open_store

ROUNDS = 5
BATCH, BATCHES = 1000, 5
POSTED, POSTS = 100, 40
ONES = 300
DAGSTER_LIVES = 10

PRINCIPAL = "bench"

T = TypeVar("T")


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one."""
    for name, databases in DATABASES.items():
        if part in ("", name):
            with databases() as (make, versions):
                yield from _measure_database(name, make, versions)


Make = Callable[[], str]
"""Makes an empty database and returns its address."""


@contextmanager
def _sqlite_files() -> Iterator[tuple[Make, dict[str, str]]]:
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as folder:
        numbers = iter(range(100))
        yield lambda: f"sqlite:///{Path(folder) / f'{next(numbers)}.db'}", {"sqlite": sqlite3.sqlite_version}


@contextmanager
def _postgresql_databases() -> Iterator[tuple[Make, dict[str, str]]]:
    with postgresql.server() as server, ExitStack() as stack:
        yield lambda: stack.enter_context(server.database()), {"postgresql": server.version()}


DATABASES = {"sqlite": _sqlite_files, "postgresql": _postgresql_databases}


def _measure_database(name: str, make: Make, versions: dict[str, str]) -> Iterator[Result]:
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(make())))
        raw: RawLog = stack.enter_context(closing(SqliteLog(make()) if name == "sqlite" else PostgresqlLog(make())))
        poster = stack.enter_context(serving(make()))
        address = "sqlite" if name == "sqlite" else make()
        dagster = stack.enter_context(Peer("dagster_log.py", address, python=python_of("dagster")))
        versions |= own_versions("sqlalchemy", "psycopg", "pydantic", "orjson")
        yield from _measure_batches(name, store, raw, poster, dagster, versions)
        yield from _measure_ones(name, store, raw, dagster, versions)


def _measure_batches(
    name: str, store: Store, raw: RawLog, poster: Poster, dagster: Peer, versions: dict[str, str]
) -> Iterator[Result]:
    # What Dagster writes in one call: on SQLite a run's entries, on PostgreSQL materializations only.
    way, lives = ("batch", DAGSTER_LIVES) if name == "sqlite" else ("materializations", 2)
    contexts = [context(number) for number in range(lives)]
    sides: dict[str, Side] = {
        "ours": lambda: [_rate(items(BATCH * BATCHES), BATCH, lambda batch: _ingest(store, batch))],
        "raw": lambda: [_rate(rows(items(BATCH * BATCHES)), BATCH, raw.append)],
        "http": lambda: [poster.rate(_batches(items(POSTED * POSTS), POSTED))],
        "dagster": lambda: dagster.figures(way=way, contexts=contexts),
    }
    rounds = alternate(sides, rounds=ROUNDS)
    case = f"ingest {name}"
    yield _rates(f"{case}: batches of {BATCH} / raw", rounds["ours"], rounds["raw"], versions, Goal(">=", 0.5))
    yield _rates(f"{case}: HTTP batches of {POSTED} / raw", rounds["http"], rounds["raw"], versions, Goal(">=", 0.25))
    goal = Goal(">=", 20) if way == "batch" else None
    beside = with_peer(versions, dagster)
    yield _rates(f"{case}: batches of {BATCH} / Dagster's {way}", rounds["ours"], rounds["dagster"], beside, goal)


def _measure_ones(name: str, store: Store, raw: RawLog, dagster: Peer, versions: dict[str, str]) -> Iterator[Result]:
    contexts = [context(number) for number in range(DAGSTER_LIVES)]
    sides: dict[str, Side] = {
        "ours": lambda: [_rate(items(ONES), 1, lambda batch: _ingest(store, batch))],
        "raw": lambda: [_rate(rows(items(ONES)), 1, lambda batch: raw.append_one(batch[0]))],
        "dagster": lambda: dagster.figures(way="one_by_one", contexts=contexts),
    }
    rounds = alternate(sides, rounds=ROUNDS)
    case = f"ingest {name}: one by one"
    yield _rates(f"{case} / raw", rounds["ours"], rounds["raw"], versions, Goal(">=", 0.5))
    yield _rates(f"{case} / Dagster", rounds["ours"], rounds["dagster"], with_peer(versions, dagster), Goal(">=", 5))


def _rates(
    case: str,
    ours: Sequence[Sequence[float]],
    beside: Sequence[Sequence[float]],
    versions: dict[str, str],
    goal: Goal | None,
) -> Result:
    return compare(case, ours, beside, unit="events/s", goal=goal, versions=versions)


def _batches(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[begin : begin + size] for begin in range(0, len(things), size)]


def _rate(things: Sequence[T], size: int, write: Callable[[Sequence[T]], None]) -> float:
    """Return how many things are written a second, `size` at a time."""
    batches = _batches(things, size)
    began = time.perf_counter()
    for batch in batches:
        write(batch)
    return len(things) / (time.perf_counter() - began)


def _ingest(store: Store, batch: Sequence[bytes]) -> None:
    outcomes = ingest_items(store, batch, principal=PRINCIPAL)
    stored = sum(outcome.status == "stored" for outcome in outcomes)
    if stored != len(batch):
        raise RuntimeError(f"{len(batch) - stored} of {len(batch)} events were not stored: {outcomes[:3]}")
