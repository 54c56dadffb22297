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

ENGINE: Final = "prefect"

STATE_OF_NAME: Final[Mapping[str, State]] = {
    "Scheduled": State.QUEUED,
    "Late": State.QUEUED,
    "AwaitingConcurrencySlot": State.QUEUED,
    "Pending": State.INITIALIZING,
    "Submitting": State.INITIALIZING,
    "InfrastructurePending": State.INITIALIZING,
    "NotReady": State.INITIALIZING,
    "Running": State.RUNNING,
    "Retrying": State.RUNNING,
    # A run that waits for a person, or that is being stopped, has begun and has not ended.
    "Paused": State.RUNNING,
    "Suspended": State.RUNNING,
    "Cancelling": State.RUNNING,
    # It ends the attempt that failed; the next attempt begins with Retrying.
    "AwaitingRetry": State.FAILED,
    "Completed": State.SUCCEEDED,
    "Cached": State.SUCCEEDED,
    # Prefect counts a run whose transaction was undone as completed; the native word says the rest.
    "RolledBack": State.SUCCEEDED,
    "Failed": State.FAILED,
    "Crashed": State.FAILED,
    "TimedOut": State.TIMED_OUT,
    "Cancelled": State.CANCELLED,
}
"""The canonical state of each state that Prefect names itself."""

STATE_OF_TYPE: Final[Mapping[str, State]] = {
    "SCHEDULED": State.QUEUED,
    "PENDING": State.INITIALIZING,
    "RUNNING": State.RUNNING,
    "PAUSED": State.RUNNING,
    "CANCELLING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
"""The same for states that a user named: Prefect keeps their type."""

TYPE_OF_NAME: Final[Mapping[str, str]] = {
    "AwaitingRetry": "SCHEDULED",
    "TimedOut": "FAILED",
}
"""Names that mean something else than their type, and only with this type: a user may use the word otherwise."""


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
    """Return the canonical state of a Prefect state, by its name where Prefect gave it, else by its type."""
    name, kind = str(state.name), type_name(state)
    by_type = STATE_OF_TYPE[kind]
    if name in TYPE_OF_NAME and TYPE_OF_NAME[name] == kind:
        return STATE_OF_NAME[name]
    return by_type


def type_name(state: Any) -> str:
    """Return a state's type as a word, from an enum member or a plain string."""
    return str(getattr(state.type, "value", state.type))


def flow_attempt(flow_run: Any, state: Any) -> int:
    """Return which attempt of a flow run a hook is called for."""
    stale = type_name(state) == "RUNNING" and not _is_resuming(flow_run)
    return max(1, int(flow_run.run_count) + (1 if stale else 0))


def task_attempt(task_run: Any) -> int:
    return max(1, int(task_run.run_count))


def flow_run_id(deployment: str, flow_run: Any, attempt: int) -> UUID:
    return identity.run_id(ENGINE, deployment, ("flow_run", str(flow_run.id), attempt))


def task_run_id(deployment: str, task_run: Any, attempt: int) -> UUID:
    return identity.run_id(ENGINE, deployment, ("task_run", str(task_run.id), attempt))


def flow_started(flow: Any, flow_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A flow run entered Running: who it is, with what it runs, and that it runs."""
    attempt = flow_attempt(flow_run, state)
    version = flow_version(flow)
    run = _Run(around.deployment, flow_run_id(around.deployment, flow_run, attempt), state.timestamp)
    events: list[EventBase] = [
        IdentityEvent(
            **run.fields,
            definition=str(flow.name),
            definition_kind="flow",
            native_key=str(flow_run.id),
            native_id=str(flow_run.id),
            attempt=attempt,
            definition_version_id=identity.definition_version_id(ENGINE, around.deployment, str(flow.name), version),
            **_known(
                trigger=_flow_trigger(flow_run, attempt, around),
                parent_run_id=around.parent_run_id,
                retry_of=flow_run_id(around.deployment, flow_run, attempt - 1) if attempt > 1 else None,
                correlation_id=_correlation_id(flow_run),
            ),
        ),
        flow_context(flow_run, run, around),
    ]
    if attempt == 1 and flow_run.expected_start_time is not None:
        events.append(SnapshotEvent(**run.fields, queued_at=flow_run.expected_start_time))
    return [*events, _state_event(run, state)]


def flow_ended(flow_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A flow run entered a state other than Running. Context comes first: what follows the end counts as late."""
    attempt = flow_attempt(flow_run, state)
    run = _Run(around.deployment, flow_run_id(around.deployment, flow_run, attempt), state.timestamp)
    return [flow_context(flow_run, run, around), *_failure(run, state), _state_event(run, state)]


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
    attempt = task_attempt(task_run)
    run = _Run(around.deployment, task_run_id(around.deployment, task_run, attempt), state.timestamp)
    events: list[EventBase] = [
        IdentityEvent(
            **run.fields,
            definition=task_definition(task, around.flow_name),
            definition_kind="task",
            native_key=str(task_run.id),
            native_id=str(task_run.id),
            attempt=attempt,
            **_known(
                trigger=Trigger(kind=TriggerKind.RETRY) if attempt > 1 else None,
                parent_run_id=_parent_of_task(task_run, around),
                retry_of=task_run_id(around.deployment, task_run, attempt - 1) if attempt > 1 else None,
            ),
        ),
        task_context(task_run, run, around),
    ]
    if attempt == 1 and task_run.expected_start_time is not None:
        events.append(SnapshotEvent(**run.fields, queued_at=task_run.expected_start_time))
    return [*events, _state_event(run, state)]


def task_ended(task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task run entered a state other than Running."""
    run = _Run(around.deployment, task_run_id(around.deployment, task_run, task_attempt(task_run)), state.timestamp)
    return [task_context(task_run, run, around), *_failure(run, state), _state_event(run, state)]


def task_retried(task: Any, task_run: Any, state: Any, around: Surroundings) -> list[EventBase]:
    """A task's attempt failed and will be tried again; `state` is what `retry_condition_fn` is asked about.

    That state never becomes Prefect's, so its id is not taken: AwaitingRetry or Retrying follows, with an id of its own.
    """
    attempt = task_attempt(task_run)
    run = _Run(around.deployment, task_run_id(around.deployment, task_run, attempt), state.timestamp)
    delay = timedelta(seconds=_retry_delay_seconds(task, attempt))
    return [
        task_context(task_run, run, around),
        *_failure(run, state),
        _retry_event(run, expected_at=state.timestamp + delay),
    ]


def definition_of(flow: Any, source: str | None, around: Surroundings, *, at: datetime) -> DefinitionEvent:
    """Return the version of a flow that this process runs. A flow's tasks are known only once they run."""
    code_version = around.code.get("commit")
    return DefinitionEvent(
        engine=ENGINE,
        deployment=around.deployment,
        witness=Witness.WORKER,
        occurred_at=at,
        definition=str(flow.name),
        definition_kind="flow",
        version=flow_version(flow),
        content=_known(docs=flow.description, structure={"source": source} if source else None),
        **_known(
            native_version=str(flow.version) if flow.version else None,
            code_version=str(code_version) if code_version else None,
        ),
    )


def flow_version(flow: Any) -> str:
    """Return the hash of what a flow is: its code, as compiled, and its retries and timeout."""
    parts = [str(flow.name), str(flow.retries), str(flow.timeout_seconds), code_digest(flow.fn)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def code_digest(function: Any) -> str:
    """Return a digest of a function's compiled code that does not depend on where its file lies."""
    code = getattr(function, "__code__", None)
    return hashlib.sha256(repr(_code_parts(code)).encode()).hexdigest() if code is not None else repr(function)


def task_definition(task: Any, flow_name: str | None) -> str:
    return f"{flow_name}.{task.name}" if flow_name else str(task.name)


def flow_context(flow_run: Any, run: _Run, around: Surroundings) -> ContextEvent:
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
        engine_context=_json(_known(**native)),
        tags=tuple(sorted(flow_run.tags)),
        native_url=f"{around.ui_url}/runs/flow-run/{flow_run.id}" if around.ui_url else None,
        content={"parameters": _json(dict(flow_run.parameters))} if flow_run.parameters else {},
    )


def task_context(task_run: Any, run: _Run, around: Surroundings) -> ContextEvent:
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
        engine_context=_json(_known(**native)),
        tags=tuple(sorted(task_run.tags)),
        native_url=f"{around.ui_url}/runs/task-run/{task_run.id}" if around.ui_url else None,
        content={"parameters": _json(dict(around.parameters))} if around.parameters else {},
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What all events of one report about a run share."""

    deployment: str
    run_id: UUID
    at: datetime

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "engine": ENGINE,
            "deployment": self.deployment,
            "run_id": self.run_id,
            "occurred_at": self.at.astimezone(UTC),
            "witness": Witness.WORKER,
        }


def _state_event(run: _Run, state: Any) -> StateEvent:
    return StateEvent(**run.fields, event_id=state.id, state=canonical_state(state), native_state=str(state.name))


def _retry_event(run: _Run, *, expected_at: datetime) -> StateEvent:
    expected_at = expected_at.astimezone(UTC)
    return StateEvent(
        **run.fields, state=State.FAILED, native_state="AwaitingRetry", retry_expected_at=expected_at
    )


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


def _flow_trigger(flow_run: Any, attempt: int, around: Surroundings) -> Trigger:
    creator = str(getattr(flow_run.created_by, "type", "") or "")
    if attempt > 1:
        return Trigger(kind=TriggerKind.RETRY, native=getattr(flow_run.empirical_policy, "retry_type", None))
    if flow_run.auto_scheduled or creator == "SCHEDULE":
        return Trigger(kind=TriggerKind.SCHEDULE, native="SCHEDULE")
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


def _correlation_id(flow_run: Any) -> str | None:
    """Return the trace id of the W3C traceparent that Prefect keeps in a label when it traces."""
    parts = str(flow_run.labels.get("__OTEL_TRACEPARENT", "")).split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


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


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it; what JSON lacks is shown as Python does, cut short."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else repr(value)
    if isinstance(value, datetime):
        return identity.timestamp(value) if value.tzinfo else value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return repr(value)[:1000]
