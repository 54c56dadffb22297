"""Who was heard, and when: the installations of engines, by the last of their runs that lie in no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import pytest
from tests.runvis_core.lineage.tables import an_identity

from runvis_core.model.event import DefinitionEvent, EventBase
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.services import sources
from runvis_core.services.ingest import record_heartbeats
from runvis_core.services.sources import get_heard
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make

Record = Callable[[Store, Iterable[EventBase]], None]


def test_each_source_tells_its_last_run_of_those_that_lie_in_no_other(store: Store, record: Record) -> None:
    known = [("airflow", "prod"), ("airflow", "staging"), ("prefect", "lake"), ("z", "a")]
    events: list[EventBase] = []
    number = 0
    for place, (engine, deployment) in enumerate(known):
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
    assert [(one.engine, one.deployment) for one in heard.sources] == known
    assert [one.last_at for one in heard.sources] == [at(2), at(6), at(12), at(20)]


def test_of_an_empty_store_nobody_was_heard(store: Store) -> None:
    assert get_heard(store).sources == []


def heard_at(store: Store) -> dict[str, datetime | None]:
    return {one.deployment: one.heard_at for one in get_heard(store).sources}


def test_a_source_is_heard_by_its_last_word_in_the_log_however_far_back(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, [an_identity(1, "etl", seconds=1, deployment="early")])
    early = get_heard(store).recorded_at
    record(store, [an_identity(2, "etl", seconds=2, deployment="late")])
    late = get_heard(store).recorded_at
    assert heard_at(store) == {"early": early, "late": late}
    # Where the log's last entries are of others alone, its last runs say when.
    monkeypatch.setattr(sources, "LAST_ENTRIES", 1)
    assert heard_at(store) == {"early": early, "late": late}


def test_a_heartbeat_is_a_word_too(store: Store, record: Record) -> None:
    record(store, [an_identity(1, "etl", seconds=1, deployment="beats")])
    told_at = get_heard(store).recorded_at
    beat = {"engine": ENGINE, "deployment": "beats", "witness": "worker", "occurred_at": at(0)}
    record_heartbeats(store, [Heartbeat(run_id=a_run_id("1"), interval_seconds=30, **beat)])
    (source,) = get_heard(store).sources
    assert told_at is not None
    assert source.heard_at is not None
    assert source.heard_at > told_at
    assert source.by_heartbeat


def test_what_tells_of_a_definition_is_heard_before_its_first_run(store: Store, record: Record) -> None:
    record(store, [make(DefinitionEvent, definition="etl", definition_kind="dag", version="v1", witness="scheduler")])
    (source,) = get_heard(store).sources
    assert (source.engine, source.deployment, source.last_at) == (ENGINE, DEPLOYMENT, None)
    assert source.heard_at == get_heard(store).recorded_at
    assert source.witnesses == ["scheduler"]
