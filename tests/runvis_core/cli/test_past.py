from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Run = Callable[..., Result]


def listed(runvis: Run, address: str, *options: str) -> list[tuple[str, str]]:
    result = runvis("runs", "list", "-o", "jsonl", *options, url=address)
    assert result.exit_code == 0, result.output
    runs = [json.loads(line) for line in result.stdout.splitlines()]
    return [(run["run_id"], run["effective_state"]) for run in runs]


def test_runs_are_listed_as_they_were(runvis: Run, address: str) -> None:
    assert listed(runvis, address, "--as-of", "2026-11-24T08:01:15Z") == [
        (str(LOAD_1), "Failed"),
        (str(ETL), "Running"),
    ]
    assert listed(runvis, address, "--known-at", "4", "--state", "Running") == [(str(ETL), "Running")]
    assert [run_id for run_id, _ in listed(runvis, address, "--known-at", str(len(a_story())))] == [
        str(run_id) for run_id in (CHILD, LOAD_2, LOAD_1, ETL)
    ]
    said = runvis("runs", "list", "--known-at", "4", url=address)
    assert "as known at position 4" in said.stderr


def test_a_run_and_its_tree_are_shown_as_they_were(runvis: Run, address: str) -> None:
    shown = runvis("runs", "show", str(LOAD_1), "--as-of", "2026-11-24T08:01:15Z", url=address)
    assert shown.exit_code == 0, shown.output
    assert "up_for_retry" in shown.stdout
    assert "Corrections" not in shown.stdout
    tree = runvis("runs", "show", str(ETL), "--tree", "--as-of", "2026-11-24T08:00:50Z", "-o", "json", url=address)
    assert [child["run_id"] for child in json.loads(tree.stdout)["children"]] == [str(LOAD_1)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--as-of", "2999-01-01"], "future"),
        (["--known-at", str(len(a_story()) + 1)], "the log ends at position"),
        (["--known-at", "4", "--silent"], "silent: a list of the past"),
        (["--known-at", "soon"], "is no time"),
        (["--as-of", "0001-01-01"], "the year 1 lies outside"),
    ],
)
def test_what_is_no_past_is_a_usage_error(runvis: Run, address: str, options: list[str], said: str) -> None:
    result = runvis("runs", "list", *options, url=address)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_run_that_was_not_there_yet_exits_with_3(runvis: Run, address: str) -> None:
    result = runvis("runs", "show", str(CHILD), "--known-at", "3", url=address)
    assert result.exit_code == 3
    assert "there was no run" in result.stderr
