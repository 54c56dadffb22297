"""Every place where Airflow's versions differ, or where what we need of Airflow is not its public interface.

Nothing here is imported before it is needed: a hook must not pay for what it does not use.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote


def is_runtime_task_instance(task_instance: Any) -> bool:
    """Say whether a task hook was called in the task's own process, which has no metadata database."""
    return hasattr(task_instance, "_ti_context_from_server")


def is_task_process(component: Any) -> bool:
    """Say whether a lifecycle hook's component is a task's process; others hand over a Job."""
    return type(component).__name__ == "TaskRunnerMarker"


def command() -> str:
    """Return which of Airflow's commands this process runs: `scheduler`, `api-server`, `dags-test`, …"""
    words = [word for word in sys.argv[1:3] if not word.startswith("-")]
    if words[:2] == ["dags", "test"]:
        return "dags-test"
    if not words or "api_server" in words[0] or "uvicorn" in sys.argv[0] or "gunicorn" in sys.argv[0]:
        return "api-server"
    return words[0]


def load_task_listeners() -> None:
    """Have Airflow load now what each task's process otherwise loads for itself: its plugins and their listeners.

    A scheduler has loaded them for its own hooks; the task SDK has a manager of its own, kept for the life of a process
    and its forks. An Airflow whose task SDK has none is left as it is.
    """
    with suppress(ImportError):
        from airflow.sdk.listener import get_listener_manager

        get_listener_manager()


def team(task_instance: Any) -> str | None:
    """Return the team whose task this process runs, as Airflow's API told it with the task; None without teams.

    Airflow says so from 3.3 on, where `[core] multi_team` is on. Its scheduler and its REST API name no team.
    """
    context = task_instance._ti_context_from_server
    return getattr(context.dag_run, "team_name", None) if context is not None else None


def settings_overrides() -> dict[str, Any]:
    """Return what Airflow's own configuration says in its section `[runvis]` and no `RUNVIS_` variable says."""
    from airflow.configuration import conf

    section: dict[str, Any] = conf.getsection("runvis") or {}
    return {name: value for name, value in section.items() if value not in (None, "") and _unset(name)}


def _unset(name: str) -> bool:
    return not os.environ.get(f"RUNVIS_{name.upper()}")


def versions() -> dict[str, str]:
    """Return the versions that a reader of the record may want."""
    from airflow import __version__ as airflow

    return {"airflow": airflow, "python": ".".join(map(str, sys.version_info[:3]))}


def dag_run_url(dag_id: str, native_run_id: str) -> str | None:
    """Return where Airflow's UI shows a DAG run; None when Airflow does not know its own address."""
    from airflow.configuration import conf

    # Airflow types the keywords of `get` as unknown.
    base: str = conf.get("api", "base_url", fallback="") or ""  # pyright: ignore[reportUnknownMemberType]
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(native_run_id)}" if base else None


def parameters(task_instance: Any) -> dict[str, Any]:
    """Return the validated parameters of a task; its template context is made by then, so this asks nobody."""
    return dict(task_instance.get_template_context()["params"])


def outlet_events(task_instance: Any) -> Any:
    """Return what a task said of the assets it wrote."""
    return task_instance.get_template_context()["outlet_events"]


def secret_values() -> set[str]:
    """Return the values that Airflow's secrets maskers know: there is one for the core and one for the task SDK."""
    values: set[str] = set()
    for name in ("airflow._shared.secrets_masker", "airflow.sdk._shared.secrets_masker"):
        # A masker that nobody imported knows no secret.
        module = sys.modules.get(f"{name}.secrets_masker") or sys.modules.get(name)
        masker = getattr(module, "_secrets_masker", None)
        if masker is not None:
            values.update(_unescape(pattern) for pattern in masker().patterns)
    return values


def _unescape(pattern: str) -> str:
    """Undo `re.escape`, which is how a masker keeps its values."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


@contextmanager
def reading(orm_object: Any) -> Generator[Any]:
    """Give the object's session, in which nothing is flushed meanwhile; None when the object is detached."""
    from sqlalchemy.orm import object_session

    session = object_session(orm_object)
    if session is None:
        yield None
    else:
        with session.no_autoflush:
            yield session


def task_instance_columns() -> Any:
    """Return the model of a row of the table of task instances."""
    from airflow.models.taskinstance import TaskInstance

    return TaskInstance


def task_reschedules() -> Any:
    """Return the model of a row of the table of a sensor's reschedules."""
    from airflow.models.taskreschedule import TaskReschedule

    return TaskReschedule
