"""Rows and events of Prefect's REST API and websocket, as far as RunVis reads them. What else they hold is ignored."""

from __future__ import annotations

import logging
from datetime import UTC
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

StateType = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED"
]


class Row(BaseModel):
    """What the server says of one thing."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StateDetails(Row):
    """What a state says besides its name."""

    scheduled_time: AwareDatetime | None = None
    cache_key: str | None = None
    child_flow_run_id: UUID | None = None


class StateRow(Row):
    """A state that a run entered."""

    id: UUID
    type: StateType
    name: str
    timestamp: AwareDatetime
    message: str | None = None
    state_details: StateDetails = StateDetails()


class Policy(Row):
    """How a flow run is run again; changes as it goes."""

    resuming: bool | None = False


class CreatedBy(Row):
    """Who made a flow run, where Prefect keeps that."""

    id: UUID | None = None
    type: str | None = None
    display_value: str | None = None


class FlowRun(Row):
    """A flow run, in the state that it is in now."""

    id: UUID
    name: str
    flow_id: UUID
    run_count: int = 0
    state: StateRow | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    labels: dict[str, JsonValue] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    expected_start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    flow_version: str | None = None
    deployment_id: UUID | None = None
    deployment_version: str | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    parent_task_run_id: UUID | None = None
    idempotency_key: str | None = None
    auto_scheduled: bool = False
    created_by: CreatedBy | None = None
    empirical_policy: Policy = Policy()


class TaskRun(Row):
    """A task run, in the state that it is in now or, out of an event, that it was in then."""

    id: UUID
    name: str
    flow_run_id: UUID | None = None
    flow_run_run_count: int = 0
    run_count: int = 0
    task_key: str
    dynamic_key: str
    task_version: str | None = None
    tags: tuple[str, ...] = ()
    expected_start_time: AwareDatetime | None = None
    state: StateRow | None = None

    @property
    def task_name(self) -> str:
        """The task's own name, which Prefect's server keeps only inside of others.

        A run is called after its task and the beginning of its key, unless the user calls it otherwise: then the name
        of the task's function has to do.
        """
        for suffix in (f"-{self.dynamic_key[:3]}", f"-{self.dynamic_key}"):
            if self.name.endswith(suffix) and len(self.name) > len(suffix):
                return self.name.removesuffix(suffix)
        function = self.task_key.rpartition("-")[0] or self.task_key
        return function.rpartition(".")[2]


class Flow(Row):
    """A flow by its id."""

    id: UUID
    name: str


class Schedule(Row):
    """One of a deployment's schedules."""

    active: bool = True
    schedule: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def text(self) -> str | None:
        """The schedule in a line; None where it is of no known kind."""
        said = self.schedule
        zone = f" {said['timezone']}" if said.get("timezone") else ""
        for name, text in (("cron", "{}"), ("rrule", "{}"), ("interval", "every {} s")):
            if said.get(name) is not None:
                return text.format(said[name]) + zone
        return None


class Deployment(Row):
    """A deployment as it is now."""

    id: UUID
    name: str
    flow_id: UUID
    updated: AwareDatetime | None = None
    version: str | None = None
    version_id: UUID | None = None
    version_info: dict[str, JsonValue] | None = None
    description: str | None = None
    entrypoint: str | None = None
    path: str | None = None
    tags: tuple[str, ...] = ()
    paused: bool = False
    schedules: tuple[Schedule, ...] = ()
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    concurrency_limit: int | None = None
    enforce_parameter_schema: bool | None = None
    parameter_openapi_schema: dict[str, JsonValue] | None = None


class Artifact(Row):
    """A persistent output; results of tasks are artifacts without a key."""

    id: UUID
    created: AwareDatetime
    key: str | None = None
    type: str | None = None
    data: JsonValue = None
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


class LogRow(Row):
    """A line of a run's log."""

    name: str
    level: int
    message: str
    timestamp: AwareDatetime

    @property
    def severity(self) -> str:
        """The name of its level."""
        return logging.getLevelName(self.level)

    @property
    def text(self) -> str:
        """The line as a process would have given it, in UTC."""
        at = self.timestamp.astimezone(UTC)
        return f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03} {self.severity} {self.name}: {self.message}"


class Related(Row):
    """A thing that an event names beside the one that it is about."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = Field(alias="prefect.resource.id")
    role: str = Field(alias="prefect.resource.role", default="")
    name: str | None = Field(alias="prefect.resource.name", default=None)


class PrefectEvent(Row):
    """An event, from the websocket or the REST API: both give the same."""

    id: UUID
    occurred: AwareDatetime
    event: str
    resource: dict[str, Any]
    related: tuple[Related, ...] = ()
    payload: dict[str, Any] = Field(default_factory=dict)

    @property
    def resource_id(self) -> str:
        """The id of what it is about."""
        return str(self.resource.get("prefect.resource.id", ""))

    def find_related(self, role: str) -> list[Related]:
        """Return what the event names in a role."""
        return [related for related in self.related if related.role == role]

    def related_uuid(self, role: str, kind: str) -> UUID | None:
        """Return the id of the first thing of a kind in a role."""
        found = (native_id(related.id, kind) for related in self.find_related(role))
        return next((known for known in found if known is not None), None)


def native_id(resource_id: str, kind: str) -> UUID | None:
    """Return the id in `prefect.<kind>.<id>`; None where it is another kind's or no id."""
    prefix = f"prefect.{kind}."
    if not resource_id.startswith(prefix):
        return None
    try:
        return UUID(resource_id.removeprefix(prefix))
    except ValueError:
        return None
