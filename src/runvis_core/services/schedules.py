"""When runs are due by a definition's schedule, as far as its notation says so. Pure; times are UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Final, NamedTuple

from cronsim import CronSim, CronSimError

_PRESETS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EVEN: Final = {"0 * * * *": timedelta(hours=1), "0 0 * * *": timedelta(days=1)}
"""What most schedules are, and needs no looking for: the beginnings of all hours, or days, of UTC."""
_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_LOOKED_FOR: Final = 100
"""How many times by any other cron expression are looked for: each takes its time, and a page does it for each one."""
_INTERVAL: Final = re.compile(r"(?:(\d{1,5}) days?, )?(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?")
GRACE_SHARE: Final = 0.1
"""A run is late once a tenth of the time to the next one is over, but not before `GRACE_LEAST` and by `GRACE_MOST`."""
GRACE_LEAST: Final = timedelta(minutes=1)
GRACE_MOST: Final = timedelta(hours=1)


def find_due_times(schedule: str, *, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return when runs are due after one moment and up to another, at most `limit`.

    `schedule` is a cron expression, a preset such as `@daily`, or an interval as Python writes it (`1 day, 0:00:00`),
    which counts from `after`. Nothing is due by any other notation: what it means is the engine's own matter.
    """
    due = _due_times(schedule.strip(), after.astimezone(UTC))
    return list(islice(takewhile(lambda moment: moment <= until, due), limit))


def find_last_due_times(schedule: str, *, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return the last ones of those that `find_due_times` would give, at most `limit`, the earliest first.

    It looks from the end, so that it takes as long however many there are before.
    """
    begin = after.astimezone(UTC)
    due = _due_times_back(schedule.strip(), begin, until.astimezone(UTC))
    return list(islice(takewhile(lambda moment: moment > begin, due), limit))[::-1]


class Missed(NamedTuple):
    """Runs that should have begun since the last one did."""

    first_at: datetime
    total: int
    is_cut: bool = False
    """Whether there may be more: they were not looked for."""


def find_missed(schedule: str, *, last_begun_at: datetime, now: datetime, limit: int = 100) -> list[datetime]:
    """Return when the runs were due that should have begun since the last one, with some grace for each."""
    due = find_due_times(schedule, after=last_begun_at, until=now, limit=limit)
    if not due:
        return []
    until = now - _grace(schedule, due)
    return [moment for moment in due if moment <= until]


def count_missed(schedule: str, *, last_begun_at: datetime, now: datetime) -> Missed | None:
    """Return how many runs should have begun since the last one; None if there are none.

    Where they are due at even distances all are counted, else no more than `MAX_LOOKED_FOR`.
    """
    missed = find_missed(schedule, last_begun_at=last_begun_at, now=now, limit=MAX_LOOKED_FOR)
    if not missed:
        return None
    if len(missed) < MAX_LOOKED_FOR:
        return Missed(missed[0], len(missed))
    step = _step_of(schedule.strip())
    if step is None:
        return Missed(missed[0], len(missed), is_cut=True)
    return Missed(missed[0], (now - _grace(schedule, missed) - missed[0]) // step + 1)


def _grace(schedule: str, due: Sequence[datetime]) -> timedelta:
    period = (due[1] if len(due) > 1 else _next(schedule, due[0])) - due[0]
    return min(max(GRACE_LEAST, period * GRACE_SHARE), GRACE_MOST)


def _next(schedule: str, after: datetime) -> datetime:
    return next(_due_times(schedule.strip(), after), after + timedelta(days=366))


def _due_times(schedule: str, after: datetime) -> Iterator[datetime]:
    if (interval := _read_interval(schedule)) is not None:
        yield from _each(after, interval)
        return
    expression = _expression_of(schedule)
    if (step := _EVEN.get(expression)) is not None:
        yield from _each(_floor(after, step), step)
        return
    yield from _ticks(expression, after)


def _due_times_back(schedule: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield when runs are due up to a moment, the last time first. An interval counts from `after`."""
    if (interval := _read_interval(schedule)) is not None:
        whole = (until - after) // interval * interval if interval else timedelta()
        yield from _each(after + whole + interval, -interval)
        return
    expression = _expression_of(schedule)
    if (step := _EVEN.get(expression)) is not None:
        yield from _each(_floor(until, step) + step, -step)
        return
    # What is due in the minute of `until` is due by then.
    yield from _ticks(expression, _floor(until, timedelta(minutes=1)) + timedelta(minutes=1), reverse=True)


def _read_interval(schedule: str) -> timedelta | None:
    interval = _INTERVAL.fullmatch(schedule)
    if interval is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in interval.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _expression_of(schedule: str) -> str:
    return _PRESETS.get(schedule.lower(), schedule)


def _floor(moment: datetime, step: timedelta) -> datetime:
    return moment - (moment - _ZERO) % step


def _ticks(expression: str, begin: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    if len(expression.split()) != 5:
        return
    try:
        yield from CronSim(expression, begin, reverse)
    except CronSimError:
        return


def _step_of(schedule: str) -> timedelta | None:
    """Return the distance between two times, where it is always the same and known without looking for them."""
    interval = _read_interval(schedule)
    return _EVEN.get(_expression_of(schedule)) if interval is None else interval


def _each(after: datetime, step: timedelta) -> Iterator[datetime]:
    while step:
        after += step
        yield after
