"""The follower: it reads Airflow's REST API as it goes and tells the store what no hook delivers.

A sweep reads what changed since the sweep before, with an overlap: reports are named by what they say, so that what is
read twice is told once. The watermark is the server's own time at the beginning of a sweep, and it moves only when the
store holds all that the sweep found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from runvis_airflow import history
from runvis_airflow.history import Dag, DagRun, LogEntry, TaskInstance
from runvis_airflow.identity import ENGINE, DagRunKey
from runvis_airflow.rest import AirflowApi, AirflowApiError, part
from runvis_airflow.rows import Source, belongs_to, carried_over
from runvis_core.emit.redaction import Redactor
from runvis_core.errors import StoreError
from runvis_core.model.event import EventBase, LinkEvent
from runvis_core.model.identity import timestamp
from runvis_core.model.state import Relation, Witness
from runvis_core.services.attempts import KnownAttempt, find_attempts
from runvis_core.services.engine_http import StoppedError
from runvis_core.services.paused import note_paused
from runvis_core.services.telling import tell_events
from runvis_core.services.trouble import Trouble
from runvis_core.services.watermark import find_watermark, set_watermark
from runvis_core.settings import Settings

OVERLAP: Final = timedelta(seconds=60)
"""What is read again: a transaction may last, and Airflow's processes don't agree on the time to the second."""
FIRST_LOOK_BACK: Final = timedelta(days=1)
"""How far the first sweep of a deployment reads back."""
WATERMARK: Final = "swept_until"

if TYPE_CHECKING:
    from runvis_core.store.database import Store

R = TypeVar("R", bound=BaseModel)


def follow(url: str, *, store: Store, settings: Settings, stop: threading.Event) -> None:
    """Read the Airflow at `url` into the store until `stop` is set.

    An Airflow or a store that can't be reached, or that answers with nonsense, is said once, and tried again at the
    next interval. Raises `SettingsError` for settings that can't work.
    """
    deployment = settings.airflow.deployment or settings.get_deployment()
    source, redactor = Source(deployment, Witness.FOLLOWER), Redactor(settings.emit.secret_keys)
    trouble = Trouble(ENGINE)
    with AirflowApi(url, settings.airflow, stop) as api:
        while not stop.is_set():
            try:
                Sweep(api, store, source, redactor, trouble).run()
            except StoppedError:
                return
            except (AirflowApiError, StoreError) as error:
                trouble.say(str(error))
            else:
                trouble.over(url)
            stop.wait(settings.airflow.interval_seconds)


class Sweep:
    """One pass over what has changed."""

    def __init__(self, api: AirflowApi, store: Store, source: Source, redactor: Redactor, trouble: Trouble) -> None:
        self._api = api
        self._store = store
        self._source = source
        self._redactor = redactor
        self._trouble = trouble
        self._dag_runs: dict[tuple[str, str], DagRun] = {}
        self._dag_run_timeouts: dict[str, timedelta | None] = {}
        self._task_timeouts: dict[str, dict[str, timedelta]] = {}
        self._is_whole = True

    def run(self) -> None:
        """Tell the store what changed since the watermark, then move the watermark to when this began."""
        begun = self._api.get("/version").date
        since = self._since(begun)
        self._read_dag_runs(since)
        pages = self._api.pages(
            "/dags/~/dagRuns/~/taskInstances", "task_instances", updated_at_gte=timestamp(since), order_by="id"
        )
        for page in pages:
            tasks = list(self._parsed(TaskInstance, page.rows))
            if tasks:
                # After the tasks, so that no try is seen under an attempt of its DAG run that was over before it.
                self._read_dag_runs(max(since, page.date - OVERLAP))
                self._tell(self._told_of_tasks(tasks))
        for page in self._api.pages("/eventLogs", "event_logs", after=timestamp(since), order_by="event_log_id"):
            self._tell(self._told_of_actions([said for said in self._parsed(LogEntry, page.rows) if said.is_action]))
        if self._is_whole:
            deployment = self._source.deployment
            set_watermark(self._store, timestamp(begun), engine=ENGINE, deployment=deployment, key=WATERMARK)
        self._note_paused()

    def _note_paused(self) -> None:
        pages = self._api.pages("/dags", "dags", paused="true", order_by="dag_id")
        names = [dag.dag_id for page in pages for dag in self._parsed(Dag, page.rows)]
        note_paused(self._store, names, engine=ENGINE, deployment=self._source.deployment)

    def _since(self, begun: datetime) -> datetime:
        known = find_watermark(self._store, engine=ENGINE, deployment=self._source.deployment, key=WATERMARK)
        return datetime.fromisoformat(known) - OVERLAP if known else begun - FIRST_LOOK_BACK

    # --- DAG runs ---

    def _read_dag_runs(self, since: datetime) -> None:
        pages = self._api.pages("/dags/~/dagRuns", "dag_runs", updated_at_gte=timestamp(since), order_by="id")
        for page in pages:
            found = list(self._parsed(DagRun, page.rows))
            self._tell(self._told_of_dag_runs(found))

    def _told_of_dag_runs(self, found: list[DagRun]) -> Iterator[EventBase]:
        known = self._attempts(dag_run.key.native_key for dag_run in found)
        for dag_run in found:
            self._dag_runs[dag_run.dag_id, dag_run.dag_run_id] = dag_run
            timed_out = self._has_timed_out(dag_run)
            yield from history.dag_run_events(dag_run, self._source, timed_out=timed_out, base_url=self._api.url)
            waited = _find_waiting(dag_run.key, known.get(dag_run.key.native_key, ()), self._source.deployment)
            if waited is not None and dag_run.start_date is not None:
                yield self._source.say(
                    LinkEvent,
                    dag_run.start_date,
                    run_id=waited,
                    relation=Relation.BECAME,
                    target_run_id=dag_run.key.uuid(self._source.deployment),
                )

    def _dag_run_of(self, task: TaskInstance) -> DagRun | None:
        """Return the DAG run of a task; None if it is gone."""
        place = task.dag_id, task.dag_run_id
        if place not in self._dag_runs:
            answer = self._api.find(f"/dags/{part(task.dag_id)}/dagRuns/{part(task.dag_run_id)}")
            found = list(self._parsed(DagRun, [answer.body] if answer else []))
            if not found:
                return None
            self._tell(self._told_of_dag_runs(found))
        return self._dag_runs[place]

    def _has_timed_out(self, dag_run: DagRun) -> bool:
        if dag_run.state != "failed":
            return False
        dag_id = dag_run.dag_id
        if dag_id not in self._dag_run_timeouts:
            answer = self._api.find(f"/dags/{part(dag_id)}/details")
            self._dag_run_timeouts[dag_id] = history.duration(answer.get("dag_run_timeout")) if answer else None
        return dag_run.lasted(self._dag_run_timeouts[dag_id])

    # --- tasks ---

    def _told_of_tasks(self, tasks: list[TaskInstance]) -> Iterator[EventBase]:
        known = self._attempts(task.native_key for task in tasks)
        for task in tasks:
            dag_run = self._dag_run_of(task)
            # Without a state, what the books hold is still the try before.
            if dag_run is None or task.state is None or _is_waiting(dag_run):
                continue
            attempts = known.get(task.native_key, [])
            yield from self._told_of_try(task, dag_run, attempts)
            if task.try_number > 1 and _lacks_earlier(task, attempts):
                for earlier in self._earlier_tries(task):
                    yield from self._told_of_try(earlier, dag_run, attempts)

    def _told_of_try(self, task: TaskInstance, dag_run: DagRun, attempts: list[KnownAttempt]) -> Iterator[EventBase]:
        timeout = self._task_timeout(task) if task.state == "failed" else None
        was_cleared = history.find_clear(task, self._log_during(task)) is not None
        row = task.row(execution_timeout=timeout, was_cleared=was_cleared)
        if belongs_to(row, dag_run.key):
            timed_out = self._has_timed_out(dag_run)
            yield from history.try_events(task, row, dag_run, self._source, dag_run_timed_out=timed_out)
            return
        link = carried_over(row, dag_run.key, self._source, earlier=None)
        ran = [said for said in attempts if said.attempt == task.try_number and said.first_at < link.occurred_at]
        if ran:
            # The store knows which run it is, and so under which earlier start of the DAG run it ran.
            link = self._source.say(
                LinkEvent,
                link.occurred_at,
                run_id=link.run_id,
                relation=link.relation,
                target_run_id=ran[-1].run_id,
            )
        yield link

    def _earlier_tries(self, task: TaskInstance) -> list[TaskInstance]:
        path = f"/dags/{part(task.dag_id)}/dagRuns/{part(task.dag_run_id)}/taskInstances/{part(task.task_id)}"
        path += f"/{task.map_index}/tries" if task.map_index >= 0 else "/tries"
        answer = self._api.find(path)
        tries = self._parsed(TaskInstance, answer.rows("task_instances") if answer else ())
        return [earlier for earlier in tries if earlier.try_number < task.try_number]

    def _log_during(self, task: TaskInstance) -> list[LogEntry]:
        if not history.may_hide_a_clear(task) or task.start_date is None or task.end_date is None:
            return []
        window = {"after": timestamp(task.start_date), "before": timestamp(task.end_date)}
        pages = self._api.pages("/eventLogs", "event_logs", dag_id=task.dag_id, order_by="event_log_id", **window)
        return [said for page in pages for said in self._parsed(LogEntry, page.rows)]

    def _task_timeout(self, task: TaskInstance) -> timedelta | None:
        if task.dag_id not in self._task_timeouts:
            answer = self._api.find(f"/dags/{part(task.dag_id)}/tasks")
            self._task_timeouts[task.dag_id] = history.execution_timeouts(answer.rows("tasks") if answer else ())
        return self._task_timeouts[task.dag_id].get(task.task_id)

    # --- what persons did ---

    def _told_of_actions(self, log: list[LogEntry]) -> Iterator[EventBase]:
        dag_runs = {said.event_log_id: _dag_run_key(said) for said in log}
        known = self._attempts([*dag_runs.values(), *(key for said in log for key in said.task_keys())])
        for said in log:
            targets = [_find_at(known.get(key, ()), said.when) for key in said.task_keys()]
            found = [run_id for run_id in targets if run_id is not None]
            if not found:
                dag_run = _find_at(known.get(dag_runs[said.event_log_id], ()), said.when)
                found = [dag_run] if dag_run is not None else []
            for run_id in found:
                yield history.action(said, self._source, run_id)

    # ---

    def _attempts(self, native_keys: Iterable[str]) -> dict[str, list[KnownAttempt]]:
        return find_attempts(self._store, native_keys, engine=ENGINE, deployment=self._source.deployment)

    def _parsed(self, kind: type[R], rows: Iterable[Any]) -> Iterator[R]:
        """Yield the rows that can be read. One that can't is said, and keeps the watermark where it is."""
        for row in rows:
            try:
                yield kind.model_validate(row)
            except ValidationError as error:
                self._is_whole = False
                fault = error.errors(include_url=False, include_input=False)[0]
                place = ".".join(str(step) for step in fault["loc"])
                self._trouble.note(
                    f"{self._api.url} gives a {kind.__name__} whose {place or 'form'} can't be read ({fault['msg']}): "
                    "it is asked for again at each sweep; does this RunVis support this version of Airflow?"
                )

    def _tell(self, events: Iterable[EventBase]) -> None:
        tell_events(self._store, list(events), engine="Airflow", redactor=self._redactor, trouble=self._trouble)


def _dag_run_key(said: LogEntry) -> str:
    return DagRunKey(said.dag_id or "", said.dag_run_id or "", None).native_key


def _find_at(attempts: Iterable[KnownAttempt], moment: datetime) -> UUID | None:
    """Return the latest attempt that there was at a moment."""
    there = [said.run_id for said in attempts if said.first_at <= moment and said.became_run_id is None]
    return there[-1] if there else None


def _find_waiting(key: DagRunKey, attempts: Iterable[KnownAttempt], deployment: str) -> UUID | None:
    """Return the provisional run as which this attempt waited, if the store knows it.

    A clear moves the time of queueing, from which the provisional id is made: then it is the last one that waited.
    """
    start = key.start_date
    if start is None:
        return None
    waiting = [
        said.run_id
        for said in attempts
        if said.started_at is None and not said.has_ended and said.became_run_id is None and said.first_at <= start
        if said.run_id != key.uuid(deployment)
    ]
    own = key.waiting_uuid(deployment)
    return own if own in waiting else waiting[-1] if waiting else None


def _is_waiting(dag_run: DagRun) -> bool:
    """Say whether a DAG run has no start by which its tries could be named, and will have one."""
    return dag_run.start_date is None and not dag_run.has_ended


def _lacks_earlier(task: TaskInstance, attempts: Iterable[KnownAttempt]) -> bool:
    ended = {said.attempt for said in attempts if said.has_ended}
    return any(number not in ended for number in range(1, task.try_number))
