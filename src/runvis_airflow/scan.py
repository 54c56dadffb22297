"""What the scheduler and the API server read of the metadata database inside a hook: columns, and no more objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import exists, select
from sqlalchemy import inspect as state_of

from runvis_airflow import compat
from runvis_airflow.rows import TaskRow
from runvis_airflow.translate.tasks import task_row

TASKS_AT_MOST: Final = 1000
"""Of a larger DAG run the follower reads the rest: the scheduler's loop waits while a hook reads."""

_COLUMNS: Final = (
    "dag_id", "run_id", "queued_at", "start_date", "end_date", "logical_date", "data_interval_start",
    "data_interval_end", "run_after", "state", "run_type", "triggered_by", "triggering_user_name", "conf",
    "bundle_version", "created_dag_version_id", "partition_key", "backfill_id", "context_carrier",
)  # fmt: skip
_RELATIONS: Final = ("created_dag_version", "dag_run_note", "consumed_asset_events")


@dataclass(frozen=True, slots=True)
class TaskScan:
    """The tries of a DAG run, in the order of the table; `is_cut` where there are more than `TASKS_AT_MOST`."""

    rows: tuple[TaskRow, ...]
    is_cut: bool


def read_dag_run(dag_run: Any) -> Any:
    """Return what the translation reads of a DAG run, so that it can be told later; a detached one lacks relations."""
    view = SimpleNamespace(**{name: getattr(dag_run, name, None) for name in _COLUMNS})
    view.dag = getattr(dag_run, "dag", None)
    with compat.reading(dag_run) as session:
        known = state_of(dag_run).dict
        related = {
            name: getattr(dag_run, name, None) if session is not None else known.get(name) for name in _RELATIONS
        }
        view.created_dag_version = related["created_dag_version"]
        view.note = getattr(related["dag_run_note"], "content", None)
        view.consumed_asset_events = [
            SimpleNamespace(
                id=said.id, uri=said.uri, extra=said.extra, timestamp=said.timestamp,
                source_dag_id=said.source_dag_id, source_run_id=said.source_run_id,
                source_task_id=said.source_task_id, source_map_index=said.source_map_index,
            )
            for said in related["consumed_asset_events"] or ()
        ]  # fmt: skip
    return view


def scan_tasks(dag_run: Any) -> TaskScan:
    """Return a DAG run's tries by one query of the columns needed; an empty scan for a detached DAG run."""
    instance, reschedule = compat.task_instance_columns(), compat.task_reschedules()
    with compat.reading(dag_run) as session:
        if session is None:
            return TaskScan((), is_cut=False)
        query = (
            select(
                instance.task_id, instance.map_index, instance.try_number, instance.state, instance.start_date,
                instance.end_date, instance.queued_dttm, instance.scheduled_dttm, instance.dag_version_id,
                exists().where(reschedule.ti_id == instance.id).label("rescheduled"),
            )
            .where(instance.dag_id == dag_run.dag_id, instance.run_id == dag_run.run_id)
            .limit(TASKS_AT_MOST + 1)
        )  # fmt: skip
        found = session.execute(query).all()
        timeouts = _execution_timeouts(getattr(dag_run, "dag", None))
        rows = tuple(
            task_row(row, execution_timeout=timeouts.get(row.task_id), rescheduled=row.rescheduled)
            for row in found[:TASKS_AT_MOST]
        )
    return TaskScan(rows, is_cut=len(found) > len(rows))


def _execution_timeouts(dag: Any) -> dict[str, timedelta]:
    tasks: dict[str, Any] = getattr(dag, "task_dict", None) or {}
    return {
        task_id: task.execution_timeout
        for task_id, task in tasks.items()
        if isinstance(getattr(task, "execution_timeout", None), timedelta)
    }
