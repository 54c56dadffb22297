"""The link in Airflow's UI. That Airflow shows it is told by the end-to-end tests."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from runvis_airflow.identity import DagRunKey, TaskKey
from runvis_airflow.links import try_url


@pytest.mark.parametrize(
    ("dag_id", "run_id", "task_id", "map_index"),
    [
        ("orders", "scheduled__2026-11-24T00:00:00+00:00", "load", -1),
        ("orders", "a/b%2F?x#y", "group.load", 3),
        ("bestellungen-ü", "..", "load", -1),
    ],
)
def test_a_link_names_the_try_as_the_record_does(dag_id: str, run_id: str, task_id: str, map_index: int) -> None:
    key = SimpleNamespace(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, try_number=2)
    url = try_url("https://runvis.example", "airflow-prod", key)
    recorded = TaskKey(DagRunKey(dag_id, run_id, None), task_id, map_index, 2).native_id
    parts = urlsplit(url)
    assert (parts.netloc, parts.query, parts.fragment) == (
        "runvis.example",
        "engine=airflow&deployment=airflow-prod",
        "",
    )
    assert unquote(parts.path) == f"/runs/{recorded}"


def test_a_link_of_an_airflow_that_names_no_deployment_names_none() -> None:
    key = SimpleNamespace(dag_id="orders", run_id="r1", task_id="load", map_index=-1, try_number=1)
    assert urlsplit(try_url("https://runvis.example", None, key)).query == "engine=airflow"
