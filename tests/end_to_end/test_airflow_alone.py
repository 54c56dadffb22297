"""Airflow with no deployment around it: `airflow dags test`, and one whose RunVis is broken or has no address."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.end_to_end.airflow_deployment import AirflowDeployment
from tests.end_to_end.history import History

from runvis_core.model.state import State, TriggerKind, Witness

pytestmark = pytest.mark.timeout(600)

OTHER_PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
class Other(AirflowPlugin):
    name = "other"
"""
ASK_FOR_PLUGINS = """
import json
from airflow.plugins_manager import _get_plugins
plugins, errors = _get_plugins()
print(json.dumps({"listeners": {plugin.name: len(plugin.listeners) for plugin in plugins}, "errors": errors}))
"""
SCAN_A_LARGE_DAG_RUN = """
import json, sys
from sqlalchemy import create_engine, event, insert
from sqlalchemy.orm import Session
from airflow.models import import_all_models
from airflow.models.base import Base
import_all_models()
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.types import DagRunType
from airflow._shared.timezones.timezone import utcnow
from runvis_airflow.scan import scan_tasks
from runvis_airflow.identity import DagRunKey
from uuid import uuid4

engine, sent = create_engine("sqlite://"), []
Base.metadata.create_all(engine)
now, number = utcnow(), int(sys.argv[1])
with Session(engine) as session:
    session.add(DagRun(dag_id="large", run_id="r", run_type=DagRunType.MANUAL, start_date=now, run_after=now))
    session.commit()
    task = {"id": None, "dag_id": "large", "run_id": "r", "task_id": "member", "try_number": 1, "max_tries": 0,
            "hostname": "", "unixname": "", "pool": "default_pool", "pool_slots": 1, "state": "success",
            "start_date": now, "end_date": now, "context_carrier": {}, "span_status": "ended"}
    known = set(TaskInstance.__table__.columns.keys())
    rows = [{name: value for name, value in task.items() if name in known} | {"id": uuid4(), "map_index": index}
            for index in range(number)]
    session.execute(insert(TaskInstance), rows)
    session.commit()
    dag_run = session.query(DagRun).one()
    event.listen(engine, "before_cursor_execute", lambda *said: sent.append(said[2]))
    scan = scan_tasks(dag_run)
print(json.dumps({"read": len(scan.rows), "is_cut": scan.is_cut, "queries": len(sent),
                  "distinct": len({row.map_index for row in scan.rows})}))
"""


BEGIN_AS_A_SCHEDULER = """
import json, os, sys
sys.argv = ["airflow", "scheduler"]
from airflow.jobs.job import Job
from airflow.sdk.listener import get_listener_manager
Job()
is_loaded = get_listener_manager.cache_info().currsize
listeners = [type(listener).__name__ for listener in get_listener_manager().pm.get_plugins()]
is_spooling = os.path.exists(os.environ["RUNVIS_SPOOL_DIR"])
print(json.dumps({"is_loaded": is_loaded, "listeners": listeners, "is_spooling": is_spooling}))
"""


def test_a_scheduler_loads_the_listeners_of_its_tasks_once_and_leaves_no_trace(tmp_path: Path) -> None:
    airflow = AirflowDeployment(tmp_path / "airflow")
    recording = {
        "RUNVIS_URL": "http://127.0.0.1:9",
        "RUNVIS_DEPLOYMENT": "small",
        "RUNVIS_SPOOL_DIR": str(tmp_path / "spool"),
    }
    done = subprocess.run(
        [str(airflow.python), "-c", BEGIN_AS_A_SCHEDULER],
        env=airflow.env | recording,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"is_loaded": 1, "listeners": ["RunVisListener"], "is_spooling": False}


def test_dags_test_is_recorded_though_no_scheduler_is_there(tmp_path: Path) -> None:
    history = History(tmp_path / "runvis")
    airflow = AirflowDeployment(tmp_path / "airflow")
    with history:
        airflow.env |= history.engine_env("laptop")
        airflow.airflow("db", "migrate")
        airflow.airflow("dags", "test", "plain")
        (run,) = history.wait_for("plain", lambda run: run.effective_state is State.SUCCEEDED)
        assert run.trigger is not None
        assert (run.trigger.kind, run.trigger.actor) == (TriggerKind.MANUAL, "dag_test")
        assert {child.definition for child in run.tree.children} == {"plain.extract", "plain.load", "plain.done"}
        (task,) = history.wait_for("plain.extract", lambda task: task.effective_state is State.SUCCEEDED)
        assert task.witnesses == [Witness.WORKER]
        assert task.parameters == {"region": "eu", "password": "[redacted]"}


def test_an_airflow_without_an_address_records_nothing_and_writes_nothing(tmp_path: Path) -> None:
    airflow = AirflowDeployment(tmp_path / "airflow", env={"RUNVIS_SPOOL_DIR": str(tmp_path / "spool")})
    airflow.airflow("db", "migrate")
    airflow.airflow("dags", "test", "skipping")
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("broken", [True, False])
def test_a_runvis_that_cannot_be_imported_costs_airflow_nothing_else(tmp_path: Path, broken: bool) -> None:
    airflow = AirflowDeployment(tmp_path / "airflow")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "other.py").write_text(OTHER_PLUGIN)
    env = airflow.env | {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)}
    if broken:
        package = tmp_path / "shadow" / "runvis_core"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('broken on purpose')")
        env["PYTHONPATH"] = os.fspath(package.parent)
    done = subprocess.run(
        [str(airflow.python), "-c", ASK_FOR_PLUGINS], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"listeners": {"other": 0, "runvis": 0 if broken else 1}, "errors": {}}
    assert ("broken on purpose" in done.stdout + done.stderr) == broken


@pytest.mark.parametrize(("tasks", "read", "is_cut"), [(1000, 1000, False), (1500, 1000, True)])
def test_of_a_large_dag_run_a_hook_reads_a_thousand_tasks_in_one_query(
    tmp_path: Path, tasks: int, read: int, is_cut: bool
) -> None:
    airflow = AirflowDeployment(tmp_path / "airflow")
    command = [str(airflow.python), "-c", SCAN_A_LARGE_DAG_RUN, str(tasks)]
    done = subprocess.run(command, env=airflow.env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"read": read, "is_cut": is_cut, "queries": 1, "distinct": read}


def test_a_deployment_on_sqlite_is_recorded_as_well(tmp_path: Path) -> None:
    history = History(tmp_path / "runvis")
    airflow = AirflowDeployment(tmp_path / "airflow")
    with history:
        airflow.env |= history.engine_env("small")
        with airflow:
            airflow.wait_for_dags("plain", "failing")
            for dag_id in ("plain", "failing"):
                airflow.client.wait_for_run(dag_id, airflow.client.trigger(dag_id))
            (good,) = history.wait_for("plain", lambda run: run.effective_state is State.SUCCEEDED)
            (bad,) = history.wait_for("failing", lambda run: run.effective_state is State.FAILED)
            (blocked,) = history.runs("failing.after")
        assert blocked.native_state == "upstream_failed"
        assert blocked.parent_run_id == bad.run_id
        assert {child.definition for child in good.tree.children} == {"plain.extract", "plain.load", "plain.done"}
        assert "UNEXPECTED COMMIT" not in airflow.log("scheduler", lines=100_000)
