"""What the ledger costs: ingest beside it, verifying beside reading and hashing, a proof among ten million entries."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from math import ceil, log
from pathlib import Path
from random import Random

from sqlalchemy import insert, select

from benchmarks import postgresql
from benchmarks.environments import own_versions
from benchmarks.harness import Goal, Result, alternate, compare, judge
from benchmarks.workload import items
from runvis_core.ledger.stored_tiles import LedgerStep, tree_of
from runvis_core.ledger.tiles import WIDTH
from runvis_core.ledger.tree import full_subtree_root, prove_inclusion
from runvis_core.ledger.verification import LedgerCheck, fetch_entries
from runvis_core.services.ingest import ingest_items
from runvis_core.services.reading import reading
from runvis_core.store import tables as t
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.steps import catch_up, follow_steps, list_lags

ROUNDS = 5
BATCH = 500
SECONDS = float(os.environ.get("RUNVIS_BENCH_LEDGER_SECONDS", "20"))
"""How long one side of a round of the ingest goes on; a long run says more about the tree's lag."""
ENTRIES = 60_000
TILES = 39_062
PROOFS = 200

MAX_LAG_SECONDS = 2.0
MAX_PROOF_SECONDS = 0.020


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one, and proofs."""
    versions = own_versions("sqlalchemy", "psycopg", "cryptography")
    for name, stores in {"sqlite": _sqlite_stores, "postgresql": _postgresql_stores}.items():
        if part in ("", name):
            with stores() as make:
                yield from _measure_ingest(name, make, versions)
                yield from _measure_verify(name, make(), versions)
    if part in ("", "proof"):
        with _sqlite_stores() as make:
            yield from _measure_proofs(make(), versions)


Make = Callable[[], Store]


@contextmanager
def _sqlite_stores() -> Iterator[Make]:
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as folder, ExitStack() as stack:
        numbers = iter(range(100))
        yield lambda: stack.enter_context(closing(open_store(f"sqlite:///{Path(folder) / f'{next(numbers)}.db'}")))


@contextmanager
def _postgresql_stores() -> Iterator[Make]:
    with postgresql.server() as server, ExitStack() as stack:
        yield lambda: stack.enter_context(closing(open_store(stack.enter_context(server.database()))))


def _measure_ingest(name: str, make: Make, versions: dict[str, str]) -> Iterator[Result]:
    on, off = make(), make()
    lags: list[float] = []
    rounds = alternate(
        {"on": lambda: [_ingest_beside(on, lags)], "off": lambda: [_ingest(off, SECONDS)]}, rounds=ROUNDS
    )
    case = f"ledger {name}"
    yield compare(
        f"{case}: ingest with / without", rounds["on"], rounds["off"], unit="events/s", goal=Goal(">=", 0.85),
        versions=versions,
    )  # fmt: skip
    yield judge(f"{case}: the tree's largest lag / the limit", max(lags), MAX_LAG_SECONDS, unit="s", goal=Goal("<=", 1))


def _ingest(store: Store, seconds: float) -> float:
    prepared: list[Sequence[bytes]] = []
    done, spent = 0, 0.0
    while spent < seconds:
        # Made outside the time that is taken.
        prepared = [items(BATCH) for _ in range(10)]
        began = time.perf_counter()
        for batch in prepared:
            ingest_items(store, batch, principal="bench")
        spent += time.perf_counter() - began
        done += BATCH * len(prepared)
    return done / spent


def _ingest_beside(store: Store, lags: list[float]) -> float:
    """Ingest while the tree grows beside it, and note for how long it ever was behind an entry."""
    step, stop = LedgerStep(), threading.Event()
    growing = threading.Thread(target=follow_steps, args=(store, [step], stop))
    watching = threading.Thread(target=_watch, args=(store, step, stop, lags))
    growing.start()
    watching.start()
    try:
        return _ingest(store, SECONDS)
    finally:
        stop.set()
        growing.join()
        watching.join()
        catch_up(store, [step])


def _watch(store: Store, step: LedgerStep, stop: threading.Event, lags: list[float]) -> None:
    waiting: list[tuple[int, float]] = []
    while not stop.wait(0.1):
        with reading(store) as connection:
            [lag] = list_lags(connection, [step])
        now = time.perf_counter()
        waiting = [(position, since) for position, since in waiting if position > lag.position]
        waiting.append((lag.head, now))
        lags.append(now - waiting[0][1])


def _measure_verify(name: str, store: Store, versions: dict[str, str]) -> Iterator[Result]:
    began = time.perf_counter()
    spent = 0.0
    for _ in range(ENTRIES // BATCH):
        batch = items(BATCH)
        began = time.perf_counter()
        ingest_items(store, batch, principal="bench")
        spent += time.perf_counter() - began
    catch_up(store, [LedgerStep()])
    size = store.log.head().position
    rounds = alternate(
        {"verify": lambda: [_verify_rate(store, size)], "read": lambda: [_read_rate(store, size)]}, rounds=ROUNDS
    )
    case = f"ledger {name}"
    yield compare(
        f"{case}: verify / reading and SHA-256 alone", rounds["verify"], rounds["read"], unit="entries/s",
        goal=Goal(">=", 0.5), versions=versions,
    )  # fmt: skip
    yield judge(
        f"{case}: verify of projections / ingest", _check_rate(store, size), size / spent, unit="entries/s",
        goal=Goal(">=", 1), versions=versions,
    )  # fmt: skip


def _verify_rate(store: Store, size: int) -> float:
    began = time.perf_counter()
    with reading(store) as connection:
        found = list(LedgerCheck(connection, []).run(_say_nothing))
    _require(not found, found)
    return size / (time.perf_counter() - began)


def _read_rate(store: Store, size: int) -> float:
    began = time.perf_counter()
    with reading(store) as connection:
        for start in range(0, size, 16 * WIDTH):
            for _, _, entry in fetch_entries(connection, start, start + 16 * WIDTH):
                hashlib.sha256(entry).digest()
    return size / (time.perf_counter() - began)


def _check_rate(store: Store, size: int) -> float:
    began = time.perf_counter()
    found = check_store(store)
    _require(not found, found)
    return size / (time.perf_counter() - began)


def _measure_proofs(store: Store, versions: dict[str, str]) -> Iterator[Result]:
    """Prove entries of a log of ten million: its tiles are made of random hashes, and nothing else of it is there."""
    size = TILES * WIDTH
    _fill_tiles(store)
    chance = Random(7)
    spent: list[float] = []
    tiles: list[int] = []
    for _ in range(PROOFS):
        index = chance.randrange(size)
        began = time.perf_counter()
        with reading(store) as connection:
            tree = tree_of(connection, size)
            prove_inclusion(tree.get_node, index, size)
        spent.append(time.perf_counter() - began)
        tiles.append(tree.tiles_read)
    case = f"ledger: a proof among {size:,} entries"
    slowest = sorted(spent)[int(0.99 * PROOFS)]
    yield judge(
        f"{case}, 99th percentile / the limit", slowest * 1000, MAX_PROOF_SECONDS * 1000, unit="ms",
        goal=Goal("<=", 1), versions=versions,
    )  # fmt: skip
    # On the way up and on the right edge, one of each level.
    bound = 2 * ceil(log(size, WIDTH))
    yield judge(f"{case}, tiles read / 2 log n", max(tiles), bound, unit="tiles", goal=Goal("<=", 1))


def _fill_tiles(store: Store) -> None:
    level, hashes = 0, [os.urandom(32 * WIDTH) for _ in range(TILES)]
    while hashes:
        roots: list[bytes] = []
        with store.engine.begin() as connection:
            for number, tile in enumerate(hashes):
                roots.append(full_subtree_root([tile[start : start + 32] for start in range(0, len(tile), 32)]))
                row = {"level": level, "number": number, "root": roots[-1], "hashes": tile}
                connection.execute(insert(t.tiles), [row])
        full = len(roots) // WIDTH
        hashes = [b"".join(roots[number * WIDTH : (number + 1) * WIDTH]) for number in range(full)]
        level += 1
    with reading(store) as connection:
        _require(connection.execute(select(t.tiles.c.level).distinct()).all() != [], "no tiles were made")


def _say_nothing(_done: int, _total: int) -> None:
    pass


def _require(holds: bool, said: object) -> None:
    if not holds:
        raise RuntimeError(f"the measured log is not in order: {said}")
