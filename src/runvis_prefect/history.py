"""From what Prefect's server says to events; pure: no clock, no I/O, no store.

A state has no number of its attempt, and a state-change event has only the count of the attempts that began before it.
`place` tells the attempt from such an event alone where that is certain; `walk` tells it from a run's whole history.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, cast
from uuid import UUID

from runvis_core.emit.current import dataset_name
from runvis_core.model.event import (
    ArtifactEvent,
    ContextEvent,
    DatasetEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    LinkEvent,
)
from runvis_core.model.state import Relation, State, Witness
from runvis_prefect import facts
from runvis_prefect.facts import Report, Surroundings, known
from runvis_prefect.identity import ENGINE, deployment_name, flow_run_id, task_run_id
from runvis_prefect.rows import Artifact, Deployment, FlowRun, PrefectEvent, StateRow, TaskRun, native_id
from runvis_prefect.states import canonical_state
from runvis_prefect.values import json_object

Kind = Literal["flow", "task"]

RESUMING: Final = "Resuming"
AWAITING_RETRY: Final = "AwaitingRetry"
MEDIA_TYPES: Final = {"markdown": "text/markdown", "table": "application/json", "link": "text/markdown"}
_LINK: Final = re.compile(r"\[[^\]]*\]\((?P<uri>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Source:
    """Which installation is told of, and where its pages are."""

    deployment: str
    ui_url: str | None = None

    def run_id(self, kind: Kind, native: UUID, attempt: int) -> UUID:
        """Return RunVis's id of an attempt."""
        return (flow_run_id if kind == "flow" else task_run_id)(self.deployment, native, attempt)

    def report(self, kind: Kind, native: UUID, attempt: int, at: datetime) -> Report:
        """Return a report about an attempt."""
        return Report(self.deployment, self.run_id(kind, native, attempt), at, Witness.FOLLOWER)

    def page(self, kind: Kind, native: UUID) -> str | None:
        """Return the address of a run's own page."""
        return f"{self.ui_url}/runs/{kind}-run/{native}" if self.ui_url else None


class Change(NamedTuple):
    """A run entered a state."""

    kind: Kind
    native_id: UUID
    state: StateRow
    run_count: int
    before: tuple[str | None, str | None]
    """The type and name of the state before, where the event says it."""


class Placed(NamedTuple):
    """A state and the attempt that it belongs to."""

    state: StateRow
    attempt: int
    ends_attempt_before: bool
    """True where a run was tried again with no state in between: this one then says that the one before failed."""


class Caller(NamedTuple):
    """Who called a subflow or started a deployment: an attempt of a flow run, and the task run that stands for it."""

    run_id: UUID
    flow_name: str
    task: TaskRun


def state_change(event: PrefectEvent) -> Change | None:
    """Return the change of state that an event tells; None for any other event.

    Raises pydantic's `ValidationError` for a state that this version can't read.
    """
    if "prefect.state-type" not in event.resource:
        return None
    kind: Kind = "flow" if event.event.startswith("prefect.flow-run.") else "task"
    native = native_id(event.resource_id, f"{kind}-run")
    if native is None:
        return None
    payload = event.payload
    before = _object(payload, "initial_state")
    state = StateRow.model_validate(
        {
            "id": event.id,
            "type": event.resource["prefect.state-type"],
            "name": event.resource.get("prefect.state-name") or "",
            "timestamp": event.resource.get("prefect.state-timestamp") or event.occurred,
            "message": event.resource.get("prefect.state-message") or None,
            "state_details": _object(_object(payload, "validated_state"), "state_details"),
        }
    )
    run_count = int(event.resource.get("prefect.run-count") or 0)
    return Change(kind, native, state, run_count, (before.get("type"), before.get("name")))


def task_run_of(event: PrefectEvent) -> TaskRun:
    """Return the task run that a change of state is about, as the event holds it."""
    said = _object(event.payload, "task_run")
    native = native_id(event.resource_id, "task-run")
    return TaskRun.model_validate(
        {"name": event.resource.get("prefect.resource.name", ""), "task_key": "", "dynamic_key": ""}
        | said
        | {"id": native, "flow_run_id": event.related_uuid("flow-run", "flow-run")}
    )


def flow_run_of(event: PrefectEvent) -> FlowRun:
    """Return the flow run that a change of state is about, as far as the event holds it: for one that is gone."""
    return FlowRun.model_validate(
        {
            "id": native_id(event.resource_id, "flow-run"),
            "name": event.resource.get("prefect.resource.name", ""),
            "flow_id": event.related_uuid("flow", "flow"),
            "run_count": event.resource.get("prefect.run-count") or 0,
            "deployment_id": event.related_uuid("deployment", "deployment"),
        }
    )


def place(change: Change) -> Placed | None:
    """Return the attempt of a change; None where only the run's whole history tells it.

    What waits after an attempt that ended is the next one; after a pause it is still the same. But a pause that the
    flow's process waits out raises Prefect's count all the same.
    """
    state, count = change.state, change.run_count
    if change.kind == "flow" and count > 1:
        return None
    before_type, before_name = change.before
    if state.type not in ("SCHEDULED", "PENDING") or state.name == AWAITING_RETRY or count == 0:
        retried = state.type == "RUNNING" and before_type == "RUNNING" and count > 1
        return Placed(state, max(1, count), retried)
    if RESUMING in (state.name, before_name):
        return Placed(state, count, ends_attempt_before=False)
    if before_type in (None, "SCHEDULED", "PENDING") and before_name != AWAITING_RETRY:
        return None
    return Placed(state, count + 1, ends_attempt_before=False)


def walk(states: Iterable[StateRow]) -> list[Placed]:
    """Return all states of a run with their attempts: a pause ends none."""
    return [placed for placed, _ in _counted(states)]


def attempt_at(states: Iterable[StateRow], count: int) -> int | None:
    """Return the last attempt that had begun when Prefect's count of a run was `count`; None if none had."""
    begun = (said for said in _counted(states) if said[0].state.type == "RUNNING")
    return max((placed.attempt for placed, counted in begun if counted <= count), default=None)


def _counted(states: Iterable[StateRow]) -> Iterator[tuple[Placed, int]]:
    """Yield a run's states in order, with what Prefect's count of the run was then.

    A pause that the process waits out raises that count (a second one does not) and is no attempt. What tries a run
    again in its process doesn't hear of it, and so numbers on from the attempt before; a new process knows the count
    alone, and an attempt that one begins is numbered by it.
    """
    count = attempt = 0
    resuming = False
    before = None
    for state in sorted(states, key=lambda state: (state.timestamp, state.id)):
        was = before.type if before is not None else ""
        retried = False
        here = attempt
        if state.type == "RUNNING":
            count += not resuming
            if not resuming and was != "PAUSED":
                retried = was == "RUNNING"
                in_process = retried or (before is not None and before.name == AWAITING_RETRY)
                attempt = attempt + 1 if in_process else count
            here = attempt
            resuming = was == "PAUSED"
        elif state.type in ("SCHEDULED", "PENDING") and state.name != AWAITING_RETRY:
            resuming = resuming or state.name == RESUMING
            here = attempt if resuming else count + 1
        elif state.type != "PAUSED":
            resuming = False
        yield Placed(state, max(1, here), retried), count
        before = state


def count_of(placed: Iterable[Placed]) -> int:
    """Return how many attempts began, by a run's states."""
    return max((one.attempt for one in placed if one.state.type == "RUNNING"), default=0)


def present_attempt(run: FlowRun | TaskRun, *, resuming: bool = False) -> int:
    """Return the attempt that a run is in by its row, where its history is not at hand."""
    state = run.state
    if state is None or resuming or state.name in (AWAITING_RETRY, RESUMING):
        return max(1, run.run_count)
    return max(1, run.run_count + (1 if state.type in ("SCHEDULED", "PENDING") else 0))


def state_events(kind: Kind, native: UUID, placed: Placed, source: Source) -> Iterator[EventBase]:
    """Say that an attempt entered a state."""
    state = placed.state
    if placed.ends_attempt_before:
        before = source.report(kind, native, placed.attempt - 1, state.timestamp)
        yield facts.retry_event(before, expected_at=state.timestamp)
    yield facts.state_event(source.report(kind, native, placed.attempt, state.timestamp), state)


def failure_events(kind: Kind, native: UUID, placed: Placed, source: Source) -> Iterator[EventBase]:
    """Say why an attempt failed, as far as its state says that: the exception itself only the process knows."""
    state = placed.state
    if canonical_state(state) in (State.FAILED, State.TIMED_OUT) and state.message:
        report = source.report(kind, native, placed.attempt, state.timestamp)
        yield FailureEvent(**report.fields, content={"message": state.message})


def flow_run_events(
    row: FlowRun,
    attempt: int,
    source: Source,
    *,
    at: datetime,
    flow_name: str,
    prefect_deployment: str | None,
    caller: Caller | None,
) -> Iterator[EventBase]:
    """Say who an attempt of a flow run is and with what it runs."""
    report = source.report("flow", row.id, attempt, at)
    around = Surroundings(
        source.deployment,
        ui_url=source.ui_url,
        prefect_deployment=prefect_deployment,
        started_from=deployment_name(flow_name, prefect_deployment) if prefect_deployment else None,
        parent_run_id=caller.run_id if caller and row.deployment_id is None else None,
    )
    creator = row.created_by.display_value if row.created_by else None
    yield facts.flow_identity(
        flow_name,
        row,
        attempt,
        report,
        around,
        content={"actor": creator} if creator else None,
    )
    yield facts.flow_context(row, report, around)
    yield from facts.queued(row, report, attempt)


def task_run_events(
    row: TaskRun, attempt: int, source: Source, *, at: datetime, flow_name: str | None
) -> Iterator[EventBase]:
    """Say who an attempt of a task run is and with what it runs."""
    report = source.report("task", row.id, attempt, at)
    around = Surroundings(source.deployment, ui_url=source.ui_url, flow_name=flow_name)
    yield facts.task_identity(row.task_name, row, attempt, report, around)
    yield facts.task_context(row, report, around)
    yield from facts.queued(row, report, attempt)


def dataset_events(event: PrefectEvent, run_id: UUID, source: Source) -> Iterator[EventBase]:
    """Say that a task wrote an asset, and from which others."""
    report = Report(source.deployment, run_id, event.occurred, Witness.FOLLOWER)
    native = str(event.id)
    by = [related.id for related in event.find_related("asset-materialized-by")]
    assets: list[tuple[Literal["read", "write"], str]] = [
        ("read", related.id) for related in event.find_related("asset") if "://" in related.id
    ]
    if "://" in event.resource_id:
        assets.append(("write", event.resource_id))
    for direction, address in assets:
        namespace, name = dataset_name(address)
        extra = {"materialized_by": ", ".join(by)} if by and direction == "write" else None
        yield DatasetEvent(
            **report.fields,
            direction=direction,
            namespace=namespace,
            name=name,
            native_id=native,
            **known(content={"extra": extra} if extra else None),
        )


def worker_context(event: PrefectEvent, run_id: UUID, source: Source) -> ContextEvent:
    """Say which worker took a flow run."""
    pools = [related.name for related in event.find_related("work-pool")]
    context = known(worker=event.resource.get("prefect.resource.name"), work_pool=next(iter(pools), None))
    report = Report(source.deployment, run_id, event.occurred, Witness.FOLLOWER)
    return ContextEvent(**report.fields, engine_context=context)


def caused_by(event: PrefectEvent, started: UUID, cause: UUID, source: Source) -> LinkEvent:
    """Say which run made an automation start a flow run."""
    report = source.report("flow", started, 1, event.occurred)
    return LinkEvent(**report.fields, relation=Relation.CAUSED_BY, target_run_id=cause)


def artifact_event(artifact: Artifact, run_id: UUID, source: Source) -> ArtifactEvent:
    """Say that a run left an artifact."""
    data = artifact.data if isinstance(artifact.data, str) else json.dumps(artifact.data, sort_keys=True)
    link = _LINK.search(data) if artifact.type == "link" else None
    page = f"{source.ui_url}/artifacts/artifact/{artifact.id}" if source.ui_url else None
    return ArtifactEvent(
        **Report(source.deployment, run_id, artifact.created, Witness.FOLLOWER).fields,
        name=artifact.key or str(artifact.id),
        uri=link["uri"] if link else page,
        digest=f"sha256:{hashlib.sha256(data.encode()).hexdigest()}",
        **known(media_type=MEDIA_TYPES.get(artifact.type or "")),
    )


def deployment_definition(row: Deployment, flow_name: str, source: Source, *, at: datetime) -> DefinitionEvent:
    """Return the version of a deployment: what runs, when, where and with what."""
    schedules = [said.text for said in row.schedules if said.active and said.text]
    content = json_object(
        known(
            entrypoint=row.entrypoint,
            path=row.path,
            work_pool=row.work_pool_name,
            work_queue=row.work_queue_name,
            parameters=row.parameters or None,
            parameter_schema=row.parameter_openapi_schema,
            concurrency_limit=row.concurrency_limit,
            schedules=schedules or None,
            paused=row.paused or None,
        )
    )
    info = row.version_info or {}
    told = json.dumps([content, row.description, row.tags, row.version, info], sort_keys=True)
    commit = info.get("commit_sha")
    return DefinitionEvent(
        engine=ENGINE,
        deployment=source.deployment,
        witness=Witness.FOLLOWER,
        occurred_at=(row.updated or at).astimezone(UTC),
        definition=deployment_name(flow_name, row.name),
        definition_kind="deployment",
        version=hashlib.sha256(told.encode()).hexdigest(),
        parent_definition=flow_name,
        tags=row.tags,
        content=_bodies(structure=content, docs=row.description),
        **known(
            native_version=row.version,
            code_version=commit if isinstance(commit, str) else None,
            schedule="; ".join(schedules) or None,
        ),
    )


def _object(said: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under a key; an empty one where there is none."""
    found: Any = said.get(key)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _bodies(**contents: Any) -> dict[str, Any]:
    return {name: content for name, content in contents.items() if content}
