from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from runvis_core.model.event import AliasEvent, DatasetEvent, DefinitionEvent, EventBase
from runvis_core.model.state import State
from runvis_core.services.filters import RunFilter
from runvis_core.services.runs import list_runs
from runvis_core.services.search import search
from runvis_core.services.search_answers import Match
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, TRACE, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def found_runs(store: Store, query: str, match: Match) -> list[UUID]:
    return [hit.run.run_id for hit in search(store, query).items if hit.run is not None and hit.match is match]


@pytest.mark.parametrize("name", [str(LOAD_2), str(LOAD_2).upper(), LOAD_2.hex, f"  {LOAD_2}\n", "0190aaaa-lineage"])
def test_a_whole_id_goes_straight_to_its_run(store: Store, record: Record, name: str) -> None:
    record(store, a_story())
    found = search(store, name)
    assert found.exact is not None
    assert found.exact.run_id == LOAD_2
    assert found.items == []


def test_a_native_id_is_exact_and_its_beginning_is_not(store: Store, record: Record) -> None:
    record(store, a_story())
    exact = search(store, "etl/r1").exact
    assert exact is not None
    assert exact.run_id == ETL
    assert search(store, "etl/r").exact is None
    assert ETL in found_runs(store, "etl/r", Match.ID)


def test_the_beginning_of_an_id_finds_the_run(store: Store, record: Record) -> None:
    record(store, a_story())
    assert found_runs(store, str(CHILD)[:9], Match.ID) == [CHILD]
    assert found_runs(store, str(CHILD)[:5], Match.ID) == []


def test_a_correlation_id_finds_its_runs(store: Store, record: Record) -> None:
    record(store, a_story())
    assert found_runs(store, TRACE, Match.CORRELATION) == [ETL]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dags/etl/runs/r1", ETL),
        ("/dags/etl/runs/r1/?tab=code", ETL),
        ("/ui/runs/flow-run/5b9c3a28-a213-4c20-ae0a-2785b6a5ccc4", a_run_id("flow")),
        ("/dags/a%20b/runs/x%2By", a_run_id("spaced")),
    ],
)
def test_an_address_of_an_engines_page_finds_its_run(store: Store, record: Record, path: str, expected: UUID) -> None:
    record(store, a_story())
    record(store, a_run("flow", begins=0))
    record(store, a_run("spaced", begins=0, key="k"))
    alias = {"system": "prefect", "native_id": "5b9c3a28-a213-4c20-ae0a-2785b6a5ccc4"}
    spaced = make(AliasEvent, run_id=a_run_id("spaced"), system="airflow", native_id="a b/x+y")
    record(store, [make(AliasEvent, run_id=a_run_id("flow"), **alias), spaced])
    assert found_runs(store, f"https://engine.example{path}", Match.URL) == [expected]


def test_an_address_of_a_definitions_page_finds_the_definition(store: Store, record: Record) -> None:
    record(store, a_story())
    hits = search(store, "http://engine.example/dags/etl").items
    assert [hit.definition.definition for hit in hits if hit.definition] == ["etl"]


def test_definitions_code_and_datasets_are_found_by_their_beginnings(store: Store, record: Record) -> None:
    record(store, a_story())
    code = {"definition": "etl", "definition_kind": "dag", "version": "2", "code_version": "5d2f00aa"}
    record(store, [make(DefinitionEvent, **code)])
    writes = [make(DatasetEvent, run_id=CHILD, seconds=n, direction="write", namespace=f"s{n}", name="sales_eu")
              for n in range(3)]  # fmt: skip
    record(store, writes)
    assert [hit.definition.definition for hit in search(store, "etl").items if hit.definition] == ["etl", "etl.load"]
    (by_code,) = [hit for hit in search(store, "5d2f").items if hit.match is Match.CODE]
    assert by_code.definition is not None
    assert by_code.definition.code_version == "5d2f00aa"
    named = [hit.dataset.name for hit in search(store, "sale").items if hit.dataset]
    assert named == ["sales", "sales_eu", "sales_eu", "sales_eu"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("s3://shop/forecast", ["s3://shop forecast", "s3://shop forecast_eu"]),
        ("shop/forecast", ["s3://shop forecast", "s3://shop forecast_eu"]),
        ("s3://user:word@shop/forecast", ["s3://shop forecast", "s3://shop forecast_eu"]),
        ("s3://shop/forecast_", ["s3://shop forecast_eu"]),
        ("hop/forecast", []),
        ("s3://shop/raw/2026/plan", ["s3://shop raw/2026/plan"]),
        ("raw/2026/plan", ["s3://shop raw/2026/plan"]),
        ("file:///data/in", ["file /data/in"]),
        ("/data/in", ["file /data/in"]),
        ("s3://shop/", []),
    ],
)
def test_a_dataset_is_found_by_its_address(store: Store, record: Record, query: str, names: list[str]) -> None:
    record(store, a_story())
    told = [("s3://shop", "forecast"), ("s3://shop", "forecast_eu"), ("s3://other", "forecast"),
            ("s3://shop", "raw/2026/plan"), ("file", "/data/in")]  # fmt: skip
    writes = [
        make(DatasetEvent, run_id=CHILD, seconds=second, direction="write", namespace=namespace, name=name)
        for second, (namespace, name) in enumerate(told)
    ]
    record(store, writes)
    found = search(store, query).items
    assert [f"{hit.dataset.namespace} {hit.dataset.name}" for hit in found if hit.dataset] == names


def test_an_address_finds_its_dataset_however_many_have_its_name(store: Store, record: Record) -> None:
    record(store, a_story())
    writes = [make(DatasetEvent, run_id=CHILD, seconds=n, direction="write", namespace=f"s3://{n:03}", name="raw")
              for n in range(70)]  # fmt: skip
    record(store, writes)
    (hit,) = search(store, "s3://069/raw").items
    assert hit.dataset is not None
    assert hit.dataset.namespace == "s3://069"


def test_an_error_is_found_by_its_words_newest_first(store: Store, record: Record) -> None:
    for number in range(3):
        record(store, a_run(f"bad {number}", begins=number, state=State.FAILED))
    record(store, a_run("good", begins=9))
    newest_first = [a_run_id(f"bad {number}") for number in (2, 1, 0)]
    for query in ("upstream returned", "RowsError", "rows RETURNED upst", "0 rows"):
        assert found_runs(store, query, Match.ERROR) == newest_first
    for query in ("upstream exploded", "turned", "look there"):
        assert found_runs(store, query, Match.ERROR) == []
    (hit, *_) = search(store, "upstream").items
    assert hit.error == "shop.RowsError: upstream returned 0 rows"


def test_a_list_of_runs_is_narrowed_by_the_words_of_errors_and_by_the_parent(store: Store, record: Record) -> None:
    record(store, a_story())
    record(store, a_run("bad", begins=500, state=State.FAILED, inside="etl"))

    def ids(**filters: Any) -> list[UUID]:
        return [run.run_id for run in list_runs(store, RunFilter(**filters), limit=9, now=datetime.now(UTC)).items]

    assert ids(text="upstream ret") == [a_run_id("bad")]
    assert ids(text="ret upstream") == []
    assert ids(text="%") == []
    assert ids(parent=str(ETL)) == [a_run_id("bad"), LOAD_2, LOAD_1]
    assert ids(parent="etl/r1", kind="task") == [LOAD_2, LOAD_1]


@pytest.mark.parametrize(
    "query", ["", "  ", "%", "_", "\x00", "\ud800", "x" * 5000, "' OR 1=1", "http://", "http://[::1", "\u202e"]
)
def test_what_names_nothing_finds_nothing_and_breaks_nothing(store: Store, record: Record, query: str) -> None:
    record(store, a_story())
    found = search(store, query)
    assert (found.exact, found.items) == (None, [])
