"""Pairs of what a real Airflow's hooks handed over, and what that means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.runvis_airflow.raw import OutletEvents, load, load_error

from runvis_airflow.rows import Source
from runvis_airflow.translate import dag_runs, datasets, definitions, tasks
from runvis_core.model.event import EventBase
from runvis_core.model.state import Witness
from runvis_core.testing.adapter_suite import AdapterSuite

FIXTURES = Path(__file__).parents[1] / "fixtures" / "airflow"
ENVIRONMENT = {"pid": 1, "airflow": "3.3.2"}
URL = "http://airflow.example"


def translated(raw: dict[str, Any], deployment: str) -> list[EventBase]:
    """Do what the capture does with the arguments of a hook."""
    now = load(raw["now"])
    worker, books = Source(deployment, Witness.WORKER), Source(deployment, Witness.SCHEDULER)
    hook = raw["hook"]
    if hook.startswith("on_dag_run"):
        view = load(raw["dag_run"])
        if hook == "on_dag_run_running":
            started = dag_runs.dag_run_running(view, books, native_url=URL)
            return [*started, *definitions.dag_definition(view, books, at=now)]
        rows = [
            tasks.task_row(row, execution_timeout=row.execution_timeout, rescheduled=row.rescheduled)
            for row in load(raw["tasks"])
        ]
        timed_out = raw["msg"] == dag_runs.TIMED_OUT_MESSAGE
        ended = dag_runs.dag_run_ended(view, raw["msg"], books, native_url=URL, now=now)
        return [*ended, *dag_runs.dag_run_tasks(view, rows, books, now=now, timed_out=timed_out)]
    if hook == "on_new_dag_import_error":
        return list(definitions.import_error(raw["filename"], raw["stacktrace"], books, now=now))
    if hook == "on_asset_created":
        return list(datasets.asset_declared(load(raw["asset"]), books, now=now))
    return list(_task(raw, load(raw["task_instance"]), worker, books))


def _task(raw: dict[str, Any], ti: Any, worker: Source, books: Source) -> Any:
    now, hook, error = load(raw["now"]), raw["hook"], load_error(raw.get("error"))
    if not hasattr(ti, "_ti_context_from_server"):
        if raw["previous_state"] is None:
            return tasks.task_marked(ti, books, now=now)
        return tasks.task_lost(ti, books, error, now=now)
    if hook == "on_task_instance_running":
        parameters = raw.get("parameters", {})
        return tasks.task_running(ti, worker, now=now, environment=ENVIRONMENT, parameters=parameters)
    if hook == "before_stopping":
        return tasks.task_paused(ti, worker, now=now)
    if hook == "on_task_instance_success":
        said = OutletEvents(raw.get("outlet_events", []))
        return tasks.task_succeeded(ti, worker, now=now, environment=ENVIRONMENT, outlet_events=said)
    if hook == "on_task_instance_skipped":
        return tasks.task_skipped(ti, worker, now=now, environment=ENVIRONMENT)
    return tasks.task_failed(ti, worker, error, now=now, environment=ENVIRONMENT)


class TestAirflow(AdapterSuite):
    engine = "airflow"
    fixtures = FIXTURES

    def translate(self, raw: Any, deployment: str) -> list[EventBase]:
        return translated(raw, deployment)
