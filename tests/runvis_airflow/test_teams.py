"""A task's process says of which team its task is, where Airflow tells it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.runvis_airflow.raw import load

from runvis_airflow import compat
from runvis_airflow.capture import Capture
from runvis_core.emit import process
from runvis_core.emit.spool import decode_line

FIXTURE = Path(__file__).parents[1] / "fixtures" / "airflow" / "task_deferred.raw.json"


class TaskRunnerMarker:
    """Airflow's name for the component of a task's process."""


@pytest.fixture
def task_instance() -> Any:
    return load(json.loads(FIXTURE.read_text())["task_instance"])


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without an Airflow in it, a spool of its own, and nobody at the address."""
    for name, value in (("URL", "http://127.0.0.1:9"), ("DEPLOYMENT", "prod"), ("SPOOL_DIR", str(tmp_path / "spool"))):
        monkeypatch.setenv(f"RUNVIS_{name}", value)
    monkeypatch.setattr(process, "_recorders", {})
    for name in ("settings_overrides", "versions"):
        monkeypatch.setattr(compat, name, dict)
    monkeypatch.setattr(compat, "parameters", lambda _: {})


@pytest.mark.parametrize(("told", "said"), [({"team_name": "pay"}, "pay"), ({"team_name": None}, None), ({}, None)])
def test_each_event_of_a_task_names_the_team_that_airflow_named(
    task_instance: Any, told: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    vars(task_instance._ti_context_from_server.dag_run).update(told)
    capture = Capture()
    capture.starting(TaskRunnerMarker())
    capture.task_running(task_instance)
    capture.stopping(TaskRunnerMarker())
    (spool,) = (tmp_path / "spool" / "prod").glob("*.spool")
    items = [decode_line(line) for line in spool.read_bytes().splitlines(keepends=True)]
    events = [json.loads(item)["event"] for item in items if item is not None]
    kinds = {event["kind"] for event in events}
    assert {"producer_opened", "identity", "context", "state", "producer_closed"} <= kinds
    assert {event.get("team") for event in events} == {said}


def test_a_task_that_airflow_s_api_told_nothing_of_is_of_no_team() -> None:
    assert compat.team(SimpleNamespace(_ti_context_from_server=None)) is None
