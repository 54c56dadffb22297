"""Whether two clocks agree. Needs no store."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from runvis_core.services.answers import Check

CLOCK_WARNING: Final = timedelta(seconds=5)
CLOCK_PROBLEM: Final = timedelta(minutes=1)


def check_clock(whose: str, difference: timedelta) -> Check:
    """Return whether a clock is near enough to this machine's."""
    seconds = abs(difference.total_seconds())
    detail = (
        f"the {whose}'s clock is {seconds:.1f} s {'ahead of' if difference > timedelta(0) else 'behind'} this machine's"
    )
    if seconds <= CLOCK_WARNING.total_seconds():
        return Check(name="clock", outcome="ok", detail=detail)
    grave = seconds > CLOCK_PROBLEM.total_seconds()
    remedy = "set both clocks by a time server: durations and silence are told by them"
    return Check(name="clock", outcome="problem" if grave else "warning", detail=detail, remedy=remedy)
