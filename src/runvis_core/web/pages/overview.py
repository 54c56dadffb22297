"""The overview: is anything wrong, and can I trust this page?"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.state import State
from runvis_core.services.days import find_counted_until
from runvis_core.services.health import get_health
from runvis_core.services.past_health import get_past_standing
from runvis_core.services.sources import Heard, get_heard
from runvis_core.services.stats_answers import EngineDay, Health
from runvis_core.store.view import share_view
from runvis_core.web.drawing.text import count_of, name_age
from runvis_core.web.live import take_live
from runvis_core.web.page import asked, store_of
from runvis_core.web.pin import control_moment, take_pin
from runvis_core.web.rendering import now_of, render, with_query

_BAD = (State.FAILED, State.TIMED_OUT)
_OF_BAD = "".join(f"&state={state.value}" for state in _BAD)


def show_overview(request: Request) -> Response:
    """Show what fails, what is late or silent, the last days of each engine, and who was heard."""
    store, real_now, given = store_of(request), now_of(request), asked(request)
    pin = take_pin(request, given)
    live = take_live(request, given) if pin is None else None
    now = now_of(request)
    with share_view(store):
        if pin is None:
            health, heard = get_health(store, now=now), get_heard(store)
        else:
            health, heard = get_past_standing(store, pin.asked, now=real_now, at=now)
        moment = control_moment(request, pin, {})
    return render(
        request,
        "overview.html",
        live=live,
        moment=moment,
        health=health,
        heard=heard,
        is_wrong=bool(health.failing_count or health.late_count or health.silent_count),
        sentence=_sentence(health, heard, now, is_past=pin is not None),
        engines=_engines(health.days, until=find_counted_until(pin.asked) if pin else None),
        address=str(request.base_url).rstrip("/"),
    )


def _sentence(health: Health, heard: Heard, now: datetime, *, is_past: bool) -> str:
    if not heard.position:
        return "Nothing was recorded yet, so nothing can be said."
    wrong = [
        f"{count_of(count, noun)} {how}" if place == 0 else f"{count} {how}"
        for place, (count, noun, how) in enumerate(
            [(health.failing_count, "definition", "failing"), (health.late_count, "definition", "late")]
        )
        if count
    ]
    wrong += [f"{count_of(health.silent_count, 'run')} silent"] if health.silent_count else []
    sources = count_of(len(heard.sources), "deployment")
    told = (
        f"by {count_of(heard.position, 'entry', 'entries')} of the log, from {sources} heard by then"
        if is_past
        else f"the log's last entry came {name_age(heard.recorded_at, now=now)}, from {sources} heard so far"
    )
    return f"{', '.join(wrong) or 'Nothing is known to be wrong'}; {told}."


def _engines(days: list[EngineDay], *, until: datetime | None) -> list[dict[str, Any]]:
    """Return of each engine's kind of runs its days, each with a link to just those runs: the last day's to `until`."""
    found: dict[tuple[str, str, str], list[EngineDay]] = defaultdict(list)
    for day in days:
        found[day.engine, day.deployment, day.kind].append(day)
    return [_engine(key, known, until) for key, known in sorted(found.items())]


def _engine(key: tuple[str, str, str], known: list[EngineDay], until: datetime | None) -> dict[str, Any]:
    engine, deployment, kind = key
    # The same in all its days, of which a page has hundreds.
    of_kind = with_query("/runs", {"engine": engine, "deployment": deployment, "kind": kind, "all": True})
    return {
        "engine": engine,
        "deployment": deployment,
        "kind": kind,
        "most": max(day.runs for day in known),
        "days": [_day(day, of_kind, until) for day in sorted(known, key=lambda day: day.day)],
    }


def _day(day: EngineDay, of_kind: str, until: datetime | None) -> dict[str, Any]:
    bad = sum(day.states.get(state, 0) for state in _BAD)
    end = day.day + timedelta(days=1)
    between = with_query("", {"since": day.day, "until": min(end, until) if until else end})[1:]
    href = f"{of_kind}&{between}"
    return {"day": day.day, "runs": day.runs, "bad": bad, "href": href, "bad_href": f"{href}{_OF_BAD}"}
