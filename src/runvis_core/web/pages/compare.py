"""Compare: what differs between two runs?"""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.state import is_going_on
from runvis_core.services.answers import RunRef
from runvis_core.services.compare import compare_runs, compare_with_last_success
from runvis_core.services.comparison_answers import Comparison, Difference, StepSide, Theme
from runvis_core.web.drawing.looks import look_at
from runvis_core.web.drawing.text import count_of, name_duration
from runvis_core.web.page import AskedError, asked, refuse_unknown, store_of
from runvis_core.web.rendering import as_json, now_of, redirect, render, with_query

TITLES: Final = {
    Theme.CODE: "Code",
    Theme.INPUTS: "Inputs",
    Theme.ENVIRONMENT: "Environment",
    Theme.STRUCTURE: "Structure",
    Theme.DATASETS: "Data",
    Theme.OUTCOME: "How it ended",
    Theme.METRICS: "Metrics",
    Theme.QUEUE: "Waiting for a worker",
    Theme.DURATION: "Duration",
    Theme.INCIDENTAL: "What differs between any two runs",
}
_SECONDS: Final = (Theme.QUEUE, Theme.DURATION)
MAX_STEPS: Final = 200
_NARROWEST: Final = 0.005


def show_comparison(request: Request) -> Response:
    """Show what differs from the left run to the right one; without a left one, from its last success."""
    given = asked(request)
    refuse_unknown(given, ("left", "right"))
    left, right = given.get("left"), given.get("right")
    if not isinstance(right, str) or isinstance(left, list):
        raise AskedError("right", "must be a run, and left another one, or nothing for the last that went well")
    store = store_of(request)
    found = compare_with_last_success(store, right) if left is None else compare_runs(store, left, right)
    if (left, right) != (str(found.left.run_id), str(found.right.run_id)):
        return redirect(_address(found.left, found.right))
    return render(
        request,
        "compare.html",
        found=found,
        sentence=_sentence(found),
        themes=_themes(found),
        equal=[(TITLES[one.theme], one.count, one.fields) for one in found.equal],
        steps=_steps(found, now=now_of(request)),
        hidden_steps=max(0, len(found.steps) - MAX_STEPS),
        uncompared=_uncompared(found),
        swap_href=_address(found.right, found.left),
    )


def _address(left: RunRef, right: RunRef) -> str:
    return with_query("/compare", {"left": left.run_id, "right": right.run_id})


def _themes(found: Comparison) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the differences as they are ranked: where the runs part first stands alone, above all others."""
    first = 1 if found.first_divergence is not None else 0
    rest = groupby(found.differences[first:], key=lambda one: one.theme)
    return [
        *((f"They part first: {TITLES[one.theme].lower()}", [_told(one)]) for one in found.differences[:first]),
        *((TITLES[theme], [_told(one) for one in group]) for theme, group in rest),
    ]


def _sentence(found: Comparison) -> str:
    if not found.differences:
        return f"Nothing differs of what was {'compared' if _uncompared(found) else 'recorded'}."
    first = found.first_divergence
    where = f" They part first at {_place(first)}." if first else ""
    alike = "" if any(one.theme is Theme.OUTCOME for one in found.differences) else " They ended alike."
    return f"{count_of(len(found.differences) + found.cut_differences, 'difference')}.{where}{alike}"


def _uncompared(found: Comparison) -> str:
    """Return what there was no room to compare; nothing where all was compared."""
    steps = f"{count_of(found.cut_steps, 'step')} left out" if found.cut_steps else ""
    fields = f"{count_of(found.cut_fields, 'field')} of steps too large" if found.cut_fields else ""
    return " and ".join(filter(None, (steps, fields)))


def _place(one: Difference) -> str:
    if not one.steps:
        return one.field
    # A step that only one side has is told of as one.
    return f"the step {one.steps[0]}" if one.field == "step" else f"{one.field} of the step {one.steps[0]}"


def _told(one: Difference) -> dict[str, Any]:
    return {
        "field": one.field,
        "steps": ", ".join(one.steps[:5]),
        "more_steps": len(one.steps[5:]) + one.cut_steps,
        "left": _value(one, one.left),
        "right": _value(one, one.right),
        "delta": _delta(one),
    }


def _value(one: Difference, value: Any) -> str | None:
    if value is None:
        return None
    if one.theme in _SECONDS and isinstance(value, (int, float)):
        return name_duration(value)
    return as_json(value)


def _delta(one: Difference) -> str:
    if one.delta is None:
        return one.change
    said = name_duration(abs(one.delta)) if one.theme in _SECONDS else f"{abs(one.delta):g}"
    return f"{'+' if one.delta > 0 else '−'}{said}"


def _steps(found: Comparison, *, now: datetime) -> list[dict[str, Any]]:
    shown = found.steps[:MAX_STEPS]
    sides = [[_timed(side, now) for side in (pair.left, pair.right)] for pair in shown]
    whole = max((side.end for pair in sides for side in pair if side is not None and side.end is not None), default=0.0)
    # What a run that goes on has not so far it may come to.
    absent = ["not so far" if is_going_on(run.effective_state) else "no such step" for run in (found.left, found.right)]
    return [
        {
            "step": pair.step or "the run itself",
            "differs": pair.differs,
            "sides": [_side(side, whole) if side else None for side in timed],
            "absent": absent,
        }
        for pair, timed in zip(shown, sides, strict=True)
    ]


class _Timed(NamedTuple):
    """A step of one run, and how long it ran: until now, where it goes on."""

    side: StepSide
    ran: float | None

    @property
    def end(self) -> float | None:
        begun = self.side.offset_seconds
        return None if begun is None else begun + (self.ran or 0.0)


def _timed(side: StepSide | None, now: datetime) -> _Timed | None:
    if side is None:
        return None
    ran, begun_at = side.run.duration_seconds, side.run.started_at
    if ran is None and begun_at is not None and is_going_on(side.run.effective_state):
        ran = max(0.0, (now - begun_at).total_seconds())
    return _Timed(side, ran)


def _side(timed: _Timed, whole: float) -> dict[str, Any]:
    side, end = timed.side, timed.end
    told = {"run": side.run, "look": look_at(side.run), "waited": side.queue_seconds, "ran": timed.ran}
    begun = side.offset_seconds
    if begun is None or end is None or whole <= 0:
        return {**told, "bars": []}
    waited = max(0.0, begun - (side.queue_seconds or 0.0))
    bars = [("b-queued", waited, begun)] if begun > waited else []
    bars.append(("b-ran", max(0.0, begun), end))
    return {**told, "bars": [(name, _share(first, whole), _width(last - first, whole)) for name, first, last in bars]}


def _share(seconds: float, whole: float) -> str:
    return f"{seconds / whole * 100:.2f}%"


def _width(seconds: float, whole: float) -> str:
    # What took no time at all is to be seen still.
    return _share(max(seconds, whole * _NARROWEST), whole)
