"""From what Airflow's hooks hand over to events; pure: no clock, no I/O, and no import of Airflow.

Objects are read by their attributes alone, so that a hook's argument can be told from a recorded fixture. All functions
are generators: nothing is read before the recorder asks for the first event.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from runvis_airflow.causes import find_cause, find_correlation
from runvis_airflow.identity import DagRunKey, TaskKey, task_native_key, version_id
from runvis_airflow.rows import (
    Source,
    TaskRow,
    belongs_to,
    carried_over,
    first_queued_at,
    task_events,
    task_identity,
)
from runvis_airflow.states import PAUSED, TASK_STATES, asset_dataset, trigger_kind
from runvis_core.model.event import (
    ActionEvent,
    ContextEvent,
    DatasetDeclaredEvent,
    DatasetEvent,
    DefinitionErrorEvent,
    DefinitionEvent,
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
_TASK_TIMEOUT: Final = "AirflowTaskTimeout"


def word(value: Any) -> str:
    """Return a native state, type or rule as Airflow spells it, whether it came as an enum, a string or None."""
    return "none" if value is None else str(getattr(value, "value", value))


def _word_or_none(value: Any) -> str | None:
    return None if value is None else word(value)


def dag_run_key(dag_run: Any) -> DagRunKey:
    """Return what names the attempt of a DAG run; the worker's and the scheduler's object alike."""
    return DagRunKey(dag_run.dag_id, dag_run.run_id, dag_run.start_date, getattr(dag_run, "queued_at", None))


def task_key(task_instance: Any) -> TaskKey:
    """Return what names a try, from the worker's object or from the metadata database's."""
    ti = task_instance
    key = dag_run_key(_dag_run_of(ti))
    map_index = -1 if ti.map_index is None else ti.map_index
    return TaskKey(key, ti.task_id, map_index, ti.try_number)


def task_correlation(ti: Any) -> str | None:
    """Return the correlation id of a task: its DAG run's."""
    return find_correlation(getattr(_dag_run_of(ti), "conf", None), getattr(ti, "context_carrier", None))


def _dag_run_of(ti: Any) -> Any:
    context = getattr(ti, "_ti_context_from_server", None)
    return context.dag_run if context is not None else ti.dag_run


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
        dag_version_id=_word_or_none(ti.dag_version_id),
        correlation_id=task_correlation(ti),
    )
    yield _task_context(ti, source, key, environment=environment, parameters=parameters)
    if not _is_resumed(ti):
        yield source.say(
            StateEvent, ti.start_date, run_id=run_id, state=State.INITIALIZING, native_state=word(ti.state)
        )
    # A resumed task keeps its start_date: a RUNNING of that time would be the one that is known already.
    yield source.say(StateEvent, now, run_id=run_id, state=State.RUNNING, native_state=word(ti.state))
    for asset in _assets(ti.task.inlets):
        yield _dataset(asset, source, key, "read", at=ti.start_date)


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
    yield from _written(ti, source, key, outlet_events, at=ended)
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
        StateEvent, ended, run_id=run_id, state=state, native_state=native, **_given(retry_expected_at=retry)
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
    task, dag, dag_run = ti.task, ti.task.dag, _dag_run_of(ti)
    bundle = getattr(ti, "bundle_instance", None)
    code = _given(
        bundle=getattr(bundle, "name", None),
        bundle_version=getattr(bundle, "version", None),
        path=getattr(dag, "relative_fileloc", None) or getattr(dag, "fileloc", None),
        dag_version_id=_word_or_none(ti.dag_version_id),
    )
    engine_context = _given(
        operator=task.task_type,
        pool=task.pool,
        queue=ti.queue if getattr(ti, "queue", None) else task.queue,
        executor=getattr(task, "executor", None),
        max_tries=ti.max_tries,
        map_index=ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None,
        rendered_map_index=ti.rendered_map_index,
        **_schedule_context(dag_run),
    )
    # The inputs may be large, and don't change: they go with the start only.
    content = {} if parameters is None else _given(conf=dag_run.conf or None, parameters=dict(parameters) or None)
    return source.say(
        ContextEvent,
        ti.start_date,
        run_id=key.uuid(source.deployment),
        code=code,
        environment=_given(host=ti.hostname or None, **environment),
        engine_context=engine_context,
        tags=tuple(sorted(dag.tags or ())),
        owner=task.owner,
        native_url=ti.log_url,
        **({"content": content} if content else {}),
    )


def _schedule_context(dag_run: Any) -> dict[str, Any]:
    return _given(
        run_type=_word_or_none(dag_run.run_type),
        logical_date=_text(dag_run.logical_date),
        data_interval_start=_text(dag_run.data_interval_start),
        data_interval_end=_text(dag_run.data_interval_end),
        run_after=_text(getattr(dag_run, "run_after", None)),
        partition_key=getattr(dag_run, "partition_key", None),
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


def _written(ti: Any, source: Source, key: TaskKey, outlet_events: Any, *, at: datetime) -> Iterator[EventBase]:
    """Say what the task wrote: its declared outlets, and the assets that it made of aliases while it ran."""
    for outlet in ti.task.outlets:
        accessor = outlet_events[outlet] if outlet_events is not None else None
        if getattr(outlet, "uri", None):
            yield _dataset(outlet, source, key, "write", at=at, extra=getattr(accessor, "extra", None))
        for made in getattr(accessor, "asset_alias_events", ()):
            name = made.dest_asset_key
            yield _dataset(name, source, key, "write", at=at, extra=made.extra)


def _assets(declared: Any) -> list[Any]:
    return [asset for asset in declared if getattr(asset, "uri", None)]


def _dataset(
    asset: Any,
    source: Source,
    key: TaskKey | DagRunKey,
    direction: str,
    *,
    at: datetime,
    extra: Any = None,
    native_id: str | None = None,
) -> DatasetEvent:
    namespace, name = asset_dataset(asset.uri, deployment=source.deployment)
    return source.say(
        DatasetEvent,
        at,
        run_id=key.uuid(source.deployment),
        direction=direction,
        namespace=namespace,
        name=name,
        **_given(native_id=native_id),
        **({"content": {"extra": extra}} if extra else {}),
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
        dag_version_id=_word_or_none(ti.dag_version_id),
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
        StateEvent, ended, run_id=run_id, state=State.FAILED, native_state=native, **_given(retry_expected_at=retry)
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


# --- DAG runs, in the scheduler and the API server --------------------------------------------------------------------


def dag_run_running(dag_run: Any, source: Source, *, native_url: str | None) -> Iterator[EventBase]:
    """The scheduler has started a DAG run, for the first time or because it was reopened."""
    key = dag_run_key(dag_run)
    yield from _dag_run_facts(dag_run, source, key, native_url=native_url)
    for asset_event in dag_run.consumed_asset_events:
        at = key.start_date or asset_event.timestamp
        yield _dataset(asset_event, source, key, "read", at=at, extra=asset_event.extra, native_id=str(asset_event.id))
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


_REASONS: Final[Mapping[str, str]] = {
    "task_failure": "a task of the DAG run failed",
    "timed_out": "the DAG run lasted longer than its dagrun_timeout",
    "all_tasks_deadlocked": "no task of the DAG run could run any more, and some had not",
}


def _dag_run_facts(dag_run: Any, source: Source, key: DagRunKey, *, native_url: str | None) -> Iterator[EventBase]:
    at = key.start_date or dag_run.end_date
    run_id = key.uuid(source.deployment)
    yield dag_run_identity(
        key,
        source,
        at=at,
        run_type=_word_or_none(dag_run.run_type),
        triggered_by=_word_or_none(getattr(dag_run, "triggered_by", None)),
        actor=getattr(dag_run, "triggering_user_name", None),
        dag_version_id=_dag_version_id(dag_run),
        correlation=find_correlation(dag_run.conf, getattr(dag_run, "context_carrier", None)),
        cause=find_cause(dag_run.conf, _word_or_none(dag_run.run_type)),
    )
    dag = getattr(dag_run, "dag", None)
    version = getattr(dag_run, "created_dag_version", None)
    yield source.say(
        ContextEvent,
        at,
        run_id=run_id,
        code=_given(
            bundle=getattr(version, "bundle_name", None),
            bundle_version=getattr(dag_run, "bundle_version", None),
            path=getattr(dag, "relative_fileloc", None) or getattr(dag, "fileloc", None),
            dag_version_id=_dag_version_id(dag_run),
        ),
        engine_context=_given(**_schedule_context(dag_run), backfill_id=getattr(dag_run, "backfill_id", None)),
        tags=tuple(sorted(getattr(dag, "tags", None) or ())),
        owner=getattr(dag, "owner", None) or None,
        native_url=native_url,
        content=_given(conf=dag_run.conf or None, parameters=_dag_run_parameters(dag, dag_run.conf or {}) or None),
    )
    if key.start_date is not None:
        times = _given(queued_at=first_queued_at(key), started_at=key.start_date)
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
        **_given(
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


def _dag_version_id(dag_run: Any) -> str | None:
    return _word_or_none(getattr(dag_run, "created_dag_version_id", None))


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


# --- definitions, datasets, broken files ------------------------------------------------------------------------------


def dag_definition(dag_run: Any, source: Source, *, at: datetime) -> Iterator[EventBase]:
    """Say what the DAG looked like when the DAG run was made: its tasks, edges, schedule, owner, docs."""
    dag = getattr(dag_run, "dag", None)
    version_id_ = _dag_version_id(dag_run)
    if dag is None or version_id_ is None:
        return
    version = getattr(dag_run, "created_dag_version", None)
    docs = getattr(dag, "doc_md", None) or getattr(dag, "description", None)
    yield source.say(
        DefinitionEvent,
        at,
        definition=dag.dag_id,
        definition_kind="dag",
        version=version_id_,
        **_given(
            native_version=_text(getattr(version, "version_number", None)),
            code_version=getattr(version, "bundle_version", None),
            schedule=_schedule(dag),
            owner=getattr(dag, "owner", None) or None,
        ),
        tags=tuple(sorted(dag.tags or ())),
        content=_given(structure=structure(dag), docs=docs),
    )


def structure(dag: Any) -> dict[str, Any]:
    """Return a DAG's tasks and the edges between them."""
    tasks = sorted(dag.task_dict.values(), key=lambda task: task.task_id)
    return {
        "tasks": [
            _given(
                id=task.task_id,
                operator=task.task_type,
                trigger_rule=_word_or_none(getattr(task, "trigger_rule", None)),
                mapped=True if getattr(task, "is_mapped", False) else None,
                retries=getattr(task, "retries", None),
                owner=getattr(task, "owner", None),
            )
            for task in tasks
        ],
        "edges": [[task.task_id, after] for task in tasks for after in sorted(task.downstream_task_ids)],
    }


def _schedule(dag: Any) -> str | None:
    timetable = getattr(dag, "timetable", None)
    summary = getattr(timetable, "summary", None)
    return str(summary) if summary else None


def asset_declared(asset: Any, source: Source, *, now: datetime) -> Iterator[EventBase]:
    """A DAG declares an asset."""
    namespace, name = asset_dataset(asset.uri, deployment=source.deployment)
    extra = getattr(asset, "extra", None)
    yield source.say(
        DatasetDeclaredEvent,
        now,
        namespace=namespace,
        name=name,
        **_given(group=getattr(asset, "group", None) or None),
        **({"content": {"extra": dict(extra)}} if extra else {}),
    )


def import_error(filename: str, stacktrace: str, source: Source, *, now: datetime) -> Iterator[EventBase]:
    """A DAG file can't be imported; the same error at the same file is the same fact, at every parse."""
    yield source.say(
        DefinitionErrorEvent,
        now,
        source=str(filename),
        fingerprint=import_error_fingerprint(filename, stacktrace),
        content={"traceback": stacktrace},
    )


def import_error_fingerprint(filename: str, stacktrace: str) -> str:
    """Return what tells one import error from the next."""
    return hashlib.sha256(f"{filename}\0{stacktrace}".encode("utf-8", "replace")).hexdigest()[:32]


# --- small helpers ----------------------------------------------------------------------------------------------------


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)
