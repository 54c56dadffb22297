"""A small history to ask about: a DAG run, a task that fails and is retried, a late word on it, a child elsewhere."""

from __future__ import annotations

from uuid import UUID

from runvis_core.model.event import (
    AliasEvent,
    ArtifactEvent,
    ContextEvent,
    DatasetEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    LogEvent,
    MetricEvent,
    NoteEvent,
    SnapshotEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.identity import definition_version_id
from runvis_core.model.state import Relation, State, TriggerKind, Witness
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make

ETL, LOAD_1, LOAD_2, CHILD = (a_run_id(name) for name in ("etl", "load 1", "load 2", "child"))
TRACE = "0af7651916cd43dd8448eb211c80319c"
SCHEDULER = Witness.SCHEDULER


def a_story() -> list[EventBase]:
    """Return the events of the story, in the order in which they happened."""
    return [*_dag_run(), *_first_try(), *_second_try(), *_child()]


def _dag_run() -> list[EventBase]:
    version = "c0ffee"
    structure = {"tasks": [{"id": "load", "operator": "PythonOperator"}], "edges": []}
    return [
        make(
            DefinitionEvent,
            witness=SCHEDULER,
            definition="etl",
            definition_kind="dag",
            version=version,
            schedule="@daily",
            content={"structure": structure, "docs": "Loads."},
        ),
        make(
            IdentityEvent,
            witness=SCHEDULER,
            run_id=ETL,
            definition="etl",
            definition_kind="dag",
            native_key="dag_run/etl/r1",
            native_id="etl/r1",
            trigger=Trigger(kind=TriggerKind.MANUAL, native="manual"),
            correlation_id=TRACE,
            definition_version_id=definition_version_id(ENGINE, DEPLOYMENT, "etl", version),
            content={"actor": "ann"},
        ),
        make(
            ContextEvent,
            witness=SCHEDULER,
            run_id=ETL,
            tags=("nightly",),
            code={"commit": "abc"},
            content={"conf": {"day": 1}, "parameters": {"rows": [1, 2]}},
        ),
        make(StateEvent, witness=SCHEDULER, run_id=ETL, seconds=1, state=State.RUNNING, native_state="running"),
    ]


def _try(run_id: UUID, attempt: int, seconds: float) -> list[EventBase]:
    return [
        make(
            IdentityEvent,
            run_id=run_id,
            seconds=seconds,
            definition="etl.load",
            definition_kind="task",
            native_key="ti/etl/r1/load",
            native_id="etl/r1/load",
            attempt=attempt,
            parent_run_id=ETL,
        ),
        make(StateEvent, run_id=run_id, seconds=seconds, state=State.RUNNING, native_state="running"),
    ]


def _first_try() -> list[EventBase]:
    return [
        *_try(LOAD_1, 1, 10),
        make(SnapshotEvent, witness=SCHEDULER, run_id=LOAD_1, seconds=20, queued_at=at(5), started_at=at(9)),
        make(StateEvent, witness=SCHEDULER, run_id=LOAD_1, seconds=10.5, state=State.RUNNING, native_state="running"),
        make(
            FailureEvent,
            run_id=LOAD_1,
            seconds=70,
            error_type="ValueError",
            content={"message": "no \x1b[31mrows", "traceback": "Traceback\n  in load"},
        ),
        make(LogEvent, run_id=LOAD_1, seconds=70, counts={"ERROR": 2}, content={"tail": "one\ntwo"}),
        make(StateEvent, run_id=LOAD_1, seconds=70, state=State.FAILED, native_state="up_for_retry"),
        make(NoteEvent, run_id=LOAD_1, seconds=80, content={"text": "again", "author": "ann"}),
        make(
            StateEvent,
            witness=Witness.FOLLOWER,
            run_id=LOAD_1,
            seconds=90,
            state=State.SUCCEEDED,
            native_state="success",
        ),
        make(ContextEvent, witness=Witness.FOLLOWER, run_id=LOAD_1, seconds=91, owner="team"),
    ]


def _second_try() -> list[EventBase]:
    return [
        *_try(LOAD_2, 2, 100),
        make(DatasetEvent, run_id=LOAD_2, seconds=101, direction="read", namespace="s3://raw", name="orders"),
        make(DatasetEvent, run_id=LOAD_2, seconds=102, direction="write", namespace="s3://lake", name="sales"),
        make(
            DatasetEvent,
            run_id=LOAD_2,
            seconds=103,
            direction="write",
            namespace="s3://lake",
            name="sales",
            native_id="7",
        ),
        make(ArtifactEvent, run_id=LOAD_2, seconds=104, name="report", uri="s3://lake/report.html"),
        make(MetricEvent, run_id=LOAD_2, seconds=105, name="rows", value=5),
        make(AliasEvent, run_id=LOAD_2, seconds=106, system="openlineage", native_id="0190aaaa-lineage"),
        make(LinkEvent, run_id=LOAD_2, seconds=110, relation=Relation.CAUSED, target_native_key="dag_run/child/c1"),
    ]


def _child() -> list[EventBase]:
    return [
        make(
            IdentityEvent,
            witness=SCHEDULER,
            run_id=CHILD,
            seconds=120,
            definition="child",
            definition_kind="dag",
            native_key="dag_run/child/c1",
            native_id="child/c1",
            trigger=Trigger(kind=TriggerKind.RUN),
            correlation_id="f" * 32,
        ),
        make(StateEvent, witness=SCHEDULER, run_id=CHILD, seconds=120, state=State.RUNNING, native_state="running"),
    ]
