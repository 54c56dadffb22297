"""The ends of logs that no process gave, from a server that answers like Prefect's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.runvis_prefect.fake_prefect import FakePrefect

from runvis_core.model.event import EventBase, LogEvent
from runvis_core.model.state import Witness
from runvis_core.settings import PrefectSettings
from runvis_prefect import tails
from runvis_prefect.books import Books
from runvis_prefect.history import Kind, Source
from runvis_prefect.identity import flow_run_id, task_run_id
from runvis_prefect.reader import Reader
from runvis_prefect.rest import PrefectApi
from runvis_prefect.tails import Tails

NOW = datetime(2026, 11, 24, 10, 46, 42, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
DEPLOYMENT = "test"


@pytest.fixture
def prefect() -> Iterator[FakePrefect]:
    with FakePrefect(now=NOW) as fake:
        yield fake


class Reading:
    """`Tails` of a server, and what it told."""

    def __init__(self, prefect: FakePrefect, api: PrefectApi) -> None:
        self._prefect = prefect
        self.told: list[EventBase] = []
        self.logged: set[UUID] = set()
        source = Source(DEPLOYMENT, "http://prefect.test")
        reader = Reader(api.url, on_trouble)
        self.books = Books(api, source, reader)
        self.tails = Tails(
            api, self.books, source, reader, tell=self.told.extend, find_logged=lambda runs: self.logged & set(runs)
        )

    def note(self, kind: Kind, native: str) -> None:
        for placed in self.books.history(kind, UUID(native)):
            self.tails.note(kind, UUID(native), placed)

    def read(self, now: datetime = LATER) -> list[LogEvent]:
        """Return the logs that are told now."""
        before = len(self.told)
        self.tails.read(now)
        return [event for event in self.told[before:] if isinstance(event, LogEvent)]


def on_trouble(message: str) -> None:
    raise AssertionError(message)


@pytest.fixture
def reading(prefect: FakePrefect) -> Iterator[Reading]:
    with PrefectApi(prefect.url, PrefectSettings(), threading.Event(), pause_seconds=0) as api:
        yield Reading(prefect, api)


def a_failure(prefect: FakePrefect, lines: int = 1) -> tuple[str, str]:
    """Let a task and its flow run fail, and return their ids."""
    flow_run = prefect.start_flow_run()
    prefect.enter(flow_run, "RUNNING")
    task = prefect.start_task_run(flow_run)
    prefect.enter(task, "RUNNING")
    for number in range(lines):
        prefect.log(task, f"line {number}")
    prefect.log(task, "it failed", level=logging.ERROR)
    prefect.enter(task, "FAILED")
    prefect.log(flow_run, "the flow failed", level=logging.ERROR)
    prefect.enter(flow_run, "CRASHED")
    return flow_run, task


def test_a_flow_and_its_task_each_have_their_own_lines(prefect: FakePrefect, reading: Reading) -> None:
    flow_run, task = a_failure(prefect)
    reading.note("flow", flow_run)
    reading.note("task", task)

    of_flow, of_task = reading.read()

    assert of_flow.run_id == flow_run_id(DEPLOYMENT, flow_run, 1)
    assert of_flow.content == {"tail": "2026-11-24 10:46:42,000 ERROR prefect.flow_runs: the flow failed"}
    assert of_task.run_id == task_run_id(DEPLOYMENT, task, 1)
    assert of_task.counts == {"INFO": 1, "ERROR": 1}
    assert str(of_task.content["tail"]).splitlines() == [
        "2026-11-24 10:46:42,000 INFO prefect.task_runs: line 0",
        "2026-11-24 10:46:42,000 ERROR prefect.task_runs: it failed",
    ]
    assert of_task.witness is Witness.FOLLOWER
    assert of_task.url == f"http://prefect.test/runs/task-run/{task}"


def test_a_log_is_read_once_and_not_before_its_process_had_time_to_give_it(
    prefect: FakePrefect, reading: Reading
) -> None:
    flow_run, _ = a_failure(prefect)
    reading.note("flow", flow_run)
    assert reading.read(NOW + tails.WAITS / 2) == []
    assert len(reading.read()) == 1
    reading.note("flow", flow_run)
    assert reading.read() == []


def test_the_log_that_a_process_gave_is_not_read(prefect: FakePrefect, reading: Reading) -> None:
    flow_run, task = a_failure(prefect)
    reading.logged.add(task_run_id(DEPLOYMENT, task, 1))
    reading.note("flow", flow_run)
    reading.note("task", task)

    assert [event.run_id for event in reading.read()] == [flow_run_id(DEPLOYMENT, flow_run, 1)]
    assert prefect.asked.count("/api/logs/filter") == 1


def test_a_run_that_did_not_fail_or_that_logged_nothing_has_no_tail(prefect: FakePrefect, reading: Reading) -> None:
    whole = prefect.run(tasks=0)
    prefect.log(whole, "all is well")
    silent = prefect.start_flow_run()
    prefect.enter(silent, "FAILED")
    for native in (whole, silent):
        reading.note("flow", native)

    assert reading.read() == []


def test_each_attempt_has_the_lines_of_its_time(prefect: FakePrefect, reading: Reading) -> None:
    task = prefect.start_task_run(prefect.start_flow_run())
    for attempt in (1, 2, 3):
        prefect.enter(task, "RUNNING", None if attempt == 1 else "Retrying")
        prefect.now += timedelta(seconds=1)
        prefect.log(task, f"attempt {attempt}")
        prefect.now += timedelta(seconds=1)
        prefect.enter(task, "SCHEDULED" if attempt < 3 else "FAILED", "AwaitingRetry" if attempt < 3 else None)
        prefect.now += timedelta(seconds=1)
    reading.note("task", task)

    told = {event.run_id: str(event.content["tail"]).partition("runs: ")[2] for event in reading.read()}

    assert told == {task_run_id(DEPLOYMENT, task, number): f"attempt {number}" for number in (1, 2, 3)}


def test_of_a_long_log_the_end_is_kept_and_of_one_too_long_nothing_is_counted(
    prefect: FakePrefect, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "MAX_PAGES", 2)
    _, long = a_failure(prefect, lines=300)
    _, too_long = a_failure(prefect, lines=500)
    for task in (long, too_long):
        reading.note("task", task)

    first, second = reading.read()

    assert first.counts == {"INFO": 300, "ERROR": 1}
    assert second.counts == {}
    for event in (first, second):
        assert str(event.content["tail"]).endswith("it failed")
        assert len(str(event.content["tail"]).splitlines()) == 200


def test_many_failures_wait_for_their_turn(
    prefect: FakePrefect, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "AT_ONCE", 2)
    for _ in range(3):
        reading.note("task", a_failure(prefect)[1])
    assert [len(reading.read()), len(reading.read()), len(reading.read())] == [2, 1, 0]


def test_a_log_that_could_not_be_stored_is_told_again(
    prefect: FakePrefect, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading.note("task", a_failure(prefect)[1])
    with monkeypatch.context() as patched:
        patched.setattr(reading.tails, "_tell", refuse)
        with pytest.raises(OSError, match="the store is down"):
            reading.tails.read(LATER)
    assert len(reading.read()) == 1


def refuse(_events: object) -> None:
    raise OSError("the store is down")
