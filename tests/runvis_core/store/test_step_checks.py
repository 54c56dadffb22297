"""Rows beside the log that the log does not support are named."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from runvis_core.model.event import EventBase, ProducerOpenedEvent
from runvis_core.services.decision_answers import ErasureRequest
from runvis_core.services.erasure import erase
from runvis_core.store.account import ACCOUNT
from runvis_core.store.database import Store, open_store
from runvis_core.store.failures import Failures
from runvis_core.store.intervals import INTERVALS
from runvis_core.store.rollups import Rollups
from runvis_core.store.steps import advance, catch_up
from runvis_core.testing.event_log_suite import append
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.histories import histories
from runvis_core.testing.story import a_story

STEPS = (ACCOUNT, INTERVALS, Rollups(), Failures())


def problems(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return [problem for step in STEPS for problem in step.check(connection)]


@pytest.fixture
def told(store: Store) -> Store:
    """A story that a producer numbered, taken up by the steps."""
    producer = a_run_id("producer")
    opened = make(ProducerOpenedEvent, producer=producer, component="task")
    events = [event.model_copy(update={"producer": producer}) for event in (opened, *a_story())]
    append(store, *(event.model_copy(update={"sequence": place}) for place, event in enumerate(events)))
    catch_up(store, STEPS)
    return store


def test_what_the_steps_wrote_is_supported_also_where_they_are_behind(told: Store) -> None:
    assert problems(told) == []
    append(told, *(event for event in a_story() if event.kind != "definition"))
    assert problems(told) == []
    for step in STEPS:
        while advance(told, step, limit=3):
            assert problems(told) == []


@given(story=histories, sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6), behind=st.integers(0, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_told_the_steps_rows_are_supported(
    tmp_path: Path, empty_file: Path, story: list[EventBase], sizes: list[int], behind: int
) -> None:
    store = open_store(f"sqlite:///{shutil.copy(empty_file, tmp_path / f'{uuid4()}.db')}")
    rest, turn = story, 0
    while rest:
        size = sizes[turn % len(sizes)]
        append(store, *rest[:size])
        rest, turn = rest[size:], turn + 1
        if turn % 2:
            advance(store, STEPS[turn % len(STEPS)], limit=1 + behind)
    assert problems(store) == []
    catch_up(store, STEPS)
    found = problems(store)
    store.close()
    assert found == []


def test_a_message_that_was_erased_is_no_longer_looked_for(told: Store) -> None:
    failed = next(event for event in a_story() if event.kind == "failure")
    erase(told, ErasureRequest(run=str(failed.run_id), reason="a person asked for it"), principal="test")
    # The message is gone from the store, and the step has yet to forget its words.
    assert problems(told) == []
    catch_up(told, STEPS)
    assert problems(told) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE run_intervals SET effective_state = 'Cancelled' WHERE known_to IS NULL", "run_intervals"),
        ("UPDATE run_intervals SET known_to = NULL", "run_intervals"),
        ("DELETE FROM run_intervals WHERE known_to IS NOT NULL", "run_intervals"),
        ("UPDATE interval_bounds SET seconds = 0", "interval_bounds"),
        ("DELETE FROM outer_definitions", "outer_definitions: the row engine"),
        ("UPDATE outer_definitions SET deployment = 'another'", "outer_definitions: the row engine"),
        ("UPDATE run_producers SET last_sequence = 99", "run_producers"),
        ("DELETE FROM run_producers", "run_producers"),
        ("UPDATE rollups SET runs = runs + 1 WHERE span = 'day'", "rollups: the row span day"),
        ("UPDATE rollups SET durations = '[]'", "rollups: the row span"),
        ("DELETE FROM rollups WHERE span = 'kind'", "rollups: the row span kind"),
        ("UPDATE rollups SET begins_at = '1999-01-01T00:00:00.000000Z' WHERE span = 'hour'", "rollups: the row span"),
        ("UPDATE rollups SET span = 'year' WHERE span = 'hour'", "rollups: the row span"),
        ("UPDATE rollup_runs SET state = 'Cancelled'", "rollup_runs: a row of run"),
        ("DELETE FROM rollup_runs", "rollup_runs: a row of run"),
        ("UPDATE definition_health SET failing_since = NULL, last_state = 'Succeeded'", "definition_health: the row"),
        ("DELETE FROM definition_health", "definition_health: the row"),
        ("UPDATE failures SET line = 'all is well'", "failures: a row of run"),
        ("DELETE FROM failures", "failures: a row of run"),
        ("UPDATE failure_words SET word = 'well' WHERE word = (SELECT min(word) FROM failure_words)", "failure_words:"),
        ("DELETE FROM failure_words", "failure_words: a row of run"),
    ],
)
def test_a_row_that_was_bent_is_named(told: Store, statement: str, named: str) -> None:
    with told.engine.begin() as connection:
        connection.execute(text(statement))
    found = problems(told)
    assert found
    assert all(problem.startswith(named) for problem in found)
