from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from runvis_core.model.event import ContextEvent, EventBase, FailureEvent, IdentityEvent, LogEvent, StateEvent
from runvis_prefect.facts import Surroundings
from runvis_prefect.watch import Watch


class HereAndNow:
    def flow_run(self, flow: Any, flow_run: Any) -> Surroundings:
        return Surroundings("test", environment={"host": "here"})

    def task_run(self, task: Any, task_run: Any) -> Surroundings:
        return Surroundings("test", flow_name="orders")

    def outside(self) -> Surroundings:
        return Surroundings("test")


class OneLine:
    def begin(self, native_id: UUID) -> None: ...

    def end(self, native_id: UUID) -> dict[str, Any]:
        return {"counts": {"INFO": 1}, "content": {"tail": ["a line"]}}


class Current:
    """Which run user code speaks for."""

    def __init__(self) -> None:
        self.run_id: UUID | None = None

    def follow(self, run_id: UUID | None) -> UUID | None:
        before, self.run_id = self.run_id, run_id
        return before


@pytest.fixture
def current() -> Current:
    return Current()


@pytest.fixture
def watch(current: Current) -> Watch:
    return Watch(HereAndNow(), OneLine(), current.follow)


def native_states(events: Iterable[EventBase]) -> list[str | None]:
    return [event.native_state for event in events if isinstance(event, StateEvent)]


def test_a_second_call_for_the_same_state_tells_nothing(
    watch: Watch, a_task: Any, a_task_run: Any, a_state: Any
) -> None:
    """Prefect calls a task's on_running again while a signal ends the process."""
    running = a_state("RUNNING")
    assert list(watch.task_hook(a_task(), a_task_run(), running))
    assert list(watch.task_hook(a_task(), a_task_run(), running)) == []


def test_a_task_that_crashed_is_told_with_the_end_of_its_flow(
    watch: Watch, a_flow: Any, a_task: Any, a_flow_run: Any, a_task_run: Any, a_state: Any
) -> None:
    flow_run = a_flow_run()
    task_run = a_task_run(flow_run_id=flow_run.id, flow_run_run_count=1)
    list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING"), None))
    list(watch.task_hook(a_task(), task_run, a_state("RUNNING", seconds=1)))
    task_run.state = a_state("CRASHED", seconds=2)  # the engine's own object moves on, and no hook is called
    flow_run.run_count = 1
    told = list(watch.flow_hook(a_flow(), flow_run, a_state("CRASHED", seconds=3), None))
    assert native_states(told) == ["Crashed", "Crashed"]
    assert told[-1].event_id == a_state("CRASHED", seconds=3).id
    assert list(watch.last_look()) == []


def test_a_task_of_another_flow_run_is_left_alone_until_the_process_ends(
    watch: Watch, a_flow: Any, a_task: Any, a_flow_run: Any, a_task_run: Any, a_state: Any
) -> None:
    flow_run, other = a_flow_run(), a_flow_run("other")
    task_run = a_task_run(flow_run_id=other.id)
    list(watch.task_hook(a_task(), task_run, a_state("RUNNING")))
    task_run.state = a_state("CRASHED", seconds=2)
    list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING"), None))
    flow_run.run_count = 1
    assert native_states(watch.flow_hook(a_flow(), flow_run, a_state("COMPLETED", seconds=3), None)) == ["Completed"]
    assert native_states(watch.last_look()) == ["Crashed"]


def test_a_cancelled_flow_is_told_at_the_last_look(watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any) -> None:
    """The hook is called at Cancelling; Cancelled follows without one, on the object that the hook was given."""
    list(watch.flow_hook(a_flow(), a_flow_run(), a_state("RUNNING"), None))
    read_anew = a_flow_run(run_count=1)
    assert native_states(watch.flow_hook(a_flow(), read_anew, a_state("CANCELLING", seconds=1), None)) == ["Cancelling"]
    read_anew.state = a_state("CANCELLED", seconds=2)
    assert native_states(watch.last_look()) == ["Cancelled"]


def test_a_flow_that_still_runs_is_not_told_ended(watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any) -> None:
    flow_run = a_flow_run()
    flow_run.state = a_state("RUNNING")
    list(watch.flow_hook(a_flow(), flow_run, flow_run.state, None))
    assert list(watch.last_look()) == []


def test_a_flow_tried_again_ends_its_first_attempt_with_the_error_in_flight(
    watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any
) -> None:
    flow_run = a_flow_run()
    flow_run.empirical_policy.retry_delay = 10
    first = list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING"), None))
    flow_run.run_count = 1
    again = list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING", "Retrying", seconds=30), ValueError("no")))
    assert native_states(again) == ["AwaitingRetry", "Retrying"]
    ended, begun = (event for event in again if isinstance(event, StateEvent))
    assert ended.run_id == first[-1].run_id  # pyright: ignore
    assert begun.run_id != ended.run_id
    assert (begun.occurred_at - ended.occurred_at).total_seconds() == 10
    assert [event.error_type for event in again if isinstance(event, FailureEvent)] == ["ValueError"]


def test_a_pause_that_prefect_counts_is_no_attempt(watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any) -> None:
    flow_run = a_flow_run()
    list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING"), None))
    # It was paused and went on, and was read anew only after that.
    assert watch.flow_attempt_at(flow_run.id, 2) == 1
    flow_run.run_count = 2
    list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING", "Retrying", seconds=30), ValueError("no")))
    assert [watch.flow_attempt_at(flow_run.id, count) for count in (1, 3)] == [1, 2]
    assert watch.flow_attempt_at(a_flow_run("of another process").id, 3) == 3


def test_a_flow_rerun_in_a_new_process_says_nothing_of_the_attempt_before(
    watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any
) -> None:
    again = list(watch.flow_hook(a_flow(), a_flow_run(run_count=1), a_state("RUNNING"), None))
    assert native_states(again) == ["Running"]


def test_a_run_of_another_process_is_told_without_this_ones_environment(
    watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any
) -> None:
    """A runner's process tells the crash of its child."""
    told = list(watch.flow_hook(a_flow(), a_flow_run(run_count=1), a_state("CRASHED"), None))
    assert [type(event) for event in told] == [IdentityEvent, ContextEvent, FailureEvent, StateEvent]
    (context,) = (event for event in told if isinstance(event, ContextEvent))
    assert context.environment == {}


def test_a_log_comes_before_the_end(watch: Watch, a_task: Any, a_task_run: Any, a_state: Any) -> None:
    list(watch.task_hook(a_task(), a_task_run(), a_state("RUNNING")))
    told = [type(event) for event in watch.task_hook(a_task(), a_task_run(), a_state("COMPLETED", seconds=1))]
    assert told == [LogEvent, StateEvent]


def test_a_definition_is_told_once(watch: Watch, a_flow: Any, a_flow_run: Any, a_state: Any) -> None:
    flow = a_flow()
    for name in ("first", "second"):
        told = list(watch.flow_hook(flow, a_flow_run(name), a_state("RUNNING"), None))
        assert ("definition" in {event.kind for event in told}) == (name == "first")


def test_user_code_speaks_for_the_task_and_then_for_the_flow_again(
    watch: Watch, current: Current, a_flow: Any, a_task: Any, a_flow_run: Any, a_task_run: Any, a_state: Any
) -> None:
    flow_run = a_flow_run()
    flow_started = list(watch.flow_hook(a_flow(), flow_run, a_state("RUNNING"), None))
    flow_id = current.run_id
    assert flow_id == flow_started[-1].run_id  # pyright: ignore
    for attempt in (1, 2):
        task_run = a_task_run(flow_run_id=flow_run.id, flow_run_run_count=1, run_count=attempt)
        list(watch.task_hook(a_task(), task_run, a_state("RUNNING", seconds=attempt)))
        assert current.run_id not in {None, flow_id}
        if attempt == 1:
            list(watch.task_retry(a_task(), task_run, a_state("FAILED", seconds=attempt)))
            assert current.run_id == flow_id
    list(watch.task_hook(a_task(), task_run, a_state("COMPLETED", seconds=3)))
    assert current.run_id == flow_id
