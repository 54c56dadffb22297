"""DAG runs, in the scheduler and the API server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from runvis_airflow.causes import find_cause, find_correlation
from runvis_airflow.identity import DagRunKey, task_native_key, version_id
from runvis_airflow.rows import Source, TaskRow, belongs_to, carried_over, first_queued_at, task_events
from runvis_airflow.states import trigger_kind
from runvis_airflow.translate.attributes import (
    dag_run_key,
    dag_version_id_of,
    given,
    schedule_context,
    word,
    word_or_none,
)
from runvis_airflow.translate.datasets import dataset_event
from runvis_core.model.event import (
    ActionEvent,
    ContextEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    NoteEvent,
    SnapshotEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.state import Relation, State, TriggerKind

TIMED_OUT_MESSAGE: Final = "timed_out"
"""The `msg` of a DAG run's failure that its `dagrun_timeout` caused."""
_MANUALLY_SET: Final = "manually set to"
"""What a DAG run's `msg` and a task's error say when a person marked it."""
_REASONS: Final[Mapping[str, str]] = {
    "task_failure": "a task of the DAG run failed",
    "timed_out": "the DAG run lasted longer than its dagrun_timeout",
    "all_tasks_deadlocked": "no task of the DAG run could run any more, and some had not",
}


def dag_run_running(dag_run: Any, source: Source, *, native_url: str | None) -> Iterator[EventBase]:
    """The scheduler has started a DAG run, for the first time or because it was reopened."""
    key = dag_run_key(dag_run)
    yield from _dag_run_facts(dag_run, source, key, native_url=native_url)
    for asset_event in dag_run.consumed_asset_events:
        at = key.start_date or asset_event.timestamp
        event_id = str(asset_event.id)
        yield dataset_event(asset_event, source, key, "read", at=at, extra=asset_event.extra, native_id=event_id)
        yield from _asset_cause(asset_event, source, key, at=at)
    yield source.say(
        StateEvent,
        dag_run.start_date,
        run_id=key.uuid(source.deployment),
        state=State.RUNNING,
        native_state=word(dag_run.state),
    )


def dag_run_ended(
    dag_run: Any, msg: str, source: Source, *, native_url: str | None, now: datetime, announced: bool = False
) -> Iterator[EventBase]:
    """A DAG run has ended, by itself, by its timeout, or because a person marked it.

    `announced` says that the same process has told already what the DAG run is.
    """
    key = dag_run_key(dag_run)
    run_id = key.uuid(source.deployment)
    is_marked = _MANUALLY_SET in msg
    # Of a DAG run that had ended, the end_date is still that of its own end: the mark is of now.
    ended = now if is_marked else dag_run.end_date or now
    native = word(dag_run.state)
    if not announced:
        yield from _dag_run_facts(dag_run, source, key, native_url=native_url)
    if is_marked:
        yield source.say(ActionEvent, ended, run_id=run_id, name=f"marked {native}")
    elif native == "failed":
        yield source.say(
            FailureEvent, ended, run_id=run_id, error_type=msg, content={"message": _REASONS.get(msg, msg)}
        )
    state = State.SUCCEEDED if native == "success" else State.FAILED
    if msg == TIMED_OUT_MESSAGE:
        state = State.TIMED_OUT
    yield source.say(StateEvent, ended, run_id=run_id, state=state, native_state=native)


def _dag_run_facts(dag_run: Any, source: Source, key: DagRunKey, *, native_url: str | None) -> Iterator[EventBase]:
    at = key.start_date or dag_run.end_date
    run_id = key.uuid(source.deployment)
    yield dag_run_identity(
        key,
        source,
        at=at,
        run_type=word_or_none(dag_run.run_type),
        triggered_by=word_or_none(getattr(dag_run, "triggered_by", None)),
        actor=getattr(dag_run, "triggering_user_name", None),
        dag_version_id=dag_version_id_of(dag_run),
        correlation=find_correlation(dag_run.conf, getattr(dag_run, "context_carrier", None)),
        cause=find_cause(dag_run.conf, word_or_none(dag_run.run_type)),
    )
    dag = getattr(dag_run, "dag", None)
    version = getattr(dag_run, "created_dag_version", None)
    yield source.say(
        ContextEvent,
        at,
        run_id=run_id,
        code=given(
            bundle=getattr(version, "bundle_name", None),
            bundle_version=getattr(dag_run, "bundle_version", None),
            path=getattr(dag, "relative_fileloc", None) or getattr(dag, "fileloc", None),
            dag_version_id=dag_version_id_of(dag_run),
        ),
        engine_context=given(**schedule_context(dag_run), backfill_id=getattr(dag_run, "backfill_id", None)),
        tags=tuple(sorted(getattr(dag, "tags", None) or ())),
        owner=getattr(dag, "owner", None) or None,
        native_url=native_url,
        content=given(conf=dag_run.conf or None, parameters=_dag_run_parameters(dag, dag_run.conf or {}) or None),
    )
    if key.start_date is not None:
        times = given(queued_at=first_queued_at(key), started_at=key.start_date)
        yield source.say(SnapshotEvent, key.start_date, run_id=run_id, **times)
    note = getattr(dag_run, "note", None)
    if note:
        yield source.say(NoteEvent, at, run_id=run_id, content={"text": note})


def dag_run_identity(
    key: DagRunKey,
    source: Source,
    *,
    at: datetime,
    run_type: str | None,
    triggered_by: str | None,
    actor: str | None,
    dag_version_id: str | None,
    correlation: str | None = None,
    cause: UUID | None = None,
) -> IdentityEvent:
    """Say what a DAG run is and why it started; a cause that was handed on says more than the API that it came by."""
    kind = TriggerKind.RUN if cause is not None else trigger_kind(triggered_by=triggered_by, run_type=run_type)
    return source.say(
        IdentityEvent,
        at,
        run_id=key.uuid(source.deployment),
        definition=key.dag_id,
        definition_kind="dag",
        native_key=key.native_key,
        native_id=key.native_key,
        trigger=Trigger(kind=kind, native=run_type),
        **given(
            caused_by_run_id=cause,
            correlation_id=correlation,
            definition_version_id=version_id(source.deployment, key.dag_id, dag_version_id),
        ),
        **({"content": {"actor": actor}} if actor else {}),
    )


def _asset_cause(asset_event: Any, source: Source, key: DagRunKey, *, at: datetime) -> Iterator[EventBase]:
    """An asset event let the DAG run start; it names the task that emitted it, not which attempt of it."""
    emitter = (asset_event.source_dag_id, asset_event.source_run_id, asset_event.source_task_id)
    if None in emitter:
        return
    map_index = -1 if asset_event.source_map_index is None else asset_event.source_map_index
    yield source.say(
        LinkEvent,
        at,
        run_id=key.uuid(source.deployment),
        relation=Relation.CAUSED_BY,
        target_native_key=task_native_key(*emitter, map_index),
    )


def _dag_run_parameters(dag: Any, conf: Mapping[str, Any]) -> dict[str, Any]:
    params: Any = getattr(dag, "params", None)
    declared: dict[str, Any] = dict(params.dump()) if hasattr(params, "dump") else dict(params or {})
    return {name: conf.get(name, value) for name, value in declared.items()}


def dag_run_tasks(
    dag_run: Any, rows: Iterable[TaskRow], source: Source, *, now: datetime, timed_out: bool, is_cut: bool = False
) -> Iterator[EventBase]:
    """Say what the books hold of a DAG run's tries when it ends; tries of an earlier attempt are linked, not retold."""
    key = dag_run_key(dag_run)
    for row in rows:
        if belongs_to(row, key):
            yield from task_events(
                row, key, source, now=now, dag_run_ended_at=dag_run.end_date, dag_run_timed_out=timed_out
            )
        else:
            yield carried_over(row, key, source, earlier=None)
    if is_cut:
        yield source.say(
            ContextEvent,
            dag_run.end_date or now,
            run_id=key.uuid(source.deployment),
            engine_context={"tasks_left_to_the_follower": True},
        )
