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
