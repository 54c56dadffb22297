"""The Prefect follower at 500 state changes a second: how soon each is in the store, and whether it grows.

The server is one that answers like Prefect's, since Prefect's own makes fewer on a small machine; the follower is the
real command in a process of its own, with a SQLite store.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from tests.runvis_prefect.fake_prefect import FakePrefect

from benchmarks.environments import end_group, own_versions
from benchmarks.figures import p95
from benchmarks.harness import Goal, Result, judge
from benchmarks.workload import DEPLOYMENT
from runvis_core.store.database import Store, open_store

RATE = 500
SECONDS = 60
WAIT_SECONDS = 120
"""How long after the last change the rest may take to arrive."""
TASKS = 10
GROWN_FROM, GROWN_TO = 50_000, 150_000
"""Between these numbers of events memory is compared: before, caches of fixed size fill."""


def measure(part: str = "") -> Iterator[Result]:
    """Measure latency and memory, or the named one."""
    if part in ("", "latency"):
        yield from _measure_latency()
    if part in ("", "memory"):
        yield from _measure_memory()


class _Following:
    """The follower's process, its store, and the server that it follows."""

    def __init__(self, stack: ExitStack, *, interval_seconds: int) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runvis-bench-")))
        self.prefect = stack.enter_context(FakePrefect(now=datetime.now(UTC)))
        self.store: Store = stack.enter_context(closing(open_store(f"sqlite:///{folder / 'runvis.db'}")))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNVIS")}
        settings = {
            "RUNVIS_URL": f"sqlite:///{folder / 'runvis.db'}",
            "RUNVIS_DEPLOYMENT": DEPLOYMENT,
            "RUNVIS__PREFECT__INTERVAL_SECONDS": str(interval_seconds),
        }
        command = [str(Path(sys.executable).parent / "runvis"), "follow", "prefect", self.prefect.url]
        self.process = subprocess.Popen(command, env=inherited | settings, start_new_session=True)
        stack.callback(end_group, self.process)
        _until("the follower's subscription", lambda: self.prefect.connections > 0)

    def change(self, count: int, *, rate: float) -> dict[UUID, datetime]:
        """Let runs change their state so many times, at so many a second; return each change's id and moment."""
        made: dict[UUID, datetime] = {}
        begun = time.perf_counter()
        for change in self._changes():
            wait = begun + len(made) / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            self.prefect.now = datetime.now(UTC)
            made[UUID(self.prefect.enter(*change))] = self.prefect.now
            if len(made) == count:
                break
        return made

    def _changes(self) -> Iterator[tuple[str, str]]:
        while True:
            flow_run = self.prefect.start_flow_run()
            yield from ((flow_run, kind) for kind in ("PENDING", "RUNNING"))
            for _ in range(TASKS):
                task = self.prefect.start_task_run(flow_run)
                yield from ((task, kind) for kind in ("PENDING", "RUNNING", "COMPLETED"))
            yield flow_run, "COMPLETED"

    def recorded(self, made: dict[UUID, datetime]) -> dict[UUID, datetime]:
        """Return when each change was recorded, once all are; those that are not in time are left out."""
        found: dict[UUID, datetime] = {}
        after, deadline = 0, time.monotonic() + WAIT_SECONDS
        while len(found) < len(made) and time.monotonic() < deadline:
            for stored in self.store.log.read(after=after):
                after = stored.position
                if stored.event_id in made:
                    found[stored.event_id] = stored.parse().recorded_at
            time.sleep(0.2)
        return found

    def resident_bytes(self) -> int:
        """Return how much memory the follower's process has."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _measure_latency() -> Iterator[Result]:
    with ExitStack() as stack:
        following = _Following(stack, interval_seconds=30)
        made = following.change(RATE * SECONDS, rate=RATE)
        recorded = following.recorded(made)
    versions = own_versions("websockets", "httpx", "pydantic")
    case = f"Prefect follower at {RATE}/s for {SECONDS} s"
    yield judge(f"{case}: changes in the store / made", len(recorded), len(made), unit="events", goal=Goal(">=", 1))
    delays = [(moment - made[change]).total_seconds() * 1000 for change, moment in recorded.items()]
    yield judge(
        f"{case}: p95 until a change is in the store / 1 s",
        p95(delays),
        1000.0,
        unit="ms",
        goal=Goal("<=", 1),
        versions=versions,
    )


def _measure_memory() -> Iterator[Result]:
    with ExitStack() as stack:
        # Without sweeps in between: the server of the tests sorts all its events for each page.
        following = _Following(stack, interval_seconds=3600)
        _arrive(following, GROWN_FROM)
        before = following.resident_bytes()
        _arrive(following, GROWN_TO - GROWN_FROM)
        after = following.resident_bytes()
    case = f"Prefect follower's memory after {GROWN_TO:,} events / after {GROWN_FROM:,}"
    yield judge(case, after / 1e6, before / 1e6, unit="MB", goal=Goal("<=", 1.1), versions=own_versions("websockets"))


def _arrive(following: _Following, count: int) -> None:
    made = following.change(count, rate=RATE)
    if len(recorded := following.recorded(made)) < count:
        raise RuntimeError(f"{count - len(recorded)} of {count} changes did not arrive")


def _until(what: str, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not check():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {WAIT_SECONDS} s for {what}")
        time.sleep(0.05)
