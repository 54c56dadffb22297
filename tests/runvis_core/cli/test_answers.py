"""Comparisons, statistics and searches on the command line, alike from a store and a server."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable

import pytest
from click.testing import Result

from runvis_core.model.event import DatasetEvent, EventBase
from runvis_core.model.state import State
from runvis_core.services.answers import DefinitionSummary
from runvis_core.services.correction_answers import CorrectionSummary
from runvis_core.services.decision_answers import AuditItem, HoldView, TokenView
from runvis_core.services.entries import find_head
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2

Run = Callable[..., Result]
Record = Callable[[Store, Iterable[EventBase]], None]


@pytest.fixture
def failing(told: str, store: Store, record: Record) -> str:
    """The address of the story's store, in which a definition fails."""
    record(store, a_run("good", begins=1000, definition="nightly"))
    record(store, a_run("bad", begins=2000, definition="nightly", state=State.FAILED))
    return told


def test_two_runs_are_compared(runvis: Run, address: str) -> None:
    shown = runvis("runs", "compare", str(LOAD_1), str(LOAD_2), url=address)
    assert shown.exit_code == 0, shown.output
    for said in ("They part at", "failure.error_type", "ValueError", "reads s3://raw orders", "equal:"):
        assert said in shown.stdout
    found = json.loads(runvis("runs", "compare", str(LOAD_1), str(LOAD_2), "-o", "json", url=address).stdout)
    assert found["left"]["run_id"] == str(LOAD_1)
    same = runvis("runs", "compare", str(ETL), str(ETL), url=address)
    assert "Nothing differs" in same.stdout


def test_a_run_is_compared_with_its_last_success(runvis: Run, failing: str) -> None:
    shown = runvis("runs", "compare", str(a_run_id("bad")), "--last-success", url=failing)
    assert "They part at: state Succeeded → Failed" in shown.stdout
    lacking = runvis("runs", "compare", str(CHILD), "--last-success", url=failing)
    assert lacking.exit_code == 3


@pytest.mark.parametrize("arguments", [["abcdef"], ["abcdef", "abcdea", "--last-success"]])
def test_a_comparison_needs_exactly_one_other_side(runvis: Run, told: str, arguments: list[str]) -> None:
    assert runvis("runs", "compare", *arguments, url=told).exit_code == 2


def test_statistics_are_told_apart(runvis: Run, address: str) -> None:
    arguments = ["stats", "--by", "kind", "--since", "2026-11-01", "--until", "2026-12-01"]
    shown = runvis(*arguments, url=address)
    assert shown.exit_code == 0, shown.output
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [["dag", "2"], ["task", "2"]]
    found = json.loads(runvis(*arguments, "-o", "json", url=address).stdout)
    assert [row["runs"] for row in found["items"]] == [2, 2]
    none = runvis("stats", "--engine", "nothing", url=address)
    assert (none.exit_code, none.stdout) == (0, "")


def test_health_says_what_fails_and_why(runvis: Run, failing: str) -> None:
    shown = runvis("health", url=failing)
    assert shown.stdout.startswith("1 definitions failing, ")
    assert "shop.RowsError: upstream returned 0 rows" in shown.stdout
    assert json.loads(runvis("health", "-o", "json", url=failing).stdout)["failing_count"] == 1


def test_a_definitions_trend_and_grid(runvis: Run, address: str) -> None:
    trend = runvis("definitions", "trend", "etl.load", "--since", "2026-11-01", "--until", "2026-12-01", url=address)
    assert trend.exit_code == 0, trend.output
    assert trend.stdout.splitlines()[-1].split()[:2] == ["all", "2"]
    hourly = ["definitions", "trend", "etl.load", "--hourly", "--since", "2026-11-24", "--until", "2026-11-25"]
    assert json.loads(runvis(*hourly, "-o", "json", url=address).stdout)["step"] == "hour"
    grid = runvis("definitions", "grid", "etl", url=address)
    assert [line.split()[0] for line in grid.stdout.splitlines()] == ["STEP", "etl", "load"]
    assert json.loads(runvis("definitions", "grid", "etl", "-o", "json", url=address).stdout)["definition"] == "etl"


def test_a_grid_counts_the_instances_of_a_step(runvis: Run, failing: str, store: Store, record: Record) -> None:
    for index, state in enumerate((State.SUCCEEDED, State.FAILED, State.SUCCEEDED)):
        price = {"definition": "nightly.price", "kind": "task", "inside": "bad", "key": f"bad/price/{index}"}
        record(store, a_run(f"price {index}", begins=2001 + index, state=state, **price))
    shown = runvis("definitions", "grid", "nightly", url=failing)
    assert " ".join(shown.stdout.splitlines()[-1].split()) == "price of 3: 1 ✖ Failed, 2 ● Succeeded"


def test_a_search_finds_what_is_named_or_exits_with_3(runvis: Run, address: str) -> None:
    shown = runvis("search", str(CHILD), url=address)
    assert shown.stdout.splitlines()[1].startswith("exact id")
    words = runvis("search", "etl", url=address)
    assert "definition" in words.stdout
    nothing = runvis("search", "nothing", "of", "the", "kind", url=address)
    assert (nothing.exit_code, nothing.stdout) == (3, "")
    assert json.loads(runvis("search", "s3", "-o", "json", url=address).stdout)["exact"] is None


def test_runs_are_written_as_csv_and_all_of_them(runvis: Run, address: str) -> None:
    some = runvis("runs", "list", "--limit", "2", "-o", "csv", url=address)
    rows = list(csv.DictReader(io.StringIO(some.stdout)))
    assert [row["run_id"] for row in rows] == [str(CHILD), str(LOAD_2)]
    every = runvis("runs", "list", "--limit", "1", "--all", "-o", "jsonl", url=address)
    assert len(every.stdout.splitlines()) == 4
    assert runvis("runs", "list", "--all", url=address).exit_code == 2
    assert runvis("runs", "show", str(ETL), "-o", "csv", url=address).exit_code == 2
    named = runvis("definitions", "list", "-o", "csv", url=address)
    assert named.stdout.splitlines()[0].startswith("engine,deployment,definition")


def test_the_csv_of_an_empty_list_has_the_columns_of_what_it_lists(runvis: Run, told: str) -> None:
    headers = {
        ("definitions", "list", "--engine", "nothing"): DefinitionSummary,
        ("corrections", "list", "--engine", "nothing"): CorrectionSummary,
        ("tokens", "list"): TokenView,
        ("holds", "list"): HoldView,
        ("audit", "list", "--name", "nothing"): AuditItem,
    }
    for command, listed in headers.items():
        shown = runvis(*command, "-o", "csv", url=told)
        assert (shown.exit_code, shown.stdout.splitlines()) == (0, [",".join(listed.model_fields)]), command


def test_the_audit_trail_comes_as_csv_and_tells_which_past_was_taken_out(runvis: Run, told: str) -> None:
    assert runvis("runs", "list", "--all", "--known-at", "9", "-o", "jsonl", url=told).exit_code == 0
    (row,) = csv.DictReader(io.StringIO(runvis("audit", "list", "-o", "csv", url=told).stdout))
    assert (row["name"], json.loads(row["details"])) == ("export", {"known_at": 9})


def test_what_is_being_recorded_is_no_table(runvis: Run, told: str) -> None:
    shown = runvis("runs", "tail", "--no-follow", "-o", "csv", url=told)
    assert (shown.exit_code, shown.stdout) == (2, "")


def test_a_graph_as_csv_gives_a_spreadsheet_nothing_to_run(
    runvis: Run, told: str, store: Store, record: Record
) -> None:
    record(store, a_run("evil", begins=1000, definition="=cmd()"))
    record(
        store, [make(DatasetEvent, run_id=a_run_id("evil"), seconds=1001, direction="read", namespace="a", name="b")]
    )
    rows = list(csv.DictReader(io.StringIO(runvis("lineage", "show", "=cmd()", "-o", "csv", url=told).stdout)))
    assert [(row["source"], row["target"]) for row in rows] == [("a/b", "'=cmd()")]


def test_the_way_to_the_next_page_holds_also_where_a_time_was_said_as_so_long_ago(runvis: Run, told: str) -> None:
    for command, options in {"list": ["--since", "3650d", "--as-of", "0s"], "of now": ["--since", "3650d"]}.items():
        first = runvis("runs", "list", *options, "--limit", "1", url=told)
        way = first.stderr.splitlines()[-1].removeprefix("there are more: ").split()
        following = runvis("runs", "list", "--limit", "1", *way, url=told)
        assert following.exit_code == 0, (command, following.stderr)
        assert following.stdout != first.stdout


def test_a_definition_its_grid_and_health_are_told_as_they_were(
    runvis: Run, failing: str, store: Store, record: Record
) -> None:
    known = find_head(store)
    asked = [["health"], ["definitions", "show", "nightly"], ["definitions", "grid", "nightly"]]
    pinned = [[*command, "--known-at", str(known), "-o", "json"] for command in asked]
    then = [runvis(*command, url=failing).stdout for command in pinned]
    record(store, a_run("better", begins=3000, definition="nightly"))
    assert [runvis(*command, url=failing).stdout for command in pinned] == then
    assert [json.loads(said).get("failing_count") for said in then] == [1, None, None]
    assert json.loads(runvis("health", "-o", "json", url=failing).stdout)["failing_count"] == 0
    assert "known at position" in runvis("health", "--known-at", str(known), url=failing).stderr
