"""What a flow run, a task run and a state of Prefect say by themselves, whoever reads them: a hook or the follower.

Pure: no Prefect import, no clock, no I/O. Objects are read by attribute: Prefect's own, or rows of its REST API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from runvis_core.model.cause import read_labels
from runvis_core.model.event import (
    STARTED_FROM,
    ContextEvent,
    EventBase,
    IdentityEvent,
    Json,
    SnapshotEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.state import State, TriggerKind, Witness
from runvis_prefect.causes import find_causes
from runvis_prefect.identity import ENGINE, flow_run_id, task_run_id
from runvis_prefect.states import canonical_state
from runvis_prefect.values import json_object


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
    started_from: str | None = None
    """The same with the flow's name before it: what that deployment is called as a definition."""
    parent_run_id: UUID | None = None
    """The attempt of the flow run that the run is a part of."""
    flow_name: str | None = None
    """For a task: the flow that it runs in."""
    parameters: Mapping[str, Any] | None = None
    """For a task: what it was called with."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report about a run."""

    deployment: str
    run_id: UUID
    at: datetime
    witness: Witness = Witness.WORKER

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that all events of this report share."""
        return {
            "engine": ENGINE,
            "deployment": self.deployment,
            "run_id": self.run_id,
            "occurred_at": self.at.astimezone(UTC),
            "witness": self.witness,
        }


def flow_identity(
    flow_name: str, flow_run: Any, attempt: int, run: Report, around: Surroundings, **more: Any
) -> IdentityEvent:
    """Say who an attempt of a flow run is; `more` is what only the teller knows."""
    return IdentityEvent(
        **run.fields,
        definition=flow_name,
        definition_kind="flow",
        native_key=str(flow_run.id),
        native_id=str(flow_run.id),
        attempt=attempt,
        trigger=flow_trigger(flow_run, attempt),
        **known(
            parent_run_id=around.parent_run_id,
            retry_of=flow_run_id(around.deployment, flow_run.id, attempt - 1) if attempt > 1 else None,
            **find_causes(flow_run, around.deployment)._asdict(),
            **more,
        ),
    )


def task_identity(task_name: str, task_run: Any, attempt: int, run: Report, around: Surroundings) -> IdentityEvent:
    """Say who an attempt of a task run is."""
    return IdentityEvent(
        **run.fields,
        definition=f"{around.flow_name}.{task_name}" if around.flow_name else task_name,
        definition_kind="task",
        native_key=str(task_run.id),
        native_id=str(task_run.id),
        attempt=attempt,
        **known(
            trigger=Trigger(kind=TriggerKind.RETRY) if attempt > 1 else None,
            parent_run_id=parent_of_task(task_run, around),
            retry_of=task_run_id(around.deployment, task_run.id, attempt - 1) if attempt > 1 else None,
        ),
    )


def flow_context(flow_run: Any, run: Report, around: Surroundings) -> ContextEvent:
    """Say what a flow run runs with, and under what in Prefect."""
    native = {
        "flow_run_name": flow_run.name,
        "flow_version": flow_run.flow_version,
        STARTED_FROM: around.started_from,
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
        engine_context=json_object(known(**native)),
        tags=tuple(sorted(flow_run.tags)),
        native_url=f"{around.ui_url}/runs/flow-run/{flow_run.id}" if around.ui_url else None,
        content={"parameters": json_object(flow_run.parameters)} if flow_run.parameters else {},
    )


def task_context(task_run: Any, run: Report, around: Surroundings) -> ContextEvent:
    """Say what a task run runs with, and under what in Prefect."""
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
        engine_context=json_object(known(**native)),
        tags=tuple(sorted(task_run.tags)),
        native_url=f"{around.ui_url}/runs/task-run/{task_run.id}" if around.ui_url else None,
        content={"parameters": json_object(around.parameters)} if around.parameters else {},
    )


def queued(native: Any, run: Report, attempt: int) -> list[EventBase]:
    """When a run was due. A later attempt's due time is not kept: only the first one's is."""
    if attempt > 1 or native.expected_start_time is None:
        return []
    return [SnapshotEvent(**run.fields, queued_at=native.expected_start_time.astimezone(UTC))]


def state_event(run: Report, state: Any) -> StateEvent:
    """Say that a run entered a state. Prefect's id of the state is the event's: all who tell it tell the same."""
    scheduled = state.state_details.scheduled_time if state.name == "AwaitingRetry" else None
    return StateEvent(
        **run.fields,
        event_id=state.id,
        state=canonical_state(state),
        native_state=str(state.name),
        retry_expected_at=scheduled.astimezone(UTC) if scheduled else None,
    )


def retry_event(run: Report, *, expected_at: datetime) -> StateEvent:
    """Say that an attempt failed and that another one follows, where no state of Prefect says so."""
    expected_at = expected_at.astimezone(UTC)
    return StateEvent(**run.fields, state=State.FAILED, native_state="AwaitingRetry", retry_expected_at=expected_at)


def flow_trigger(flow_run: Any, attempt: int) -> Trigger:
    """Return why an attempt of a flow run started, as far as the flow run itself says so."""
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


def parent_of_task(task_run: Any, around: Surroundings) -> UUID | None:
    """Return the attempt of the flow run that a task run is a part of."""
    if around.parent_run_id is not None:
        return around.parent_run_id
    attempt = int(task_run.flow_run_run_count)
    # Before it runs, a task run has no word of its flow run's attempt.
    return flow_run_id(around.deployment, task_run.flow_run_id, attempt) if task_run.flow_run_id and attempt else None


def known(**values: Any) -> dict[str, Any]:
    """Return the values that are there; a field that is left out says nothing, None would say "none"."""
    return {key: value for key, value in values.items() if value is not None}
