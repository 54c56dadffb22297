"""What Prefect's hooks say, as events. Pure: no Prefect import, no clock, no I/O; objects are read by attribute.

A flow run or task run of Prefect keeps its id over all its attempts; `run_count` tells them apart. Inside a flow's
`on_running` hook that count is still the one from before the attempt (0 in the first, 1 in the second), unless the
run resumes after a suspension, which is no new attempt.
"""

from __future__ import annotations

import hashlib
import traceback
from datetime import UTC, timedelta
from typing import Any

from runvis_core.model import identity
from runvis_core.model.event import DefinitionEvent, EventBase, FailureEvent, IdentityEvent
from runvis_core.model.state import State, Witness
from runvis_prefect import facts
from runvis_prefect.facts import (
    Report,
    Surroundings,
    flow_context,
    known,
    queued,
    retry_event,
    state_event,
    task_context,
)
from runvis_prefect.identity import ENGINE, flow_run_id, task_run_id
from runvis_prefect.states import canonical_state, type_name


def flow_attempt(flow_run: Any, state: Any) -> int:
    """Return which attempt of a flow run a hook is called for."""
    stale = type_name(state) == "RUNNING" and not _is_resuming(flow_run)
    return max(1, int(flow_run.run_count) + (1 if stale else 0))


def task_attempt(task_run: Any) -> int:
    """Return which attempt of a task run a hook is called for."""
    return max(1, int(task_run.run_count))


def flow_started(
    flow: Any, flow_run: Any, state: Any, around: Surroundings, attempt: int | None = None
) -> list[EventBase]:
    """A flow run entered Running: who it is, with what it runs, and that it runs."""
    attempt = attempt or flow_attempt(flow_run, state)
    run = _flow_run(flow_run, state, around, attempt)
    return [
        flow_identity(flow, flow_run, state, around, attempt),
        flow_context(flow_run, run, around),
        *queued(flow_run, run, attempt),
        state_event(run, state),
    ]


def flow_identity(
    flow: Any, flow_run: Any, state: Any, around: Surroundings, attempt: int | None = None
) -> IdentityEvent:
    """Return who a flow run is; of what this process can't know it says nothing."""
    attempt = attempt or flow_attempt(flow_run, state)
    version_id = identity.definition_version_id(ENGINE, around.deployment, str(flow.name), flow_version(flow))
    return facts.flow_identity(
        str(flow.name),
        flow_run,
        attempt,
        _flow_run(flow_run, state, around, attempt),
        around,
        definition_version_id=version_id,
    )


def flow_ended(flow_run: Any, state: Any, around: Surroundings, attempt: int | None = None) -> list[EventBase]:
    """A flow run entered a state other than Running. Context comes first: what follows the end counts as late.

    `attempt` is told where the process knows it: a pause that it waits out raises Prefect's count.
    """
    run = _flow_run(flow_run, state, around, attempt or flow_attempt(flow_run, state))
    return [flow_context(flow_run, run, around), *_failure(run, state), state_event(run, state)]


def flow_retried(
    flow_run: Any, state: Any, error: BaseException | None, around: Surroundings, attempt: int | None = None
) -> list[EventBase]:
    """A flow run is Running again in the process where its attempt before failed: that attempt's end.

    No hook tells of AwaitingRetry. The attempt ended one retry delay before it was tried again, at the latest.
    """
    attempt = attempt or flow_attempt(flow_run, state)
    delay = timedelta(seconds=float(getattr(flow_run.empirical_policy, "retry_delay", None) or 0))
    run = Report(around.deployment, flow_run_id(around.deployment, flow_run.id, attempt - 1), state.timestamp - delay)
    return [*_failure_of(run, error, None), retry_event(run, expected_at=state.timestamp)]


def task_started(task: Any, task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task run entered Running."""
    run = _task_run(task_run, state, around)
    return [
        task_identity(task, task_run, state, around),
        task_context(task_run, run, around),
        *queued(task_run, run, task_attempt(task_run)),
        state_event(run, state),
    ]


def task_identity(task: Any, task_run: Any, state: Any, around: Surroundings) -> IdentityEvent:
    """Return who a task run is."""
    run = _task_run(task_run, state, around)
    return facts.task_identity(str(task.name), task_run, task_attempt(task_run), run, around)


def task_ended(task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task run entered a state other than Running."""
    run = _task_run(task_run, state, around)
    return [task_context(task_run, run, around), *_failure(run, state), state_event(run, state)]


def task_retried(task: Any, task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task's attempt failed and will be tried again; `state` is what `retry_condition_fn` is asked about.

    That state never becomes Prefect's, so its id is not taken: AwaitingRetry or Retrying follows, with its own.
    """
    run = _task_run(task_run, state, around)
    delay = timedelta(seconds=_retry_delay_seconds(task, task_attempt(task_run)))
    return [
        task_context(task_run, run, around),
        *_failure(run, state),
        retry_event(run, expected_at=state.timestamp + delay),
    ]


def flow_definition(flow: Any, state: Any, around: Surroundings) -> DefinitionEvent:
    """Return the version of a flow that this process runs. Which tasks a flow has shows only as they run."""
    commit = around.code.get("commit")
    return DefinitionEvent(
        engine=ENGINE,
        deployment=around.deployment,
        witness=Witness.WORKER,
        occurred_at=state.timestamp.astimezone(UTC),
        definition=str(flow.name),
        definition_kind="flow",
        version=flow_version(flow),
        native_version=str(flow.version) if flow.version else None,
        code_version=str(commit) if commit else None,
        content=known(docs=flow.description),
    )


def flow_version(flow: Any) -> str:
    """Return the hash of what a flow is: its code, as compiled, and its retries and timeout."""
    parts = [str(flow.name), str(flow.retries), str(flow.timeout_seconds), code_digest(flow.fn)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def code_digest(function: Any) -> str:
    """Return a digest of a function's compiled code that does not depend on where its file lies."""
    code = getattr(function, "__code__", None)
    return hashlib.sha256(repr(_code_parts(code)).encode()).hexdigest() if code is not None else repr(function)


def _flow_run(flow_run: Any, state: Any, around: Surroundings, attempt: int) -> Report:
    return Report(around.deployment, flow_run_id(around.deployment, flow_run.id, attempt), state.timestamp)


def _task_run(task_run: Any, state: Any, around: Surroundings) -> Report:
    return Report(
        around.deployment, task_run_id(around.deployment, task_run.id, task_attempt(task_run)), state.timestamp
    )


def _failure(run: Report, state: Any) -> list[EventBase]:
    if canonical_state(state) not in {State.FAILED, State.TIMED_OUT}:
        return []
    # A persisted result wraps the exception.
    data = getattr(state.data, "result", state.data)
    return _failure_of(run, data if isinstance(data, BaseException) else None, state.message)


def _failure_of(run: Report, error: BaseException | None, message: str | None) -> list[EventBase]:
    if error is None:
        return [FailureEvent(**run.fields, content=known(message=message))]
    trace = "".join(traceback.format_exception(error))
    return [
        FailureEvent(
            **run.fields,
            error_type=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
            content={"message": str(error), "traceback": trace},
        )
    ]


def _is_resuming(flow_run: Any) -> bool:
    return bool(getattr(flow_run.empirical_policy, "resuming", False))


def _retry_delay_seconds(task: Any, attempt: int) -> float:
    delay = task.retry_delay_seconds or 0
    if isinstance(delay, (list, tuple)):
        delays = [float(item) for item in delay]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return delays[min(attempt - 1, len(delays) - 1)] if delays else 0
    return float(delay)


def _code_parts(code: Any) -> tuple[Any, ...]:
    constants = tuple(_code_parts(item) if hasattr(item, "co_code") else repr(item) for item in code.co_consts)
    return (code.co_name, code.co_code.hex(), code.co_names, code.co_varnames, constants)
