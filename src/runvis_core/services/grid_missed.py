"""Which runs were due by a definition's schedule and are not there, as a grid shows them. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from runvis_core.services.schedules import find_last_due_times

MAX_DUE: Final = 500
"""How many due times are looked at: the last ones."""


class Missed(NamedTuple):
    """The last runs that were missed, and what is to be said of those before."""

    due_at: list[datetime]
    notes: list[str]


def find_missed_in(schedule: str, scheduled: Sequence[datetime], *, until: datetime, most: int) -> Missed:
    """Return when runs were due, after the first one and until a moment, that are not there: the last ones of these.

    `scheduled` is when the runs began that the schedule started, in order.
    """
    due = find_last_due_times(schedule, after=scheduled[0], until=until, limit=MAX_DUE)
    # The last one has until the next one to begin; whether it is late is told by the health of definitions.
    missed = [moment for moment, following in pairwise(due) if not _is_there(scheduled, moment, following)]
    shown, before = missed[-most:], len(missed[:-most])
    is_cut = len(due) == MAX_DUE
    notes: list[str] = []
    if before:
        least = "at least " if is_cut else ""
        notes.append(f"{least}{before:,} more were due before {shown[0]:%Y-%m-%d %H:%M} UTC and did not run")
    elif is_cut:
        notes.append(f"only for what was due since {due[0]:%Y-%m-%d %H:%M} UTC it was looked whether it ran")
    return Missed(shown, notes)


def _is_there(scheduled: Sequence[datetime], moment: datetime, following: datetime) -> bool:
    slack = (following - moment) / 100 + timedelta(seconds=1)
    first = bisect_left(scheduled, moment - slack)
    return first < len(scheduled) and scheduled[first] < following - slack
