from __future__ import annotations

from typing import Any

import pytest

from runvis_core.model.event import ContextEvent, EventBase, FailureEvent, IdentityEvent, StateEvent
from runvis_core.model.state import State, TriggerKind
from runvis_prefect import states, translate
from runvis_prefect.facts import Surroundings

AROUND = Surroundings("test")

# Every state that Prefect has a name for, as its own functions make it, and what the record calls it.
NATIVE_STATES = {
    ("SCHEDULED", "Scheduled"): State.QUEUED,
    ("SCHEDULED", "Late"): State.QUEUED,
    ("SCHEDULED", "AwaitingConcurrencySlot"): State.QUEUED,
    ("SCHEDULED", "AwaitingRetry"): State.FAILED,
    ("PENDING", "Pending"): State.INITIALIZING,
    ("PENDING", "Submitting"): State.INITIALIZING,
    ("PENDING", "InfrastructurePending"): State.INITIALIZING,
    ("PENDING", "NotReady"): State.INITIALIZING,
    ("RUNNING", "Running"): State.RUNNING,
    ("RUNNING", "Retrying"): State.RUNNING,
    ("PAUSED", "Paused"): State.RUNNING,
    ("PAUSED", "Suspended"): State.RUNNING,
    ("CANCELLING", "Cancelling"): State.RUNNING,
    ("CANCELLED", "Cancelled"): State.CANCELLED,
    ("CRASHED", "Crashed"): State.FAILED,
    ("FAILED", "Failed"): State.FAILED,
    ("FAILED", "TimedOut"): State.TIMED_OUT,
    ("COMPLETED", "Completed"): State.SUCCEEDED,
    ("COMPLETED", "Cached"): State.SUCCEEDED,
    ("COMPLETED", "RolledBack"): State.FAILED,
}


def only(events: list[EventBase], kind: type[Any]) -> Any:
    (found,) = (event for event in events if isinstance(event, kind))
    return found


@pytest.mark.parametrize(("native", "canonical"), NATIVE_STATES.items(), ids=lambda value: str(value))
def test_each_native_state_has_its_canonical_one(a_state: Any, native: tuple[str, str], canonical: State) -> None:
    assert states.canonical_state(a_state(*native)) is canonical


def test_a_name_that_a_user_gave_counts_for_nothing_but_its_type(a_state: Any) -> None:
    assert states.canonical_state(a_state("COMPLETED", "TimedOut")) is State.SUCCEEDED
    assert states.canonical_state(a_state("FAILED", "Out of stock")) is State.FAILED


def test_the_table_of_types_is_prefects() -> None:
    kinds = {kind for kind, _ in NATIVE_STATES}
    assert kinds == set(states.STATE_OF_TYPE)


@pytest.mark.parametrize(
    ("run_count", "kind", "resuming", "attempt"),
    [
        (0, "RUNNING", False, 1),
        (1, "COMPLETED", False, 1),
        (1, "RUNNING", False, 2),
        (2, "FAILED", False, 2),
        (1, "RUNNING", True, 1),
        (0, "FAILED", False, 1),  # its parameters were refused: it never ran
    ],
)
def test_a_flow_attempt_is_read_through_the_stale_count(
    a_flow_run: Any, a_state: Any, run_count: int, kind: str, resuming: bool, attempt: int
) -> None:
    flow_run = a_flow_run(run_count=run_count)
    flow_run.empirical_policy.resuming = resuming
    assert translate.flow_attempt(flow_run, a_state(kind)) == attempt


def test_start_and_end_of_an_attempt_are_of_one_run(a_flow: Any, a_flow_run: Any, a_state: Any) -> None:
    started = translate.flow_started(a_flow(), a_flow_run(run_count=1), a_state("RUNNING"), AROUND)
    ended = translate.flow_ended(a_flow_run(run_count=2), a_state("COMPLETED", seconds=5), AROUND)
    assert only(started, StateEvent).run_id == only(ended, StateEvent).run_id


def test_a_states_own_id_is_the_events(a_flow_run: Any, a_state: Any) -> None:
    state = a_state("COMPLETED")
    assert only(translate.flow_ended(a_flow_run(), state, AROUND), StateEvent).event_id == state.id


@pytest.mark.parametrize(
    ("fields", "kind", "native"),
    [
        ({}, TriggerKind.MANUAL, None),
        ({"auto_scheduled": True}, TriggerKind.SCHEDULE, "SCHEDULE"),
        ({"deployment_id": "d"}, TriggerKind.API, None),
        ({"deployment_id": "d", "parent_task_run_id": "t"}, TriggerKind.RUN, "run_deployment"),
        ({"parent_task_run_id": "t"}, TriggerKind.RUN, "subflow"),
        ({"run_count": 1}, TriggerKind.RETRY, None),
    ],
)
def test_what_started_a_flow_run(
    a_flow: Any, a_flow_run: Any, a_state: Any, fields: dict[str, Any], kind: TriggerKind, native: str | None
) -> None:
    identity = translate.flow_identity(a_flow(), a_flow_run(**fields), a_state("RUNNING"), AROUND)
    assert identity.trigger is not None
    assert (identity.trigger.kind, identity.trigger.native) == (kind, native)


def test_a_trace_that_prefect_keeps_in_a_label_is_the_correlation(a_flow: Any, a_flow_run: Any, a_state: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    flow_run = a_flow_run(labels={"__OTEL_TRACEPARENT": f"00-{trace}-00f067aa0ba902b7-01"})
    assert translate.flow_identity(a_flow(), flow_run, a_state("RUNNING"), AROUND).correlation_id == trace


def test_a_task_is_part_of_the_attempt_of_its_flow(
    a_flow: Any, a_task: Any, a_flow_run: Any, a_task_run: Any, a_state: Any
) -> None:
    flow_run = a_flow_run(run_count=1)
    flow = translate.flow_identity(a_flow(), flow_run, a_state("RUNNING"), AROUND)
    task_run = a_task_run(flow_run_id=flow_run.id, flow_run_run_count=2)
    task = translate.task_identity(a_task(), task_run, a_state("RUNNING"), Surroundings("test", flow_name="orders"))
    assert flow.attempt == 2
    assert task.parent_run_id == flow.run_id
    assert task.definition == "orders.load"


def test_a_failure_brings_its_traceback(a_flow_run: Any, a_state: Any) -> None:
    try:
        raise KeyError("no such order")
    except KeyError as error:
        state = a_state("FAILED", data=error)
    failure = only(translate.flow_ended(a_flow_run(), state, AROUND), FailureEvent)
    assert failure.error_type == "KeyError"
    assert "no such order" in failure.content["message"]
    assert __name__.rpartition(".")[2] in failure.content["traceback"]


def test_a_failed_state_that_a_user_returned_has_its_message_for_a_failure(a_flow_run: Any, a_state: Any) -> None:
    state = a_state("FAILED")
    state.message = "nothing to load"
    failure = only(translate.flow_ended(a_flow_run(), state, AROUND), FailureEvent)
    assert failure.error_type is None
    assert failure.content == {"message": "nothing to load"}


def test_nothing_comes_after_the_end(a_flow_run: Any, a_task_run: Any, a_state: Any) -> None:
    """What the store folds after the end would be marked late."""
    state = a_state("FAILED", data=ValueError("x"))
    for events in (
        translate.flow_ended(a_flow_run(), state, AROUND),
        translate.task_ended(a_task_run(), state, AROUND),
    ):
        assert isinstance(events[-1], StateEvent)


def test_a_list_of_delays_gives_each_retry_its_own(a_task: Any, a_task_run: Any, a_state: Any) -> None:
    task = a_task(retry_delay_seconds=[1, 10])
    waits: list[float] = []
    for attempt in (1, 2, 3):
        state = a_state("FAILED", seconds=attempt)
        end = only(translate.task_retried(task, a_task_run(run_count=attempt), state, AROUND), StateEvent)
        waits.append((end.retry_expected_at - state.timestamp).total_seconds())
    assert waits == [1, 10, 10]


def test_the_version_of_a_flow_follows_its_code_and_not_its_place(a_flow: Any) -> None:
    def load(price: int = 1) -> int:
        return price + 1

    same = compile("\n\ndef load(price=1):\n    return price + 1\n", "elsewhere.py", "exec")
    other = compile("def load(price=1):\n    return price + 2\n", "elsewhere.py", "exec")
    versions: list[str] = []
    for source in (same, other):
        names: dict[str, Any] = {}
        exec(source, names)
        versions.append(translate.flow_version(a_flow(fn=names["load"])))
    assert versions[0] != versions[1]
    moved: dict[str, Any] = {}
    exec(compile("def load(price=1):\n    return price + 1\n", "a/b.py", "exec"), moved)
    assert translate.flow_version(a_flow(fn=moved["load"])) == versions[0]


def test_context_says_only_what_is_known(a_flow_run: Any, a_state: Any) -> None:
    context = only(translate.flow_ended(a_flow_run(), a_state("COMPLETED"), AROUND), ContextEvent)
    assert None not in context.engine_context.values()
    assert context.native_url is None


def test_the_first_attempt_is_no_retry_and_the_second_is_of_the_first(
    a_flow: Any, a_flow_run: Any, a_state: Any
) -> None:
    first = translate.flow_identity(a_flow(), a_flow_run(), a_state("RUNNING"), AROUND)
    second = translate.flow_identity(a_flow(), a_flow_run(run_count=1), a_state("RUNNING"), AROUND)
    assert (first.attempt, first.retry_of) == (1, None)
    assert (second.attempt, second.retry_of) == (2, first.run_id)
    assert isinstance(second, IdentityEvent)
