"""Where the time went: each instant of a span of time is given to what was going on then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Final

Interval = tuple[datetime, datetime]

ORDER: Final[tuple[str, ...]] = ("running", "retry", "queued")
"""What an instant is given to when several things were going on: the first of these."""


def share_time(start: datetime, end: datetime, going_on: Mapping[str, Iterable[Interval]]) -> dict[str, float]:
    """Return by `ORDER`, and for `idle`, the seconds between start and end; together they are the whole of it."""
    changes: list[tuple[datetime, int, str]] = []
    for kind, intervals in going_on.items():
        for begun, ended in intervals:
            begun, ended = max(begun, start), min(ended, end)
            if begun < ended:
                changes += [(begun, 1, kind), (ended, -1, kind)]
    changes.sort(key=itemgetter(0))
    shares: dict[str, float] = dict.fromkeys((*ORDER, "idle"), 0.0)
    active: dict[str, int] = dict.fromkeys(ORDER, 0)
    at = start
    for moment, step, kind in changes:
        shares[_of(active)] += (moment - at).total_seconds()
        active[kind] += step
        at = moment
    shares[_of(active)] += max(0.0, (end - at).total_seconds())
    return shares


def _of(active: Mapping[str, int]) -> str:
    for kind in ORDER:
        if active[kind]:
            return kind
    return "idle"
