"""Logs of any length, for tests of what is made over a log."""

from __future__ import annotations

from typing import Final

from runvis_core.model.event import EventBase, MetricEvent
from runvis_core.services.ingest import ingest_events
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

ORIGIN: Final = "example.com/runvis"


def lengthen(store: Store, number: int, *, runs: int = 7) -> None:
    """Append so many entries about some runs; what each says follows from its position alone."""
    start = store.log.head().position
    events: list[EventBase] = [
        make(MetricEvent, run_id=a_run_id(f"run-{place % runs}"), name="rows", value=float(place), seconds=place)
        for place in range(start, start + number)
    ]
    for begin in range(0, number, 1000):
        outcomes = ingest_events(store, events[begin : begin + 1000], principal="test")
        assert {outcome.status for outcome in outcomes} == {"stored"}
