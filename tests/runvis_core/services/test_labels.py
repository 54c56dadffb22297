from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from runvis_airflow.identity import DagRunKey, TaskKey
from runvis_core.services.labels import name_run

DAG_RUN = DagRunKey("etl", "scheduled__2026-11-24T07:00:00+00:00", datetime(2026, 11, 24, 7, tzinfo=UTC))


@pytest.mark.parametrize(
    ("task_id", "map_index", "label"),
    [
        ("load", 3, "etl.load[3]"),
        ("load", 0, "etl.load[0]"),
        ("load", -1, "etl.load"),
        ("group.load", 12, "etl.group.load[12]"),
        ("50%/2F", 1, "etl.50%/2F[1]"),
    ],
    ids=["mapped", "the first", "not mapped", "in a group", "strange signs"],
)
def test_a_mapped_task_of_airflow_has_its_index(task_id: str, map_index: int, label: str) -> None:
    key = TaskKey(DAG_RUN, task_id, map_index, 1)
    assert name_run(SimpleNamespace(definition=key.definition, native_id=key.native_id)) == label


@pytest.mark.parametrize(
    ("definition", "native_id", "label"),
    [
        ("flow.load", "0b9c1c9e-8f6e-4d2c-9d1a-0d5a2f3c4b5a", "flow.load"),
        ("shop", "shop/2026/11/24", "shop"),
        ("overload", "x/load/3/1", "overload"),
        ("etl", None, "etl"),
        (None, "etl/r1/load/3/1", None),
    ],
    ids=["Prefect's id", "a date", "part of a name", "no id", "no name"],
)
def test_no_other_id_is_taken_for_one(definition: str | None, native_id: str | None, label: str | None) -> None:
    assert name_run(SimpleNamespace(definition=definition, native_id=native_id)) == label
