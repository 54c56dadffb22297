"""Tries: what a task's own process says of itself, and what the scheduler and the API server say of it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from runvis_airflow.identity import DagRunKey, TaskKey
from runvis_airflow.rows import Source, TaskRow, belongs_to, task_events, task_identity
from runvis_airflow.states import PAUSED, TASK_STATES
from runvis_airflow.translate.attributes import (
    dag_run_of,
    given,
    schedule_context,
    task_correlation,
    task_key,
    word,
    word_or_none,
)
from runvis_airflow.translate.datasets import assets_of, dataset_event, datasets_written
from runvis_core.model.event import ActionEvent, ContextEvent, EventBase, FailureEvent, LinkEvent, StateEvent
from runvis_core.model.state import Relation, State

_TASK_TIMEOUT: Final = "AirflowTaskTimeout"

# --- a task's own process ---------------------------------------------------------------------------------------------


def task_running(
    ti: Any, source: Source, *, now: datetime, environment: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Iterator[EventBase]:
    """The worker has imported the DAG file and is about to execute the task, for the first time or resumed."""
    key = task_key(ti)
    run_id = key.uuid(source.deployment)
    yield task_identity(
        key,
        source,
        at=ti.start_date,
        dag_version_id=word_or_none(ti.dag_version_id),
        correlation_id=task_correlation(ti),
    )
    yield _task_context(ti, source, key, environment=environment, parameters=parameters)
    if not _is_resumed(ti):
        yield source.say(
            StateEvent, ti.start_date, run_id=run_id, state=State.INITIALIZING, native_state=word(ti.state)
        )
    # A resumed task keeps its start_date: a RUNNING of that time would be the one that is known already.
    yield source.say(StateEvent, now, run_id=run_id, state=State.RUNNING, native_state=word(ti.state))
    for asset in assets_of(ti.task.inlets):
        yield dataset_event(asset, source, key, "read", at=ti.start_date)


def task_paused(ti: Any, source: Source, *, now: datetime) -> Iterator[EventBase]:
    """The task's process ends, and the task does not: it was deferred, or is to be poked again."""
    if word(ti.state) not in PAUSED:
        return
    key = task_key(ti)
    yield source.say(
        StateEvent, now, run_id=key.uuid(source.deployment), state=State.RUNNING, native_state=word(ti.state)
    )
    yield from _triggered_child(ti, source, key, at=now)


def task_succeeded(
    ti: Any, source: Source, *, now: datetime, environment: Mapping[str, Any], outlet_events: Any
) -> Iterator[EventBase]:
    """The task's code has ended well, and its results are stored."""
    key = task_key(ti)
    ended = ti.end_date or now
    yield from datasets_written(ti, source, key, outlet_events, at=ended)
    yield from _triggered_child(ti, source, key, at=ended)
    yield _task_context(ti, source, key, environment=environment)
    yield source.say(
        StateEvent, ended, run_id=key.uuid(source.deployment), state=State.SUCCEEDED, native_state=word(ti.state)
    )


def task_failed(
    ti: Any, source: Source, error: object, *, now: datetime, environment: Mapping[str, Any]
) -> Iterator[EventBase]:
    """The task's code raised; Airflow tries again when the state says so, and that ends this attempt all the same."""
    key = task_key(ti)
    run_id = key.uuid(source.deployment)
    ended = ti.end_date or now
    if error is not None:
        yield source.say(FailureEvent, ended, run_id=run_id, **_failure(error))
    yield from _triggered_child(ti, source, key, at=ended)
    yield _task_context(ti, source, key, environment=environment)
    native = word(ti.state)
    state = State.TIMED_OUT if type(error).__name__ == _TASK_TIMEOUT else State.FAILED
    retry = _retry_expected_at(ti, ended) if native == "up_for_retry" else None
    yield source.say(
        StateEvent, ended, run_id=run_id, state=state, native_state=native, **given(retry_expected_at=retry)
    )


def task_skipped(ti: Any, source: Source, *, now: datetime, environment: Mapping[str, Any]) -> Iterator[EventBase]:
    """The task's code said that there was nothing to do."""
    key = task_key(ti)
    yield _task_context(ti, source, key, environment=environment)
    ended = ti.end_date or now
    yield source.say(
        StateEvent, ended, run_id=key.uuid(source.deployment), state=State.CANCELLED, native_state=word(ti.state)
    )


def _is_resumed(ti: Any) -> bool:
    context = ti._ti_context_from_server
    return context is not None and bool(context.next_method or context.task_reschedule_count)


def _task_context(
    ti: Any,
    source: Source,
    key: TaskKey,
    *,
    environment: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
) -> ContextEvent:
    task, dag, dag_run = ti.task, ti.task.dag, dag_run_of(ti)
    bundle = getattr(ti, "bundle_instance", None)
    code = given(
        bundle=getattr(bundle, "name", None),
        bundle_version=getattr(bundle, "version", None),
        path=getattr(dag, "relative_fileloc", None) or getattr(dag, "fileloc", None),
        dag_version_id=word_or_none(ti.dag_version_id),
    )
    engine_context = given(
        operator=task.task_type,
        pool=task.pool,
        queue=ti.queue if getattr(ti, "queue", None) else task.queue,
        executor=getattr(task, "executor", None),
        max_tries=ti.max_tries,
        map_index=ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None,
        rendered_map_index=ti.rendered_map_index,
        **schedule_context(dag_run),
    )
    # The inputs may be large, and don't change: they go with the start only.
    content = {} if parameters is None else given(conf=dag_run.conf or None, parameters=dict(parameters) or None)
    return source.say(
        ContextEvent,
        ti.start_date,
        run_id=key.uuid(source.deployment),
        code=code,
        environment=given(host=ti.hostname or None, **environment),
        engine_context=engine_context,
        tags=tuple(sorted(dag.tags or ())),
        owner=task.owner,
        native_url=ti.log_url,
        **({"content": content} if content else {}),
    )


def _triggered_child(ti: Any, source: Source, key: TaskKey, *, at: datetime) -> Iterator[EventBase]:
    """A TriggerDagRunOperator knows the child's run id, once it has made one, and not when it will start."""
    dag_id, native_run_id = getattr(ti.task, "trigger_dag_id", None), getattr(ti.task, "trigger_run_id", None)
    if isinstance(dag_id, str) and isinstance(native_run_id, str):
        yield source.say(
            LinkEvent,
            at,
            run_id=key.uuid(source.deployment),
            relation=Relation.CAUSED,
            target_native_key=DagRunKey(dag_id, native_run_id, None).native_key,
        )


def _failure(error: object) -> dict[str, Any]:
    if isinstance(error, BaseException):
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        text = "".join(traceback.format_exception(error))
        return {"error_type": name, "content": {"message": str(error), "traceback": text}}
    return {"content": {"message": str(error)}}


def _retry_expected_at(ti: Any, ended: datetime) -> datetime | None:
    """Return when Airflow means to try again. With exponential back-off it adds a little that only it knows."""
    task = ti.task
    delay = getattr(task, "retry_delay", None)
    if not isinstance(delay, timedelta):
        return None
    backoff = task.retry_exponential_backoff
    multiplier = 2.0 if backoff is True else float(backoff or 1)
    seconds = delay.total_seconds() * multiplier ** max(ti.try_number - 1, 0)
    longest = getattr(task, "max_retry_delay", None)
    if isinstance(longest, timedelta):
        seconds = min(seconds, longest.total_seconds())
    return ended + timedelta(seconds=seconds)


# --- the metadata database's task instances, in the scheduler and the API server --------------------------------------


def task_row(ti: Any, *, execution_timeout: timedelta | None = None, rescheduled: bool = False) -> TaskRow:
    """Return a try as its row in the metadata database has it."""
    return TaskRow(
        task_id=ti.task_id,
        map_index=ti.map_index,
        try_number=ti.try_number,
        state=word(ti.state),
        start_date=ti.start_date,
        end_date=ti.end_date,
        queued_at=ti.queued_dttm,
        scheduled_at=ti.scheduled_dttm,
        dag_version_id=word_or_none(ti.dag_version_id),
        execution_timeout=execution_timeout,
        rescheduled=rescheduled,
    )


def task_lost(ti: Any, source: Source, error: object, *, now: datetime) -> Iterator[EventBase]:
    """The scheduler gave up on a try whose worker fell silent, or whose executor and state contradict each other.

    `ti.id` may be the next try's already; its number is still the lost one's.
    """
    key = task_key(ti)
    run_id = key.uuid(source.deployment)
    ended = ti.end_date or now
    yield from task_events(task_row(ti), key.dag_run, source, now=now, with_state=False)
    if error is not None:
        yield source.say(FailureEvent, ended, run_id=run_id, **_failure(error))
    native = word(ti.state)
    retry = _retry_expected_at(ti, ended) if native == "up_for_retry" and getattr(ti, "task", None) else None
    yield source.say(
        StateEvent, ended, run_id=run_id, state=State.FAILED, native_state=native, **given(retry_expected_at=retry)
    )


def task_marked(ti: Any, source: Source, *, now: datetime) -> Iterator[EventBase]:
    """A person set a try's state through the UI or the API; the hook does not say who."""
    key = task_key(ti)
    row = task_row(ti)
    if not belongs_to(row, key.dag_run):
        # A try of an earlier attempt of the DAG run, whose start this process can't know: the follower finds it.
        return
    native = word(ti.state)
    # Of a try that had ended, the end_date is still that of its own end: the mark is of now.
    at = now
    yield from task_events(row, key.dag_run, source, now=now, with_state=False)
    yield source.say(ActionEvent, at, run_id=key.uuid(source.deployment), name=f"marked {native}")
    state = TASK_STATES.get(native)
    if state is not None and state.is_terminal:
        yield source.say(StateEvent, at, run_id=key.uuid(source.deployment), state=state, native_state=native)
