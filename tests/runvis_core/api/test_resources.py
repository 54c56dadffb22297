"""What the REST API answers beyond runs and definitions: comparisons, statistics, searches, files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from runvis_core.model.event import EventBase, MetricEvent
from runvis_core.model.state import State
from runvis_core.services.answers import RunSummary
from runvis_core.services.comparison_answers import Comparison
from runvis_core.services.exports import RUN_COLUMNS, csv_lines
from runvis_core.services.search_answers import Found
from runvis_core.services.stats_answers import Grid, Health, StatTable, Trend
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


@pytest.fixture
def told(client: httpx.Client, store: Store, record: Record) -> httpx.Client:
    """A client of a server over the story, a success and a failure after it."""
    record(store, a_story())
    record(store, a_run("good", begins=1000, definition="etl.load", kind="task"))
    record(store, a_run("bad", begins=2000, definition="etl.load", kind="task", state=State.FAILED))
    return client


def test_two_runs_are_compared(told: httpx.Client) -> None:
    found = Comparison.model_validate(told.get(f"/api/v1/runs/{LOAD_1}/compare/{LOAD_2}").json())
    assert (found.left.run_id, found.right.run_id) == (LOAD_1, LOAD_2)
    assert found.differences
    by_native_id = told.get("/api/v1/runs/etl/r1/compare/child/c1").json()
    assert (by_native_id["left"]["run_id"], by_native_id["right"]["run_id"]) == (str(ETL), str(CHILD))


def test_a_run_is_compared_with_its_last_success(told: httpx.Client) -> None:
    found = told.get(f"/api/v1/runs/{a_run_id('bad')}/compare").json()
    assert (found["left"]["run_id"], found["right"]["run_id"]) == (str(a_run_id("good")), str(a_run_id("bad")))
    assert found["first_divergence"]["right"] == "Failed"


@pytest.mark.parametrize(
    "path", ["runs/etl/r2", "runs/etl/r2/tree", "runs/etl/r2/compare/child/c1", "runs/etl/r2/events"]
)
def test_an_unknown_run_is_answered_with_the_ids_near_it(told: httpx.Client, path: str) -> None:
    answer = told.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert str(ETL) in answer.json()["near"]


def test_an_unknown_definition_is_answered_with_the_names_near_it(told: httpx.Client) -> None:
    for path in ("definitions/etl.laod", "definitions/etl.laod/trend", "definitions/etl.laod/grid"):
        answer = told.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["near"]) == (404, ["etl.load"])


def test_statistics_are_answered_by_what_is_asked_for(told: httpx.Client) -> None:
    asked = {"by": ["kind", "day"], "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}
    table = StatTable.model_validate(told.get("/api/v1/stats", params=asked).json())
    assert [(row.kind, row.runs) for row in table.items] == [("dag", 2), ("task", 4)]
    span = {name: asked[name] for name in ("since", "until")}
    trend = Trend.model_validate(told.get("/api/v1/definitions/etl.load/trend", params=span).json())
    assert trend.whole.states == {State.SUCCEEDED: 2, State.FAILED: 1, State.RUNNING: 1}
    grid = Grid.model_validate(told.get("/api/v1/definitions/etl/grid").json())
    assert [row.step for row in grid.rows] == ["load"]
    health = Health.model_validate(told.get("/api/v1/health").json())
    assert [one.definition for one in health.failing] == ["etl.load"]


def test_a_search_goes_straight_to_a_whole_id(told: httpx.Client) -> None:
    found = Found.model_validate(told.get("/api/v1/search", params={"q": str(CHILD)}).json())
    assert found.exact is not None
    assert found.exact.run_id == CHILD


@pytest.mark.parametrize(
    ("path", "parameter", "said"),
    [
        ("stats?by=colour", "by", "deployment"),
        ("stats?stat=Failed", "stat", "since"),
        ("stats?since=2026-11-24T08:00:00", "since", "zone"),
        ("stats?since=0000-13-45T99:00:00Z", "since", ""),
        ("definitions/etl/trend?step=week", "step", "hour"),
        ("definitions/etl/trend?until=0001-01-01T00:00:00Z", "until", "the year 1 lies outside of 2 to 9998"),
        ("definitions/etl/trend?since=9999-12-31T00:00:00Z", "since", "the year 9999"),
        ("definitions/etl/grid?limit=201", "limit", "200"),
        ("definitions/etl/grid?cursor=abc", "cursor", "next_cursor"),
        ("definitions/etl/grid?state=Failed", "state", "cursor"),
        ("search", "q", "required"),
        ("search?q=", "q", "1"),
        ("search?q=a&limit=5", "limit", "q"),
        ("stream?after=-1", "after", "0"),
        ("stream?since=1", "since", "kind"),
        ("runs?parent=", "parent", "1"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(
    told: httpx.Client, path: str, parameter: str, said: str
) -> None:
    answer = told.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["parameter"] == parameter
    assert said in answer.text


def test_a_cursor_of_runs_is_none_of_a_grid(told: httpx.Client) -> None:
    cursor = told.get("/api/v1/runs", params={"limit": 1}).json()["next_cursor"]
    assert told.get("/api/v1/definitions/etl/grid", params={"cursor": cursor}).status_code == 400


def test_a_list_comes_as_json_lines_whole(told: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runvis_core.api.runs.PAGE_SIZE", 2)
    answer = told.get("/api/v1/runs", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    ids = [json.loads(line)["run_id"] for line in answer.text.splitlines()]
    assert ids == [item["run_id"] for item in told.get("/api/v1/runs").json()["items"]]
    assert len(ids) == 6
    some = told.get("/api/v1/runs", params={"limit": 3}, headers={"Accept": "application/jsonl"})
    assert [json.loads(line)["run_id"] for line in some.text.splitlines()] == ids[:3]


def test_a_list_comes_as_csv(told: httpx.Client) -> None:
    answer = told.get("/api/v1/runs", params={"definition": "etl.load"}, headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(rows[0]) == RUN_COLUMNS
    # All that the list has, with the parts of some fields in columns of their own.
    assert {column.partition(".")[0] for column in RUN_COLUMNS} == RunSummary.model_fields.keys()
    assert [row["effective_state"] for row in rows] == ["Failed", "Succeeded", "Running", "Succeeded"]
    assert (rows[0]["failure.line"], rows[0]["duration_seconds"]) == ("upstream returned 0 rows", "10.0")


@pytest.mark.parametrize(
    "accept",
    [
        *("*/*", "application/json", "application/json, text/csv", "text/html, */*;q=0.1", ""),
        *(
            "text/csv;q=0.1, application/json",
            "text/csv;q=0, */*",
            "application/x-ndjson;q=0.5, application/json;q=0.9",
        ),
    ],
)
def test_who_wants_no_file_gets_a_page(told: httpx.Client, accept: str) -> None:
    assert len(told.get("/api/v1/runs", headers={"Accept": accept}).json()["items"]) == 6


@pytest.mark.parametrize("accept", ["text/html", "image/png", "text/csv;q=0", "text/csv;q=x"])
def test_what_no_list_comes_as_is_not_acceptable(told: httpx.Client, accept: str) -> None:
    answer = told.get("/api/v1/runs", headers={"Accept": accept})
    assert answer.status_code == 406
    assert answer.json()["allowed"] == ["application/json", "application/x-ndjson", "text/csv"]


def test_the_type_that_is_liked_most_is_given(told: httpx.Client) -> None:
    answer = told.get("/api/v1/runs", headers={"Accept": "application/json;q=0.2, text/csv;q=0.9"})
    assert answer.headers["Content-Type"].startswith("text/csv")


def test_what_is_wrong_with_the_question_is_said_before_a_file_begins(told: httpx.Client) -> None:
    for query in ("cursor=abc", "parent=nothing-of-the-kind", "limit=0"):
        answer = told.get(f"/api/v1/runs?{query}", headers={"Accept": "text/csv"})
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.status_code in (400, 404)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("=1+1", "'=1+1"),
        ("+44", "'+44"),
        ("-x", "'-x"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("plain - and =", "plain - and ="),
        (" =1+1", "' =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        (-5.5, "-5.5"),
        (None, '""'),
        (True, "true"),
        ({"a": [1]}, '"{""a"":[1]}"'),
        ([], '""'),
        ('two\nlines, and "quotes"', '"two\nlines, and ""quotes"""'),
    ],
)
def test_only_texts_that_a_spreadsheet_would_run_are_guarded(value: Any, line: str) -> None:
    class Item(BaseModel):
        value: Any

    assert list(csv_lines([Item(value=value)], of=Item)) == ["value\r\n", f"{line}\r\n"]


def test_a_csv_of_nothing_is_its_header() -> None:
    assert list(csv_lines([], of=RunSummary)) == [",".join(RUN_COLUMNS) + "\r\n"]


def test_a_list_of_runs_has_the_first_line_of_each_failure(told: httpx.Client, store: Store, record: Record) -> None:
    record(store, [make(MetricEvent, run_id=a_run_id("bad"), seconds=3000, name="rows", value=-1.5)])
    (item,) = told.get("/api/v1/runs", params={"state": "Failed"}).json()["items"]
    assert item["failure"]["line"] == "upstream returned 0 rows"
    assert item["failure"]["message"].endswith("look there")
