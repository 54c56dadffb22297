"""The last days of each engine on the overview: what became of each day's runs, and which days can't be trusted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from runvis_core.model.state import State
from runvis_core.services.sources import Source
from runvis_core.services.stats import DEFAULT_DAYS
from runvis_core.services.stats_answers import EngineDay
from runvis_core.web.drawing.looks import Look, look_of
from runvis_core.web.rendering import with_query

_BAD: Final = (State.FAILED, State.TIMED_OUT)
_OF_BAD: Final = "".join(f"&state={state.value}" for state in _BAD)
_DAY: Final = timedelta(days=1)
# From left to right: what went well, what did not, what goes on. Some share a look.
_ORDER: Final = (
    State.SUCCEEDED,
    State.FAILED,
    State.TIMED_OUT,
    State.CANCELLED,
    State.RUNNING,
    State.INITIALIZING,
    State.FINALIZING,
    State.QUEUED,
    None,
)


class Share(NamedTuple):
    """Runs of a day that look the same: where their part of the bar is, and what it says."""

    key: str
    x: str
    width: str
    said: str


def legend_of(days: Sequence[EngineDay]) -> list[Look]:
    """Return how the states look that any run of these days is in, as the bars have them."""
    there = {state for day in days for state, runs in _counts_of(day).items() if runs}
    return [look_of(state) for state in _ORDER if state in there]


def draw_days(
    days: Sequence[EngineDay],
    *,
    last: datetime,
    until: datetime | None,
    unheard_since: Mapping[Source, datetime | None],
) -> list[dict[str, Any]]:
    """Return of each engine's kind of runs its days up to the `last` one, each with a link to just those runs.

    A day that is cut off ends at `until`. Of a source in `unheard_since` nothing was heard since then: from that day
    on what its runs look like is not all that there was, and no more is it on a day of which no run of it is known.
    """
    shown = [last - _DAY * number for number in reversed(range(DEFAULT_DAYS))]
    found: dict[tuple[str, str, str], dict[datetime, EngineDay]] = defaultdict(dict)
    heard: dict[Source, set[datetime]] = defaultdict(set)
    for day in days:
        found[day.engine, day.deployment, day.kind][day.day] = day
        heard[day.engine, day.deployment].add(day.day)
    drawn: list[dict[str, Any]] = []
    for key, known in sorted(found.items()):
        engine, deployment, kind = key
        source = (engine, deployment)
        since = unheard_since.get(source)
        # The same in all its days, of which a page has hundreds.
        named = {"kind": kind} if kind else {"unnamed": True}
        of_kind = with_query("/runs", {"engine": engine, "deployment": deployment, **named, "all": True})
        most = max(day.runs for day in known.values())
        rows: list[dict[str, Any]] = []
        for begins in shown:
            is_unsure = begins not in heard[source] or (source in unheard_since and _is_after(begins, since))
            rows.append(_day(begins, known.get(begins), of_kind, until, most, is_unsure=is_unsure))
        drawn.append({"engine": engine, "deployment": deployment, "kind": kind, "days": rows})
    return drawn


def _is_after(begins: datetime, since: datetime | None) -> bool:
    return since is None or begins + _DAY > since


def _day(
    begins: datetime, day: EngineDay | None, of_kind: str, until: datetime | None, most: int, *, is_unsure: bool
) -> dict[str, Any]:
    end = begins + _DAY
    between = with_query("", {"since": begins, "until": min(end, until) if until else end})[1:]
    href = f"{of_kind}&{between}"
    return {
        "day": begins,
        "runs": day.runs if day else 0,
        "bad": sum(day.states.get(state, 0) for state in _BAD) if day else 0,
        "href": href,
        "bad_href": f"{href}{_OF_BAD}",
        "shares": _shares(day, most) if day else [],
        "is_unsure": is_unsure,
    }


def _shares(day: EngineDay, most: int) -> list[Share]:
    counts, at, shares = _counts_of(day), 0, list[Share]()
    for state in _ORDER:
        runs = counts.get(state, 0)
        if runs:
            look = look_of(state)
            shares.append(Share(look.key, f"{at / most:.2%}", f"{runs / most:.2%}", f"{runs} {look.word}"))
            at += runs
    return shares


def _counts_of(day: EngineDay) -> dict[State | None, int]:
    """Return how many runs are in which state; those of which nobody told any are under None."""
    return {**day.states, None: day.runs - sum(day.states.values())}
