"""A history to look at: a DAG that fails and blocks a step, one that went well before, a flow that it started."""

from __future__ import annotations

from uuid import UUID

from runvis_core.model.event import (
    ContextEvent,
    DatasetEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    SnapshotEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.identity import run_id
from runvis_core.model.state import Relation, State, TriggerKind, Witness
from runvis_core.testing.factories import a_run_id, at, make

SCHEDULER = Witness.SCHEDULER
DAY = 86_400
GOOD, BAD, FLOW = a_run_id("shop good"), a_run_id("shop bad"), run_id("prefect", "flows", ("flow", "forecast"))
EXTRACT, STAGE_1, STAGE_2, LOAD = (a_run_id(name) for name in ("extract", "stage 1", "stage 2", "load"))


def _run(run: UUID, name: str, seconds: float, key: str, *, parent: UUID | None = None, attempt: int = 1) -> EventBase:
    return make(
        IdentityEvent,
        witness=SCHEDULER,
        run_id=run,
        seconds=seconds,
        definition=name,
        definition_kind="task" if parent else "dag",
        native_key=key,
        native_id=key,
        attempt=attempt,
        parent_run_id=parent,
        trigger=None if parent else Trigger(kind=TriggerKind.SCHEDULE, native="scheduled"),
    )


def _state(run: UUID, seconds: float, state: State, native: str, witness: Witness = SCHEDULER) -> EventBase:
    return make(StateEvent, witness=witness, run_id=run, seconds=seconds, state=state, native_state=native)


def _task(
    run: UUID, name: str, begun: float, ended: float, state: State, native: str, attempt: int = 1
) -> list[EventBase]:
    return [
        _run(run, f"shop.{name}", begun - 5, f"ti/shop/2/{name}", parent=BAD, attempt=attempt),
        make(
            SnapshotEvent, witness=SCHEDULER, run_id=run, seconds=begun, queued_at=at(begun - 5), started_at=at(begun)
        ),
        _state(run, begun, State.RUNNING, "running"),
        _state(run, ended, state, native),
    ]


def a_shop() -> list[EventBase]:
    """Return the events of the history, in the order in which they happened."""
    return [*_yesterday(), *_today(), *_flow()]


def _yesterday() -> list[EventBase]:
    return [
        _run(GOOD, "shop", -DAY, "dag_run/shop/1"),
        _state(GOOD, 1 - DAY, State.RUNNING, "running"),
        _state(GOOD, 61 - DAY, State.SUCCEEDED, "success"),
    ]


def _today() -> list[EventBase]:
    return [
        _run(BAD, "shop", 0, "dag_run/shop/2"),
        make(
            ContextEvent,
            witness=SCHEDULER,
            run_id=BAD,
            native_url="https://airflow.example/dags/shop/runs/2",
            engine_context={"logical_date": "2026-11-24"},
            content={"conf": {"day": 2}},
        ),
        _state(BAD, 1, State.RUNNING, "running"),
        *_task(EXTRACT, "extract", 10, 40, State.SUCCEEDED, "success"),
        make(DatasetEvent, run_id=EXTRACT, seconds=39, direction="write", namespace="s3://raw", name="orders"),
        *_task(STAGE_1, "stage", 50, 60, State.FAILED, "up_for_retry"),
        *_task(STAGE_2, "stage", 100, 130, State.FAILED, "failed", attempt=2),
        make(
            FailureEvent,
            run_id=STAGE_2,
            seconds=130,
            error_type="ValueError",
            content={"message": "upstream returned 0 rows\nsecond line", "traceback": "Traceback\n  in stage"},
        ),
        _run(LOAD, "shop.load", 131, "ti/shop/2/load", parent=BAD),
        _state(LOAD, 131, State.CANCELLED, "upstream_failed"),
        _state(BAD, 134, State.FAILED, "failed"),
    ]


def _flow() -> list[EventBase]:
    fields = {"engine": "prefect", "deployment": "flows", "run_id": FLOW}
    return [
        make(LinkEvent, run_id=EXTRACT, seconds=41, relation=Relation.CAUSED, target_run_id=FLOW),
        make(
            IdentityEvent,
            seconds=45,
            definition="forecast",
            definition_kind="flow",
            native_key="flow_run/1",
            native_id="flow-run-1",
            caused_by_run_id=EXTRACT,
            trigger=Trigger(kind=TriggerKind.RUN),
            **fields,
        ),
        make(StateEvent, seconds=50, state=State.RUNNING, native_state="Running", **fields),
        make(StateEvent, seconds=80, state=State.SUCCEEDED, native_state="Completed", **fields),
        make(StateEvent, seconds=95, state=State.FAILED, native_state="Crashed", witness=Witness.FOLLOWER, **fields),
    ]
