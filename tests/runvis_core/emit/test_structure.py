from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.emit.redaction import Redactor
from runvis_core.emit.sealing import MAX_BODY_BYTES, Sealer
from runvis_core.emit.structure import fold_structure
from runvis_core.model.encoding import encode
from runvis_core.model.event import DefinitionEvent
from runvis_core.testing.factories import make


def a_structure(tasks: int, *, named: str = "task_{:05}", secret: str = "") -> dict[str, Any]:
    names = [named.format(number) for number in range(tasks)]
    told = [
        {"id": name, "operator": "PythonOperator", "trigger_rule": "all_success", "owner": f"airflow{secret}"}
        for name in names
    ]
    return {"tasks": told, "edges": [list(pair) for pair in pairwise(names)]}


def sealed(structure: dict[str, Any], redactor: Redactor | None = None) -> dict[str, Any]:
    event = make(
        DefinitionEvent,
        definition="fleet",
        definition_kind="dag",
        version="1",
        content={"structure": structure},
    )
    parcel = Sealer(redactor or Redactor()).seal(event)
    item = orjson.loads(parcel.stamped(b'"sequence":', 0))
    (body,) = item["bodies"].values()
    assert len(body["content"].encode()) <= MAX_BODY_BYTES
    return orjson.loads(body["content"])


def test_what_has_room_is_whole() -> None:
    assert sealed(a_structure(3000)) == a_structure(3000)


@pytest.mark.parametrize("secret", ["", " password=hunter2horse"], ids=["clear", "redacted"])
def test_of_twenty_thousand_tasks_each_is_there(secret: str) -> None:
    said = sealed(a_structure(20_000, secret=secret))
    assert [task["id"] for task in said["tasks"]] == [f"task_{number:05}" for number in range(20_000)]
    assert said["cut"]["tasks"] == 0
    assert len(said["edges"]) + said["cut"]["edges"] == 19_999
    assert "trigger_rule" in said["cut"]["fields"]
    assert "hunter2horse" not in orjson.dumps(said).decode()


def test_operators_stay_where_there_is_room() -> None:
    said = sealed(a_structure(9_000))
    assert said["tasks"][0] == {"id": "task_00000", "operator": "PythonOperator"}
    assert said["cut"] == {"tasks": 0, "edges": 0, "fields": ["trigger_rule", "owner"]}


def test_what_is_no_structure_is_cut_as_any_body_is() -> None:
    assert fold_structure({"tasks": "many"}, 1000) is None
    assert fold_structure([1, 2], 1000) is None
    assert "[cut]" in sealed({"tasks": "x", "more": ["y" * 200] * 9_000})


@given(st.integers(0, 300), st.integers(5_000, 20_000), st.sampled_from(["t{}", "a long name of a task, number {:09}"]))
def test_a_folded_structure_has_room_and_counts_what_it_leaves_out(tasks: int, room: int, named: str) -> None:
    whole = a_structure(tasks, named=named)
    said = fold_structure(whole, room)
    assert said is not None
    assert len(encode(said)) <= room
    assert len(said["tasks"]) + said["cut"]["tasks"] == tasks
    assert len(said["edges"]) + said["cut"]["edges"] == len(whole["edges"])
    assert [task["id"] for task in said["tasks"]] == [task["id"] for task in whole["tasks"]][: len(said["tasks"])]
    assert said["edges"] == whole["edges"][: len(said["edges"])]
    if said["cut"]["tasks"]:
        assert len(said["edges"]) <= 1 or len(encode(said)) + 60 > room - 4096
