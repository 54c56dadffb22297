"""What is read of the objects that Airflow's hooks hand over: names, keys, words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from runvis_airflow.causes import find_correlation
from runvis_airflow.identity import DagRunKey, TaskKey


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def word(value: Any) -> str:
    """Return a native state, type or rule as Airflow spells it, whether it came as an enum, a string or None."""
    return "none" if value is None else str(getattr(value, "value", value))


def word_or_none(value: Any) -> str | None:
    """Return such a word, or None where there is none."""
    return None if value is None else word(value)


def text_or_none(value: Any) -> str | None:
    """Return a value as text, a time in ISO 8601."""
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)


def dag_run_key(dag_run: Any) -> DagRunKey:
    """Return what names the attempt of a DAG run; the worker's and the scheduler's object alike."""
    return DagRunKey(dag_run.dag_id, dag_run.run_id, dag_run.start_date, getattr(dag_run, "queued_at", None))


def task_key(task_instance: Any) -> TaskKey:
    """Return what names a try, from the worker's object or from the metadata database's."""
    ti = task_instance
    key = dag_run_key(dag_run_of(ti))
    map_index = -1 if ti.map_index is None else ti.map_index
    return TaskKey(key, ti.task_id, map_index, ti.try_number)


def task_correlation(ti: Any) -> str | None:
    """Return the correlation id of a task: its DAG run's."""
    return find_correlation(getattr(dag_run_of(ti), "conf", None), getattr(ti, "context_carrier", None))


def dag_run_of(ti: Any) -> Any:
    """Return a task's DAG run: the server's word of it in the worker, the row elsewhere."""
    context = getattr(ti, "_ti_context_from_server", None)
    return context.dag_run if context is not None else ti.dag_run


def schedule_context(dag_run: Any) -> dict[str, Any]:
    """Return for which time a DAG run is, and what kind of one."""
    return given(
        run_type=word_or_none(dag_run.run_type),
        logical_date=text_or_none(dag_run.logical_date),
        data_interval_start=text_or_none(dag_run.data_interval_start),
        data_interval_end=text_or_none(dag_run.data_interval_end),
        run_after=text_or_none(getattr(dag_run, "run_after", None)),
        partition_key=getattr(dag_run, "partition_key", None),
    )


def dag_version_id_of(dag_run: Any) -> str | None:
    """Return the id of the version that a DAG run was made with."""
    return word_or_none(getattr(dag_run, "created_dag_version_id", None))
