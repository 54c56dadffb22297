"""From what Airflow's REST API says to events; pure: no clock, no I/O, no store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from runvis_airflow.causes import find_cause, find_correlation
from runvis_airflow.identity import DagRunKey, TaskKey, task_native_key
from runvis_airflow.rows import Source, TaskRow, dag_run_snapshot, task_events
from runvis_airflow.translate.dag_runs import dag_run_identity
from runvis_core.model.event import ActionEvent, ContextEvent, EventBase

CLEARS: Final = frozenset({"post_clear_task_instances", "clear_dag_run", "post_clear_dag_run"})
"""What the audit log calls it when somebody clears something."""
ENDED: Final = frozenset({"success", "failed"})
_CLEAR_TAKES: Final = timedelta(seconds=10)
"""How long after the audit log's word a task that was taken along may still count as running."""
_DURATION: Final = TypeAdapter(timedelta)


class _Rest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Version(_Rest):
    """A version of a DAG."""

    id: str


class Dag(_Rest):
    """A DAG as the list of DAGs has it."""

    dag_id: str


class DagRun(_Rest):
    """A DAG run as the API has it."""

    dag_id: str
    dag_run_id: str
    state: str
    run_type: str | None = None
    triggered_by: str | None = None
    triggering_user_name: str | None = None
    queued_at: AwareDatetime | None = None
    start_date: AwareDatetime | None = None
    end_date: AwareDatetime | None = None
    run_after: AwareDatetime | None = None
    logical_date: AwareDatetime | None = None
    data_interval_start: AwareDatetime | None = None
    data_interval_end: AwareDatetime | None = None
    partition_key: str | None = None
    bundle_version: str | None = None
    conf: dict[str, JsonValue] | None = None
    dag_versions: tuple[Version, ...] = ()

    @property
    def key(self) -> DagRunKey:
        """What names the attempt that the DAG run is in now."""
        return DagRunKey(self.dag_id, self.dag_run_id, self.start_date, self.queued_at)

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self.state in ENDED

    @property
    def first_at(self) -> datetime | None:
        """When this attempt began or, as long as it waits, began to wait."""
        return self.start_date or self.queued_at or self.run_after

    def lasted(self, timeout: timedelta | None) -> bool:
        """Say whether it failed after at least this long: the API does not say that it timed out."""
        if timeout is None or self.state != "failed" or self.start_date is None or self.end_date is None:
            return False
        return self.end_date - self.start_date >= timeout


class TaskInstance(_Rest):
    """A try as the API has it, the current one or an earlier one."""

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int = -1
    try_number: int
    state: str | None = None
    start_date: AwareDatetime | None = None
    end_date: AwareDatetime | None = None
    queued_when: AwareDatetime | None = None
    scheduled_when: AwareDatetime | None = None
    max_tries: int | None = None
    hostname: str | None = None
    pool: str | None = None
    queue: str | None = None
    operator: str | None = None
    rendered_map_index: str | None = None
    dag_version: Version | None = None

    @property
    def native_key(self) -> str:
        """The key that all tries of the task instance share."""
        return task_native_key(self.dag_id, self.dag_run_id, self.task_id, self.map_index)

    def under(self, dag_run: DagRunKey) -> TaskKey:
        """Return what names this try under an attempt of its DAG run."""
        return TaskKey(dag_run, self.task_id, self.map_index, self.try_number)

    def row(self, *, execution_timeout: timedelta | None = None, was_cleared: bool = False) -> TaskRow:
        """Return the try as the scheduler's scan has it; the books call one that was cleared while it ran `failed`."""
        return TaskRow(
            task_id=self.task_id,
            map_index=self.map_index,
            try_number=self.try_number,
            state="restarting" if was_cleared else self.state or "none",
            start_date=self.start_date,
            end_date=self.end_date,
            queued_at=self.queued_when,
            scheduled_at=self.scheduled_when,
            dag_version_id=self.dag_version.id if self.dag_version else None,
            execution_timeout=execution_timeout,
            rescheduled=self.state == "up_for_reschedule",
        )


class LogEntry(_Rest):
    """A line of the audit log."""

    event_log_id: int
    when: AwareDatetime
    event: str
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    owner: str | None = None
    extra: str | None = None

    @property
    def said(self) -> Mapping[str, Any]:
        """What was asked for; empty where the log holds no object."""
        try:
            said: Any = json.loads(self.extra or "{}")
        except ValueError:
            return {}
        return cast("dict[str, Any]", said) if isinstance(said, dict) else {}

    @property
    def dag_run_id(self) -> str | None:
        """The DAG run that it is about."""
        named = self.run_id or self.said.get("dag_run_id")
        return named if isinstance(named, str) else None

    @property
    def is_action(self) -> bool:
        """Whether somebody did something to a DAG run that was there, by the UI or the API."""
        is_made = self.event == "trigger_dag_run"  # The DAG run itself says who made it.
        return bool(self.dag_id and self.dag_run_id and "method" in self.said and not is_made)

    def task_keys(self) -> list[str]:
        """Return the native keys of the task instances that it names; none where it is about the DAG run."""
        if self.dag_id is None or self.dag_run_id is None:
            return []
        return [task_native_key(self.dag_id, self.dag_run_id, *named) for named in self._named()]

    def _named(self) -> Iterator[tuple[str, int]]:
        if self.task_id is not None:
            yield self.task_id, -1 if self.map_index is None else self.map_index
        listed: Any = self.said.get("task_ids")
        for named in cast("list[Any]", listed) if isinstance(listed, list) else []:
            match named:
                case str():
                    yield named, -1
                case [str() as task_id, int() as map_index]:
                    yield task_id, map_index
                case _:
                    continue

    def names(self, task_id: str) -> bool:
        """Whether it is about a task by name, or about all."""
        named = {name for name, _ in self._named()}
        return not named or task_id in named


def dag_run_events(dag_run: DagRun, source: Source, *, timed_out: bool, base_url: str) -> Iterator[EventBase]:
    """Say what a DAG run is and where it stands."""
    key = dag_run.key
    first = dag_run.first_at
    if first is None:
        return
    yield dag_run_identity(
        key,
        source,
        at=first,
        run_type=dag_run.run_type,
        triggered_by=dag_run.triggered_by,
        actor=dag_run.triggering_user_name,
        dag_version_id=dag_run.dag_versions[0].id if dag_run.dag_versions else None,
        correlation=find_correlation(dag_run.conf, None),
        cause=find_cause(dag_run.conf, dag_run.run_type),
    )
    schedule = {
        "run_type": dag_run.run_type,
        "logical_date": _text(dag_run.logical_date),
        "data_interval_start": _text(dag_run.data_interval_start),
        "data_interval_end": _text(dag_run.data_interval_end),
        "run_after": _text(dag_run.run_after),
        "partition_key": dag_run.partition_key,
    }
    yield source.say(
        ContextEvent,
        first,
        run_id=key.uuid(source.deployment),
        code=_given(bundle_version=dag_run.bundle_version),
        engine_context=_given(**schedule),
        native_url=f"{base_url}/dags/{dag_run.dag_id}/runs/{quote(dag_run.dag_run_id)}",
        content=_given(conf=dag_run.conf or None),
    )
    yield dag_run_snapshot(key, source, state=dag_run.state, ended_at=dag_run.end_date, timed_out=timed_out, now=first)


def try_events(
    task: TaskInstance, row: TaskRow, dag_run: DagRun, source: Source, *, dag_run_timed_out: bool
) -> Iterator[EventBase]:
    """Say what the books hold of a try that ran under the DAG run's present attempt."""
    first = dag_run.first_at
    if first is None:
        return
    yield from task_events(
        row,
        dag_run.key,
        source,
        now=first,
        dag_run_ended_at=dag_run.end_date if dag_run.has_ended else None,
        dag_run_timed_out=dag_run_timed_out,
    )
    yield source.say(
        ContextEvent,
        row.start_date or row.placed_at or first,
        run_id=task.under(dag_run.key).uuid(source.deployment),
        environment=_given(host=task.hostname or None),
        engine_context=_given(
            operator=task.operator,
            pool=task.pool,
            queue=task.queue,
            max_tries=task.max_tries,
            map_index=task.map_index if task.map_index >= 0 else None,
            rendered_map_index=task.rendered_map_index,
        ),
    )


def may_hide_a_clear(task: TaskInstance) -> bool:
    """Say whether a try may have been cleared while it ran: the books only say that it failed, or is to be retried."""
    return task.state in ("failed", "up_for_retry") and task.start_date is not None and task.end_date is not None


def find_clear(task: TaskInstance, log: Iterable[LogEntry]) -> LogEntry | None:
    """Return the clear that ended a try while it ran.

    A clear may take along tasks that it does not name (those downstream): then their ends follow it at once.
    """
    start, end = task.start_date, task.end_date
    if not may_hide_a_clear(task) or start is None or end is None:
        return None
    for said in log:
        is_there = said.event in CLEARS and said.dag_id == task.dag_id and said.dag_run_id in (None, task.dag_run_id)
        if is_there and start <= said.when <= end:
            took_along = any(said.said.get(f"include_{way}") for way in ("downstream", "upstream"))
            if said.names(task.task_id) or (took_along and end - said.when <= _CLEAR_TAKES):
                return said
    return None


def action(said: LogEntry, source: Source, run_id: Any) -> ActionEvent:
    """Say who did what to a run."""
    return source.say(
        ActionEvent,
        said.when,
        run_id=run_id,
        name=said.event,
        native_id=str(said.event_log_id),
        content=_given(actor=said.owner, detail=dict(said.said) or None),
    )


def execution_timeouts(tasks: Iterable[Any]) -> dict[str, timedelta]:
    """Return how long tasks may run, by their names; those that may run for ever are left out."""
    found: dict[str, timedelta] = {}
    for task in tasks:
        timeout = duration(task.get("execution_timeout"))
        if timeout is not None:
            found[task["task_id"]] = timeout
    return found


def duration(value: Any) -> timedelta | None:
    """Return a length of time as the API spells one: an ISO 8601 duration, or an object of days and seconds."""
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value)
        try:
            return timedelta(**{name: parts.get(name, 0) for name in ("days", "seconds", "microseconds")})
        except TypeError:
            return None
    try:
        return None if value is None else _DURATION.validate_python(value)
    except ValidationError:
        return None


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
