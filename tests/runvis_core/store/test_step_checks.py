"""Rows beside the log that the log does not support are named."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from runvis_core.model.event import ProducerOpenedEvent
from runvis_core.store.account import ACCOUNT
from runvis_core.store.database import Store
from runvis_core.store.intervals import INTERVALS
from runvis_core.store.steps import advance, catch_up
from runvis_core.testing.event_log_suite import append
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.story import a_story


def problems(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return [*ACCOUNT.check(connection), *INTERVALS.check(connection)]


@pytest.fixture
def told(store: Store) -> Store:
    """A story that a producer numbered, taken up by the steps."""
    producer = a_run_id("producer")
    opened = make(ProducerOpenedEvent, producer=producer, component="task")
    events = [event.model_copy(update={"producer": producer}) for event in (opened, *a_story())]
    append(store, *(event.model_copy(update={"sequence": place}) for place, event in enumerate(events)))
    catch_up(store, [ACCOUNT, INTERVALS])
    return store


def test_what_the_steps_wrote_is_supported_also_where_they_are_behind(told: Store) -> None:
    assert problems(told) == []
    append(told, *(event for event in a_story() if event.kind != "definition"))
    assert problems(told) == []
    advance(told, INTERVALS, limit=1)
    assert problems(told) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE run_intervals SET effective_state = 'Cancelled' WHERE known_to IS NULL", "run_intervals"),
        ("UPDATE run_intervals SET known_to = NULL", "run_intervals"),
        ("DELETE FROM run_intervals WHERE known_to IS NOT NULL", "run_intervals"),
        ("UPDATE interval_bounds SET seconds = 0", "interval_bounds"),
        ("UPDATE run_producers SET last_sequence = 99", "run_producers"),
        ("DELETE FROM run_producers", "run_producers"),
    ],
)
def test_a_row_that_was_bent_is_named(told: Store, statement: str, named: str) -> None:
    with told.engine.begin() as connection:
        connection.execute(text(statement))
    found = problems(told)
    assert found
    assert all(problem.startswith(named) for problem in found)
