"""How long a definition's runs waited and ran, day by day, on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from runvis_core.model.state import State
from runvis_core.services.filters import Dimension
from runvis_core.services.stats_answers import Grid, StatRow, Times, Trend
from runvis_core.web.drawing.text import count_of, name_duration


class Column(NamedTuple):
    """A day or hour. Heights are per cent of the longest of all; `ran` stands on the ground, `queued` on it."""

    begins_at: datetime
    runs: int
    failed: int
    ran: float
    queued: float
    p95: float
    duration: Times
    queue: Times
    versions: list[str]
    """What the definition was changed to in it."""
    title: str


class DrawnTrend(NamedTuple):
    """The trend as a page shows it."""

    columns: list[Column]
    longest_seconds: float
    whole: StatRow
    since: datetime
    until: datetime


def draw_trend(trend: Trend, grid: Grid) -> DrawnTrend:
    """Return a column for each day or hour of the range, those without runs too.

    The definition changed when the first run of a version began, as far back as the grid goes.
    """
    points = {point.begins_at: point for point in trend.points}
    longest = max((_highest(point) for point in trend.points), default=0.0)
    step = timedelta(hours=1) if trend.step is Dimension.HOUR else timedelta(days=1)
    changes = list(_changes(grid))
    columns: list[Column] = []
    at = trend.since
    while at < trend.until:
        changed = [version for moment, version in changes if at <= moment < at + step]
        columns.append(_column(at, points.get(at), changed, longest))
        at += step
    return DrawnTrend(columns, longest, trend.whole, trend.since, trend.until)


def _changes(grid: Grid) -> Iterator[tuple[datetime, str]]:
    for column in grid.columns:
        run = column.run
        moment = (run.queued_at or run.started_at or run.ended_at) if run is not None else None
        if column.is_new_version and moment is not None and column.version is not None:
            yield moment, column.version


def _highest(point: StatRow) -> float:
    return max((point.queue.p50 or 0.0) + (point.duration.p50 or 0.0), point.duration.p95 or 0.0)


def _column(at: datetime, point: StatRow | None, changed: list[str], longest: float) -> Column:
    if point is None:
        return Column(at, 0, 0, 0.0, 0.0, 0.0, Times(count=0), Times(count=0), changed, "no run")
    failed = sum(point.states.get(state, 0) for state in (State.FAILED, State.TIMED_OUT))
    ran, queued, p95 = point.duration.p50, point.queue.p50, point.duration.p95
    title = f"{count_of(point.runs, 'run')}: half ran {name_duration(ran)} or less, 19 of 20 {name_duration(p95)}"
    if queued is not None:
        title += f"; half waited {name_duration(queued)} or less"
    return Column(
        at,
        point.runs,
        failed,
        _share(ran, longest),
        _share(queued, longest),
        _share(p95, longest),
        point.duration,
        point.queue,
        changed,
        title,
    )


def _share(seconds: float | None, longest: float) -> float:
    return round((seconds or 0.0) / longest * 100, 1) if longest > 0 else 0.0
