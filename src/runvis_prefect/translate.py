"""What Prefect's hooks say, as events. Pure: no Prefect import, no clock, no I/O; objects are read by attribute.

A flow run or task run of Prefect keeps its id over all its attempts; `run_count` tells them apart. Inside a flow's
`on_running` hook that count is still the one from before the attempt (0 in the first, 1 in the second), unless the
run resumes after a suspension, which is no new attempt.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from runvis_core.model import identity
from runvis_core.model.cause import read_labels
from runvis_core.model.event import (
    ContextEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    Json,
    SnapshotEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.state import State, TriggerKind, Witness
from runvis_prefect.causes import ENGINE, find_causes
from runvis_prefect.values import json_object

STATE_OF_TYPE: Final[Mapping[str, State]] = {
    "SCHEDULED": State.QUEUED,
    "PENDING": State.INITIALIZING,
    "RUNNING": State.RUNNING,
    # A run that waits for a person, or that is being stopped, has begun and has not ended.
    "PAUSED": State.RUNNING,
    "CANCELLING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
"""The canonical state by Prefect's type of state. Names are free: users may give their own, and the type holds."""

STATE_OF_NAME: Final[Mapping[tuple[str, str], State]] = {
    # It ends the attempt that failed; the next attempt begins with Retrying.
    ("SCHEDULED", "AwaitingRetry"): State.FAILED,
    ("FAILED", "TimedOut"): State.TIMED_OUT,
    # The run completed and was then undone: nothing of what it did is left.
    ("COMPLETED", "RolledBack"): State.FAILED,
}
"""The states of Prefect whose name says more than their type. No state of Prefect means Finalizing."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process around a run knows and the run itself does not say."""

    deployment: str
    """The name of this installation of Prefect."""
    code: Json = field(default_factory=dict[str, Any])
    environment: Json = field(default_factory=dict[str, Any])
    ui_url: str | None = None
    prefect_deployment: str | None = None
    """The name of the Prefect deployment that the flow run belongs to."""
    parent_run_id: UUID | None = None
    """The attempt of the flow run that the run is a part of."""
    flow_name: str | None = None
    """For a task: the flow that it runs in."""
    parameters: Mapping[str, Any] | None = None
    """For a task: what it was called with."""


def canonical_state(state: Any) -> State:
    """Return the canonical state of a state of Prefect."""
    kind = type_name(state)
    return STATE_OF_NAME.get((kind, str(state.name)), STATE_OF_TYPE[kind])


def type_name(state: Any) -> str:
    """Return a state's type as a word, from an enum member or a plain string."""
    return str(getattr(state.type, "value", state.type))


def flow_attempt(flow_run: Any, state: Any) -> int:
    """Return which attempt of a flow run a hook is called for."""
    stale = type_name(state) == "RUNNING" and not _is_resuming(flow_run)
    return max(1, int(flow_run.run_count) + (1 if stale else 0))


def task_attempt(task_run: Any) -> int:
    """Return which attempt of a task run a hook is called for."""
    return max(1, int(task_run.run_count))


def flow_run_id(deployment: str, flow_run: Any, attempt: int) -> UUID:
    """Return the id of an attempt of a flow run."""
    return identity.run_id(ENGINE, deployment, ("flow_run", str(flow_run.id), attempt))


def task_run_id(deployment: str, task_run: Any, attempt: int) -> UUID:
    """Return the id of an attempt of a task run."""
    return identity.run_id(ENGINE, deployment, ("task_run", str(task_run.id), attempt))


def flow_started(flow: Any, flow_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A flow run entered Running: who it is, with what it runs, and that it runs."""
    run = _flow_run(flow_run, state, around)
    return [
        flow_identity(flow, flow_run, state, around),
        _flow_context(flow_run, run, around),
        *_queued(flow_run, run, flow_attempt(flow_run, state)),
        _state_event(run, state),
    ]


def flow_identity(flow: Any, flow_run: Any, state: Any, around: Surroundings) -> IdentityEvent:
    """Return who a flow run is; of what this process can't know it says nothing."""
    attempt = flow_attempt(flow_run, state)
    version_id = identity.definition_version_id(ENGINE, around.deployment, str(flow.name), flow_version(flow))
    causes = find_causes(flow_run, around.deployment)
    return IdentityEvent(
        **_flow_run(flow_run, state, around).fields,
        definition=str(flow.name),
        definition_kind="flow",
        native_key=str(flow_run.id),
        native_id=str(flow_run.id),
        attempt=attempt,
        definition_version_id=version_id,
        trigger=_flow_trigger(flow_run, attempt),
        **_known(
            parent_run_id=around.parent_run_id,
            retry_of=flow_run_id(around.deployment, flow_run, attempt - 1) if attempt > 1 else None,
            **causes._asdict(),
        ),
    )


def flow_ended(flow_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A flow run entered a state other than Running. Context comes first: what follows the end counts as late."""
    run = _flow_run(flow_run, state, around)
    return [_flow_context(flow_run, run, around), *_failure(run, state), _state_event(run, state)]


def flow_retried(flow_run: Any, state: Any, error: BaseException | None, around: Surroundings) -> list[EventBase]:
    """A flow run is Running again in the process where its attempt before failed: that attempt's end.

    No hook tells of AwaitingRetry. The attempt ended one retry delay before it was tried again, at the latest.
    """
    attempt = flow_attempt(flow_run, state)
    delay = timedelta(seconds=float(getattr(flow_run.empirical_policy, "retry_delay", None) or 0))
    run = _Run(around.deployment, flow_run_id(around.deployment, flow_run, attempt - 1), state.timestamp - delay)
    return [*_failure_of(run, error, None), _retry_event(run, expected_at=state.timestamp)]


def task_started(task: Any, task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task run entered Running."""
    run = _task_run(task_run, state, around)
    return [
        task_identity(task, task_run, state, around),
        _task_context(task_run, run, around),
        *_queued(task_run, run, task_attempt(task_run)),
        _state_event(run, state),
    ]


def task_identity(task: Any, task_run: Any, state: Any, around: Surroundings) -> IdentityEvent:
    """Return who a task run is."""
    attempt = task_attempt(task_run)
    return IdentityEvent(
        **_task_run(task_run, state, around).fields,
        definition=f"{around.flow_name}.{task.name}" if around.flow_name else str(task.name),
        definition_kind="task",
        native_key=str(task_run.id),
        native_id=str(task_run.id),
        attempt=attempt,
        **_known(
            trigger=Trigger(kind=TriggerKind.RETRY) if attempt > 1 else None,
            parent_run_id=_parent_of_task(task_run, around),
            retry_of=task_run_id(around.deployment, task_run, attempt - 1) if attempt > 1 else None,
        ),
    )


def task_ended(task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task run entered a state other than Running."""
    run = _task_run(task_run, state, around)
    return [_task_context(task_run, run, around), *_failure(run, state), _state_event(run, state)]


def task_retried(task: Any, task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task's attempt failed and will be tried again; `state` is what `retry_condition_fn` is asked about.

    That state never becomes Prefect's, so its id is not taken: AwaitingRetry or Retrying follows, with its own.
    """
    run = _task_run(task_run, state, around)
    delay = timedelta(seconds=_retry_delay_seconds(task, task_attempt(task_run)))
    return [
        _task_context(task_run, run, around),
        *_failure(run, state),
        _retry_event(run, expected_at=state.timestamp + delay),
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
        content=_known(docs=flow.description),
    )


def flow_version(flow: Any) -> str:
    """Return the hash of what a flow is: its code, as compiled, and its retries and timeout."""
    parts = [str(flow.name), str(flow.retries), str(flow.timeout_seconds), code_digest(flow.fn)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def code_digest(function: Any) -> str:
    """Return a digest of a function's compiled code that does not depend on where its file lies."""
    code = getattr(function, "__code__", None)
    return hashlib.sha256(repr(_code_parts(code)).encode()).hexdigest() if code is not None else repr(function)


def _flow_context(flow_run: Any, run: _Run, around: Surroundings) -> ContextEvent:
    native = {
        "flow_run_name": flow_run.name,
        "flow_version": flow_run.flow_version,
        "prefect_deployment": around.prefect_deployment,
        "prefect_deployment_id": flow_run.deployment_id,
        "prefect_deployment_version": flow_run.deployment_version,
        "work_pool": flow_run.work_pool_name,
        "work_queue": flow_run.work_queue_name,
        "parent_task_run_id": flow_run.parent_task_run_id,
        "idempotency_key": flow_run.idempotency_key,
        "labels": dict(flow_run.labels) or None,
    }
    return ContextEvent(
        **run.fields,
        code=around.code,
        environment=around.environment,
        engine_context=json_object(_known(**native)),
        tags=tuple(sorted(flow_run.tags)),
        native_url=f"{around.ui_url}/runs/flow-run/{flow_run.id}" if around.ui_url else None,
        content={"parameters": json_object(flow_run.parameters)} if flow_run.parameters else {},
    )


def _task_context(task_run: Any, run: _Run, around: Surroundings) -> ContextEvent:
    native = {
        "task_run_name": task_run.name,
        "task_key": task_run.task_key,
        "dynamic_key": task_run.dynamic_key,
        "task_version": task_run.task_version,
        "cache_key": task_run.state.state_details.cache_key if task_run.state else None,
    }
    return ContextEvent(
        **run.fields,
        code=around.code,
        environment=around.environment,
        engine_context=json_object(_known(**native)),
        tags=tuple(sorted(task_run.tags)),
        native_url=f"{around.ui_url}/runs/task-run/{task_run.id}" if around.ui_url else None,
        content={"parameters": json_object(around.parameters)} if around.parameters else {},
    )


def about(deployment: str, run_id: UUID, at: datetime) -> dict[str, Any]:
    """Return the fields that all events of one report about a run share."""
    return {
        "engine": ENGINE,
        "deployment": deployment,
        "run_id": run_id,
        "occurred_at": at.astimezone(UTC),
        "witness": Witness.WORKER,
    }


@dataclass(frozen=True, slots=True)
class _Run:
    """One report about a run."""

    deployment: str
    run_id: UUID
    at: datetime

    @property
    def fields(self) -> dict[str, Any]:
        return about(self.deployment, self.run_id, self.at)


def _flow_run(flow_run: Any, state: Any, around: Surroundings) -> _Run:
    run_id = flow_run_id(around.deployment, flow_run, flow_attempt(flow_run, state))
    return _Run(around.deployment, run_id, state.timestamp)


def _task_run(task_run: Any, state: Any, around: Surroundings) -> _Run:
    return _Run(around.deployment, task_run_id(around.deployment, task_run, task_attempt(task_run)), state.timestamp)


def _queued(native: Any, run: _Run, attempt: int) -> list[EventBase]:
    """When a run was due. A later attempt's due time is not kept: only the first one's is."""
    if attempt > 1 or native.expected_start_time is None:
        return []
    return [SnapshotEvent(**run.fields, queued_at=native.expected_start_time.astimezone(UTC))]


def _state_event(run: _Run, state: Any) -> StateEvent:
    scheduled = state.state_details.scheduled_time if state.name == "AwaitingRetry" else None
    return StateEvent(
        **run.fields,
        event_id=state.id,
        state=canonical_state(state),
        native_state=str(state.name),
        retry_expected_at=scheduled.astimezone(UTC) if scheduled else None,
    )


def _retry_event(run: _Run, *, expected_at: datetime) -> StateEvent:
    expected_at = expected_at.astimezone(UTC)
    return StateEvent(**run.fields, state=State.FAILED, native_state="AwaitingRetry", retry_expected_at=expected_at)


def _failure(run: _Run, state: Any) -> list[EventBase]:
    if canonical_state(state) not in {State.FAILED, State.TIMED_OUT}:
        return []
    # A persisted result wraps the exception.
    data = getattr(state.data, "result", state.data)
    return _failure_of(run, data if isinstance(data, BaseException) else None, state.message)


def _failure_of(run: _Run, error: BaseException | None, message: str | None) -> list[EventBase]:
    if error is None:
        return [FailureEvent(**run.fields, content=_known(message=message))]
    trace = "".join(traceback.format_exception(error))
    return [
        FailureEvent(
            **run.fields,
            error_type=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
            content={"message": str(error), "traceback": trace},
        )
    ]


def _flow_trigger(flow_run: Any, attempt: int) -> Trigger:
    creator = str(getattr(flow_run.created_by, "type", "") or "")
    if attempt > 1:
        return Trigger(kind=TriggerKind.RETRY, native=getattr(flow_run.empirical_policy, "retry_type", None))
    if flow_run.auto_scheduled or creator == "SCHEDULE":
        return Trigger(kind=TriggerKind.SCHEDULE, native="SCHEDULE")
    if read_labels(flow_run.labels) is not None:
        return Trigger(kind=TriggerKind.RUN, native=creator or None)
    if creator:
        return Trigger(kind=TriggerKind.API, native=creator)
    if flow_run.parent_task_run_id is not None:
        return Trigger(kind=TriggerKind.RUN, native="run_deployment" if flow_run.deployment_id else "subflow")
    if flow_run.deployment_id is not None:
        # By a person in the UI or by a program: Prefect keeps no difference.
        return Trigger(kind=TriggerKind.API)
    return Trigger(kind=TriggerKind.MANUAL)


def _parent_of_task(task_run: Any, around: Surroundings) -> UUID | None:
    if task_run.flow_run_id is None:
        return None
    attempt = max(1, int(task_run.flow_run_run_count))
    return identity.run_id(ENGINE, around.deployment, ("flow_run", str(task_run.flow_run_id), attempt))


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


def _known(**values: Any) -> dict[str, Any]:
    """Return the values that are there; a field that is left out says nothing, None would say "none"."""
    return {key: value for key, value in values.items() if value is not None}
