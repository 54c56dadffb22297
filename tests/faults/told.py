"""Events that can be counted one by one, and what a store knows of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import select

from runvis_core.model.event import EventBase, MetricEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import producers
from runvis_core.testing.factories import a_run_id, make


def numbered(who: object, number: int, **fields: Any) -> MetricEvent:
    """The event `number` of whoever tells it; its name is `who/number`."""
    return make(MetricEvent, seconds=number, run_id=a_run_id(str(who)), name=f"{who}/{number}", value=number, **fields)


def an_end(who: object) -> StateEvent:
    return make(StateEvent, seconds=10_000_000, run_id=a_run_id(str(who)), state=State.SUCCEEDED)


def names_of(events: Iterable[EventBase]) -> list[str]:
    return [event.name for event in events if isinstance(event, MetricEvent)]


def stored_names(store: Store) -> Counter[str]:
    """How often each numbered event stands in the log."""
    return Counter(
        said["event"]["name"]
        for said in (orjson.loads(entry.entry) for entry in store.log.read())
        if said["event"]["kind"] == "metric"
    )


def received_ranges(store: Store) -> list[list[list[int]]]:
    """Which numbers came, by producer."""
    with store.engine.connect() as connection:
        return [orjson.loads(received) for received in connection.scalars(select(producers.c.received))]


def assert_sound(store: Store, told: Sequence[str], *, maybe: Iterable[str] = ()) -> None:
    """Hold a store against what was told: each once and nothing else, but what `maybe` was told; and check it whole."""
    stored = stored_names(store)
    doubled = {name for name, number in stored.items() if number != 1}
    assert doubled == set()
    assert set(told) - set(stored) == set(), "lost"
    assert set(stored) - set(told) - set(maybe) == set(), "nobody told that"
    assert check_store(store) == []


def assert_sound_at(url: str, told: Sequence[str], *, maybe: Iterable[str] = ()) -> None:
    store = open_store(url)
    try:
        assert_sound(store, told, maybe=maybe)
    finally:
        store.close()


def wait_until(condition: Callable[[], object], *, seconds: float = 120) -> None:
    """Wait until something is so; fail when it doesn't become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)
