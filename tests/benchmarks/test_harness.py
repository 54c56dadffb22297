"""Alternation, goals, and the exit status that they end in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from benchmarks.__main__ import CASES, main
from benchmarks.figures import p99
from benchmarks.harness import Goal, Result, alternate, compare, judge, report

KEYS = {"case", "ours", "beside", "unit", "ratio", "goal", "holds", "versions", "load"}


def reported(*results: Result) -> tuple[int, list[dict[str, object]], str]:
    lines, table = io.StringIO(), io.StringIO()
    status = report(results, lines=Console(file=lines, width=10_000), table=Console(file=table, width=200))
    return status, [json.loads(line) for line in lines.getvalue().splitlines()], table.getvalue()


@pytest.mark.parametrize(
    ("goal", "ratio", "holds"),
    [
        (Goal("<=", 0.25), 0.25, True),
        (Goal("<=", 0.25), 0.26, False),
        (Goal(">=", 5), 5.0, True),
        (Goal(">=", 5), 4.99, False),
    ],
)
def test_a_goal_holds_up_to_and_with_its_ratio(goal: Goal, ratio: float, holds: bool) -> None:
    assert goal.holds(ratio) is holds


def test_a_goal_that_does_not_hold_ends_in_status_1() -> None:
    kept = judge("kept", 1.0, 10.0, unit="us", goal=Goal("<=", 0.25))
    missed = judge("missed", 5.0, 10.0, unit="us", goal=Goal("<=", 0.25))
    assert reported(kept)[0] == 0
    assert reported(kept, missed, kept)[0] == 1


def test_a_figure_without_a_goal_fails_nothing() -> None:
    status, lines, _ = reported(Result("seen", 12.5, None, "events/s"))
    assert status == 0
    assert (lines[0]["goal"], lines[0]["holds"]) == (None, None)


def test_nothing_measured_is_no_success() -> None:
    assert reported()[0] == 1


def test_a_line_has_the_keys_that_were_agreed() -> None:
    _, lines, table = reported(judge("case", 2.0, 3.0, unit="ms", goal=Goal("<=", 1), versions={"peer": "1.2"}))
    assert set(lines[0]) == KEYS
    assert (lines[0]["ratio"], lines[0]["goal"], lines[0]["holds"]) == (0.6667, "<= 1x", True)
    assert lines[0]["versions"] == {"peer": "1.2"}
    assert "yes" in table


def test_sides_take_turns_and_neither_always_comes_first() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], list[float]]:
        def measure() -> list[float]:
            order.append(name)
            return [float(len(order))]

        return measure

    rounds = alternate({"ours": side("a"), "beside": side("b")}, rounds=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert rounds == {"ours": [[3.0], [6.0], [7.0]], "beside": [[4.0], [5.0], [8.0]]}


def test_a_comparison_sums_each_round_up_before_it_takes_the_ratio() -> None:
    ours, beside = [[1.0, 1.0, 9.0], [2.0, 2.0, 18.0]], [[2.0, 2.0, 4.5], [4.0, 4.0, 9.0]]
    assert compare("p50", ours, beside, unit="us").ratio == 0.5
    assert compare("p99", ours, beside, unit="us", summary=p99).ratio == pytest.approx(p99(ours[0]) / p99(beside[0]))


def test_a_case_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    said = capsys.readouterr().err
    assert "nonsense" in said
    assert all(case in said for case in CASES)
