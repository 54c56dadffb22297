"""The last turns of a loop as runs in time: on one axis, a bar for each run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from runvis_core.services.answers import RunRef
from runvis_core.services.lineage_answers import LoopTurn


class Bar(NamedTuple):
    """A run of a turn: where its bar begins and how wide it is, in per cent; None where it has no time."""

    run: RunRef
    x: str | None
    width: str | None


class Unrolled(NamedTuple):
    """Turns, the latest first, each with the bars of its runs; and from when to when the axis goes."""

    turns: list[tuple[LoopTurn, list[Bar]]]
    extent: tuple[datetime, datetime] | None


def unroll(turns: Sequence[LoopTurn], *, now: datetime) -> Unrolled:
    """Return turns on one axis. It ends with the last evidence there is, and at `now` where something still runs."""
    spans = [_span(run, now) for turn in turns for run in turn.runs]
    known = [span for span in spans if span is not None]
    if not known:
        return Unrolled([(turn, [Bar(run, None, None) for run in turn.runs]) for turn in turns], None)
    extent = (min(begin for begin, _ in known), max(end for _, end in known))
    whole = max((extent[1] - extent[0]).total_seconds(), 1e-6)

    def bar(run: RunRef) -> Bar:
        span = _span(run, now)
        if span is None:
            return Bar(run, None, None)
        width = max(0.5, (span[1] - span[0]).total_seconds() / whole * 100)
        x = min(100 - width, (span[0] - extent[0]).total_seconds() / whole * 100)
        return Bar(run, f"{x:.3f}%", f"{width:.3f}%")

    return Unrolled([(turn, [bar(run) for run in turn.runs]) for turn in turns], extent)


def _span(run: RunRef, now: datetime) -> tuple[datetime, datetime] | None:
    begin = run.started_at or run.queued_at or run.ended_at
    if begin is None:
        return None
    is_live = run.ended_at is None and run.state is not None and not run.state.is_terminal
    return begin, max(begin, run.ended_at or (now if is_live else begin))
