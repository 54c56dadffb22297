"""What Airflow's books say of DAG runs and tries, whether read by the scheduler's scan or over REST; pure.

A try that no hook told of (an `EmptyOperator`, a skipped branch, `upstream_failed`, a killed worker) is known from here
alone; of all others, the times that only the books hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from runvis_airflow.identity import ENGINE, DagRunKey, TaskKey, version_id
from runvis_airflow.states import DAG_RUN_STATES, TASK_STATES
from runvis_core.model.event import EventBase, IdentityEvent, LinkEvent, SnapshotEvent, StateEvent, Trigger
from runvis_core.model.state import Relation, State, TriggerKind, Witness

E = TypeVar("E", bound=EventBase)

NOT_BEGUN: Final = frozenset({"none", "scheduled", "queued"})
"""States in which the times of start and end are still those of the try before."""


class Source(NamedTuple):
    """Who tells, and of which installation."""

    deployment: str
    witness: Witness

    def say(self, kind: type[E], occurred_at: datetime, **fields: Any) -> E:
        """Return an event of `kind` that this source testifies to."""
        return kind(engine=ENGINE, deployment=self.deployment, witness=self.witness, occurred_at=occurred_at, **fields)


class TaskRow(NamedTuple):
    """A try as a row of Airflow's books."""

    task_id: str
    map_index: int
    try_number: int
    state: str
    start_date: datetime | None
    end_date: datetime | None
    queued_at: datetime | None
    scheduled_at: datetime | None
    dag_version_id: str | None = None
    execution_timeout: timedelta | None = None
    rescheduled: bool = False
    """True when the times are those of the latest poke of a rescheduled sensor."""

    @property
    def placed_at(self) -> datetime | None:
        """A time that tells under which attempt of the DAG run this try ran; the scheduler's own clock first."""
        return self.scheduled_at or self.queued_at or self.end_date or self.start_date


def belongs_to(row: TaskRow, dag_run: DagRunKey) -> bool:
    """Say whether a try ran under this attempt of its DAG run, and was not carried over from an earlier one."""
    return dag_run.start_date is None or row.placed_at is None or row.placed_at >= dag_run.start_date


def task_state(row: TaskRow, *, dag_run_timed_out: bool) -> State | None:
    """Return the state that the books give a try, in RunVis's words; None for a word that this version does not know.

    The books call a task that timed out `failed`, and one that its DAG run's timeout stopped `skipped`. A failed try
    that lasted at least its `execution_timeout` timed out.
    """
    state = TASK_STATES.get(row.state)
    if row.state == "failed" and row.execution_timeout is not None and row.start_date and row.end_date:
        return State.TIMED_OUT if row.end_date - row.start_date >= row.execution_timeout else state
    if row.state == "skipped" and dag_run_timed_out and row.start_date and row.end_date is None:
        return State.TIMED_OUT
    return state


def task_events(
    row: TaskRow,
    dag_run: DagRunKey,
    source: Source,
    *,
    now: datetime,
    dag_run_ended_at: datetime | None = None,
    dag_run_timed_out: bool = False,
    with_state: bool = True,
) -> Iterator[EventBase]:
    """Say what a row tells of a try that ran under this attempt of its DAG run.

    Without its state where the same hook delivers the transition itself.
    """
    key = TaskKey(dag_run, row.task_id, row.map_index, row.try_number)
    # A try that the scheduler skipped or failed by its upstreams has number 0 and a start, and never began.
    began = None if row.state in NOT_BEGUN or row.try_number == 0 else row.start_date
    queued = row.scheduled_at or row.queued_at
    if row.rescheduled or (queued and began and queued > began):
        # Of a later segment of the same try: a deferral's or a poke's.
        queued = None
    placed = began or row.placed_at or dag_run.start_date or now
    yield task_identity(key, source, at=placed, dag_version_id=row.dag_version_id)
    state = task_state(row, dag_run_timed_out=dag_run_timed_out) if with_state else None
    ended = (row.end_date or dag_run_ended_at) if state is not None and state.is_terminal else None
    yield source.say(
        SnapshotEvent,
        ended or placed,
        run_id=key.uuid(source.deployment),
        native_state=row.state,
        **_given(queued_at=queued, started_at=None if row.rescheduled else began, ended_at=ended, state=state),
    )


def task_identity(
    key: TaskKey, source: Source, *, at: datetime, dag_version_id: str | None, correlation_id: str | None = None
) -> IdentityEvent:
    """Say what a try is. Airflow counts a try that never began as number 0."""
    known: dict[str, Any] = {"correlation_id": correlation_id} if correlation_id else {}
    if key.try_number > 1:
        known["trigger"] = Trigger(kind=TriggerKind.RETRY)
    return source.say(
        IdentityEvent,
        at,
        run_id=key.uuid(source.deployment),
        definition=key.definition,
        definition_kind="task",
        native_key=key.native_key,
        native_id=key.native_id,
        attempt=key.try_number,
        parent_run_id=key.dag_run.uuid(source.deployment),
        **_given(definition_version_id=version_id(source.deployment, key.dag_run.dag_id, dag_version_id)),
        **known,
    )


def carried_over(row: TaskRow, dag_run: DagRunKey, source: Source, *, earlier: DagRunKey | None) -> LinkEvent:
    """Say that a reopened DAG run keeps a try which ran under an earlier attempt of it.

    The try is named by its id where that earlier attempt is known, else by its native key.
    """
    if dag_run.start_date is None:
        raise ValueError(f"{dag_run.native_key} waits: what it will carry over is not settled")
    key = TaskKey(earlier or dag_run, row.task_id, row.map_index, row.try_number)
    target: dict[str, Any] = (
        {"target_run_id": key.uuid(source.deployment)} if earlier else {"target_native_key": key.native_key}
    )
    return source.say(
        LinkEvent,
        dag_run.start_date,
        run_id=dag_run.uuid(source.deployment),
        relation=Relation.CARRIED_OVER,
        **target,
    )


def dag_run_snapshot(
    key: DagRunKey, source: Source, *, state: str, ended_at: datetime | None, timed_out: bool, now: datetime
) -> EventBase:
    """Say where the books see a DAG run; one that waits is Queued under its provisional id."""
    known = DAG_RUN_STATES.get(state)
    if key.start_date is None:
        at = key.queued_at or now
        return source.say(
            StateEvent, at, run_id=key.uuid(source.deployment), state=known or State.QUEUED, native_state=state
        )
    if timed_out:
        known = State.TIMED_OUT
    ended = ended_at if known is not None and known.is_terminal else None
    return source.say(
        SnapshotEvent,
        ended or key.start_date,
        run_id=key.uuid(source.deployment),
        started_at=key.start_date,
        native_state=state,
        **_given(queued_at=first_queued_at(key), ended_at=ended, state=known),
    )


def first_queued_at(key: DagRunKey) -> datetime | None:
    """Return when the DAG run was queued; None when it was queued anew while it ran, by the clearing of a task."""
    if key.queued_at and key.start_date and key.queued_at > key.start_date:
        return None
    return key.queued_at


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
