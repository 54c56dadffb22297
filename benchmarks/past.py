"""A list of runs as of a moment, and as known at a position, beside the list of now: what two times cost who asks.

The store holds histories that are spread over hours, so that the moment in the middle has as many runs after it as
before; the projection that finds the past is at the log's head, as a server keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from benchmarks.environments import own_versions
from benchmarks.harness import Goal, Result, Side, alternate, compare
from benchmarks.ingest import DATABASES
from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import ContextEvent, DatasetEvent, EventBase, IdentityEvent, MetricEvent, StateEvent
from runvis_core.model.identity import run_id
from runvis_core.model.state import State, Witness
from runvis_core.services.asking import list_runs_at
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import ingest_items
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.store.database import Store, open_store
from runvis_core.store.intervals import INTERVALS
from runvis_core.store.steps import catch_up

RUNS = 4000
APART = timedelta(seconds=10)
BATCH = 1000
LISTS, LIMIT, ROUNDS = 10, 50, 5
GOAL = Goal("<=", 5)

_BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
_ENDED = _BEGAN + RUNS * APART + timedelta(days=1)


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one."""
    for name, databases in DATABASES.items():
        if part in ("", name):
            with databases() as (make, versions), closing(open_store(make())) as store:
                _fill(store)
                catch_up(store, [INTERVALS])
                yield from _measure(name, store, versions | own_versions("sqlalchemy", "psycopg"))


def _measure(name: str, store: Store, versions: dict[str, str]) -> Iterator[Result]:
    then = PastFilter(as_of=_BEGAN + RUNS // 2 * APART)
    known = PastFilter(known_at=store.log.head().position // 2)
    for words, filters in {"": RunFilter(), " that succeeded": RunFilter(state=[State.SUCCEEDED])}.items():
        sides: dict[str, Side] = {
            "now": _side(store, filters, PRESENT),
            "then": _side(store, filters, then),
            "known": _side(store, filters, known),
        }
        rounds = alternate(sides, rounds=ROUNDS)
        case = f"past {name}: {LIMIT} runs{words}"
        for said, side in (("as of a moment", "then"), ("known at a position", "known")):
            yield compare(f"{case} {said} / now", rounds[side], rounds["now"], unit="ms", goal=GOAL, versions=versions)


def _side(store: Store, filters: RunFilter, past: PastFilter) -> Callable[[], list[float]]:
    def ask() -> list[float]:
        return [_timed(store, filters, past) for _ in range(LISTS)]

    return ask


def _timed(store: Store, filters: RunFilter, past: PastFilter) -> float:
    began = time.perf_counter()
    page = list_runs_at(store, filters, past, limit=LIMIT, now=_ENDED)
    listed = len(page.items)
    # A page that passed over many runs ends before it is full, and says where it goes on.
    while listed < LIMIT and page.next_cursor:
        page = list_runs_at(store, filters, past, limit=LIMIT - listed, cursor=page.next_cursor, now=_ENDED)
        listed += len(page.items)
    took = time.perf_counter() - began
    if listed != LIMIT:
        raise RuntimeError(f"{listed} of {LIMIT} runs were listed: there is nothing to compare")
    return took * 1000


def _fill(store: Store) -> None:
    salt = uuid4().hex
    waiting: list[bytes] = []
    for number in range(RUNS):
        waiting += [wire_item(seal(event)) for event in _life(number, salt)]
        if len(waiting) >= BATCH or number == RUNS - 1:
            ingest_items(store, waiting, principal="bench")
            waiting = []


def _life(number: int, salt: str) -> list[EventBase]:
    """Return what a worker says of a run of a minute."""
    key = f"{salt}/{number}"
    about: UUID = run_id("airflow", "bench", ("task", key, 1))
    began = _BEGAN + number * APART

    def say(kind: type[EventBase], seconds: float, **said: Any) -> EventBase:
        told: dict[str, Any] = {"engine": "airflow", "deployment": "bench", "witness": Witness.WORKER, "run_id": about}
        return kind.model_validate({**told, "occurred_at": began + timedelta(seconds=seconds), **said})

    named = {"definition": f"shop_{number % 50}.load", "definition_kind": "task", "native_key": key, "native_id": key}
    return [
        say(StateEvent, 0, state=State.QUEUED, native_state="queued"),
        say(IdentityEvent, 1, **named, attempt=1),
        say(StateEvent, 1, state=State.RUNNING, native_state="running"),
        say(ContextEvent, 2, code={"commit": "4f1c2d9e"}, tags=("nightly",), content={"parameters": {"day": number}}),
        say(DatasetEvent, 50, direction="write", namespace="s3://lake", name=f"mart.table_{number % 89}"),
        say(MetricEvent, 55, name="rows", value=number),
        say(StateEvent, 60, state=State.SUCCEEDED, native_state="success"),
    ]
