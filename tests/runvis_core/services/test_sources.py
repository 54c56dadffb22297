"""Who was heard: the installations of engines, and their definitions whose runs lie in no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.runvis_core.lineage.tables import an_identity

from runvis_core.model.event import EventBase
from runvis_core.services.sources import get_heard
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, at

Record = Callable[[Store, Iterable[EventBase]], None]


def test_each_source_tells_its_last_run_and_counts_only_what_runs_in_nothing_else(store: Store, record: Record) -> None:
    sources = [("airflow", "prod"), ("airflow", "staging"), ("prefect", "lake"), ("z", "a")]
    events: list[EventBase] = []
    number = 0
    for place, (engine, deployment) in enumerate(sources):
        for definition in [f"etl {i}" for i in range(place + 1)] * 2:
            number += 1
            named = {"engine": engine, "deployment": deployment}
            events.append(an_identity(number, definition, seconds=number, **named))
            inner = an_identity(
                1000 + number, f"{definition}.step", seconds=number, parent_run_id=a_run_id(str(number)), **named
            )
            events.append(inner)
    record(store, events)
    heard = get_heard(store)
    assert [(one.engine, one.deployment, one.definition_count) for one in heard.sources] == [
        (*source, place + 1) for place, source in enumerate(sources)
    ]
    assert [one.last_at for one in heard.sources] == [at(2), at(6), at(12), at(20)]


def test_of_an_empty_store_nobody_was_heard(store: Store) -> None:
    assert get_heard(store).sources == []
