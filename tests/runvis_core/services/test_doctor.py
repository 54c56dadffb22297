from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from runvis_core.model.event import EventBase, ProducerClosedEvent, ProducerOpenedEvent
from runvis_core.services.answers import Check
from runvis_core.services.clock import check_clock
from runvis_core.services.doctor import check_sqlite, examine_store
from runvis_core.store.database import Store
from runvis_core.testing.factories import make

Record = Callable[[Store, Iterable[EventBase]], None]


def examine(store: Store) -> dict[str, Check]:
    return {check.name: check for check in examine_store(store, now=datetime.now(UTC))}


def test_a_store_as_shipped_has_no_problem(store: Store) -> None:
    assert {check.outcome for check in examine(store).values()} <= {"ok", "warning"}
    assert examine(store)["triggers"].outcome == "ok"
    assert examine(store)["schema"].outcome == "ok"


def test_a_trigger_that_was_dropped_is_a_problem_and_is_named(store: Store) -> None:
    with store.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            name = connection.scalar(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'runs'")
            )
            connection.execute(text(f'DROP TRIGGER "{name}"'))
        else:
            name = "runs_change_by_rule"
            connection.execute(text(f'DROP TRIGGER "{name}" ON runs'))
    found = examine(store)["triggers"]
    assert found.outcome == "problem"
    assert str(name) in found.detail


def test_it_says_in_which_processes_each_adapter_was_heard(store: Store, record: Record) -> None:
    opened = {"component": "task", "versions": {"runvis": "0.1.0"}}
    record(store, [make(ProducerOpenedEvent, producer=uuid4(), sequence=0, **opened) for _ in range(2)])
    found = examine(store)["adapter airflow test"]
    assert found.outcome == "ok"
    assert "2 task process(es) (worker)" in found.detail
    assert "runvis 0.1.0" in found.detail


def test_events_that_a_process_could_not_keep_are_a_problem(store: Store, record: Record) -> None:
    producer = uuid4()
    record(
        store,
        [
            make(ProducerOpenedEvent, producer=producer, sequence=0, component="task"),
            make(ProducerClosedEvent, producer=producer, sequence=1, refused=3),
        ],
    )
    found = examine(store)["adapter airflow test"]
    assert found.outcome == "problem"
    assert "could not keep 3 events" in found.detail


@pytest.mark.parametrize(
    ("version", "outcome"),
    [
        ((3, 6, 23), "ok"),
        ((3, 7, 0), "warning"),
        ((3, 40, 1), "warning"),
        ((3, 44, 5), "warning"),
        ((3, 44, 6), "ok"),
        ((3, 44, 7), "warning"),
        ((3, 50, 6), "warning"),
        ((3, 50, 7), "ok"),
        ((3, 51, 2), "warning"),
        ((3, 51, 3), "ok"),
        ((3, 53, 0), "ok"),
    ],
)
def test_a_sqlite_with_the_wal_reset_bug_is_named(version: tuple[int, int, int], outcome: str) -> None:
    assert check_sqlite(version).outcome == outcome


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(0, "ok"), (-4, "ok"), (6, "warning"), (-30, "warning"), (61, "problem")]
)
def test_a_clock_that_is_off_is_said_with_its_difference(seconds: int, outcome: str) -> None:
    check = check_clock("server", timedelta(seconds=seconds))
    assert check.outcome == outcome
    assert f"{abs(seconds)}.0 s" in check.detail
