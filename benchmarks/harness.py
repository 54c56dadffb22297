"""Rounds in alternation, and what they show: one `Result` per figure, as a JSON line and as a row of a table."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Summary, median, pairwise_ratio

Side = Callable[[], Sequence[float]]
"""Measures one round, and returns each figure of it."""

_COMPARISONS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Goal:
    """What a ratio of ours to the peer's has to be."""

    relation: Literal["<=", ">="]
    ratio: float

    def holds(self, ratio: float) -> bool:
        """Return whether a measured ratio reaches the goal."""
        return bool(_COMPARISONS[self.relation](ratio, self.ratio))

    def __str__(self) -> str:
        return f"{self.relation} {self.ratio:g}x"


@dataclass(frozen=True)
class Result:
    """One line of the report. Without a goal it is printed for its figures only."""

    case: str
    ours: float
    beside: float | None
    unit: str
    ratio: float | None = None
    goal: str | None = None
    holds: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))

    def as_line(self) -> str:
        """Return the JSON line."""
        return orjson.dumps({key: _rounded(value) for key, value in asdict(self).items()}).decode()


def _rounded(value: object) -> object:
    # Four digits say more than any of these measurements knows.
    return float(f"{value:.4g}") if isinstance(value, float) else value


def alternate(sides: Mapping[str, Side], *, rounds: int, warm_up: int = 1) -> dict[str, list[Sequence[float]]]:
    """Measure every side once per round, in turn, and return each side's rounds.

    Every second round goes backwards, so that no side always comes after the same other.
    """
    names = list(sides)
    for name in names * warm_up:
        sides[name]()
    measured: dict[str, list[Sequence[float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            measured[name].append(sides[name]())
    return measured


def compare(
    case: str,
    ours: Sequence[Sequence[float]],
    beside: Sequence[Sequence[float]],
    *,
    unit: str,
    summary: Summary = median,
    goal: Goal | None = None,
    versions: Mapping[str, str] | None = None,
) -> Result:
    """Return what rounds measured in alternation show: each round summed up, and the ratio taken pair by pair."""
    mine, theirs = [summary(figures) for figures in ours], [summary(figures) for figures in beside]
    return judge(
        case, median(mine), median(theirs), unit=unit, ratio=pairwise_ratio(mine, theirs), goal=goal, versions=versions
    )


def judge(
    case: str,
    ours: float,
    beside: float,
    *,
    unit: str,
    ratio: float | None = None,
    goal: Goal | None = None,
    versions: Mapping[str, str] | None = None,
) -> Result:
    """Return a result with its ratio (by default that of the two figures) held against its goal."""
    ratio = ours / beside if ratio is None else ratio
    return Result(
        case=case,
        ours=ours,
        beside=beside,
        unit=unit,
        ratio=ratio,
        goal=str(goal) if goal else None,
        holds=goal.holds(ratio) if goal else None,
        versions=versions or {},
    )


def report(results: Iterable[Result], *, lines: Console, table: Console) -> int:
    """Print each result as a JSON line as it comes, then all as a table; return the exit status.

    1 when a goal does not hold, and also when nothing was measured.
    """
    collected = list(_printed(results, lines))
    table.print(_as_table(collected))
    return 0 if collected and all(result.holds is not False for result in collected) else 1


def _printed(results: Iterable[Result], lines: Console) -> Iterator[Result]:
    for result in results:
        lines.print(result.as_line(), soft_wrap=True, markup=False, highlight=False)
        yield result


def _as_table(results: Sequence[Result]) -> Table:
    table = Table("case", "ours", "beside", "unit", "ratio", "goal", "holds", "load")
    for column in (1, 2, 4, 7):
        table.columns[column].justify = "right"
    for result in results:
        holds = {True: "yes", False: "[bold red]no[/]", None: ""}[result.holds]
        cells = (_figure(result.ours), _figure(result.beside), result.unit, _figure(result.ratio))
        table.add_row(result.case, *cells, result.goal or "", holds, f"{result.load:.1f}")
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
