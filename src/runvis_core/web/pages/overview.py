"""The overview: is anything wrong, and can I trust this page?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.state import Witness
from runvis_core.services.days import find_counted_until
from runvis_core.services.health import get_health
from runvis_core.services.past_health import get_past_standing
from runvis_core.services.sources import Heard, SourceView, get_heard
from runvis_core.services.stats import begin_of
from runvis_core.services.stats_answers import Health
from runvis_core.store.rollup_cells import DAY
from runvis_core.store.view import share_view
from runvis_core.web.drawing.text import count_of, name_age, name_duration
from runvis_core.web.live import take_live
from runvis_core.web.page import asked, refuse_unknown, store_of
from runvis_core.web.pages.engine_days import draw_days, legend_of
from runvis_core.web.pin import control_moment, take_pin
from runvis_core.web.rendering import now_of, render

FRESH: Final = timedelta(hours=1)
"""A source that was not heard for longer counts as silent: as on the page of what is not known, which has hours."""
_SERVER: Final = frozenset({Witness.SCHEDULER.value, Witness.FOLLOWER.value})
"""Who tells what an engine's server knows."""


class Part(NamedTuple):
    """A part of a sentence, and where it leads."""

    words: str
    href: str | None = None


def show_overview(request: Request) -> Response:
    """Show what fails, what is late or silent, the last days of each engine, and when it was heard."""
    store, real_now, given = store_of(request), now_of(request), asked(request)
    pin = take_pin(request, given)
    live = take_live(request, given) if pin is None else None
    refuse_unknown(given, ("live", "as_of", "known_at"))
    now = now_of(request)
    with share_view(store):
        if pin is None:
            health, heard = get_health(store, now=now), get_heard(store)
        else:
            health, heard = get_past_standing(store, pin.asked, now=real_now, at=now)
        moment = control_moment(request, pin, {})
    until = find_counted_until(pin.asked) if pin else None
    # Of a past it is not told when who was heard.
    unheard = [] if pin else [one for one in heard.sources if not _is_fresh(one, now)]
    wrong = _wrong(health)
    return render(
        request,
        "overview.html",
        live=live,
        moment=moment,
        health=health,
        heard=heard,
        mood="bad" if wrong else "unsure" if unheard or not heard.sources else "good",
        sentence=_sentence(wrong, heard, unheard, now, is_past=pin is not None),
        engines=draw_days(
            health.days,
            last=begin_of(until - timedelta(microseconds=1) if until else now, DAY),
            until=until,
            unheard_since={(one.engine, one.deployment): one.heard_at for one in unheard},
        ),
        legend=legend_of(health.days),
        unheard=unheard,
        is_begun=any(one.last_at for one in heard.sources),
        server_witnesses=_SERVER,
        address=str(request.base_url).rstrip("/"),
    )


def _is_fresh(source: SourceView, now: datetime) -> bool:
    return source.heard_at is not None and now - source.heard_at <= FRESH


def _wrong(health: Health) -> list[Part]:
    """Return what is wrong, each with the list of just as many."""
    found = [
        (health.failing_count, "definition", "failing", "#failing"),
        (health.late_count, "definition", "late", "#late"),
        (health.silent_count, "run", "silent", "/runs?silent=true&all=true"),
    ]
    parts: list[Part] = []
    said = ""
    for count, noun, how, href in found:
        if count:
            parts.append(Part(f"{f'{count:,}' if noun == said else count_of(count, noun)} {how}", href))
            said = noun
    return parts


def _sentence(
    wrong: Sequence[Part], heard: Heard, unheard: Sequence[SourceView], now: datetime, *, is_past: bool
) -> list[Part]:
    if not heard.position:
        return [Part("Nothing was recorded yet, so nothing can be said.")]
    if not heard.sources:
        return [Part("No engine was heard yet, so nothing can be said.")]
    parts: list[Part] = []
    for part in wrong:
        parts += [Part(", "), part] if parts else [part]
    if not parts:
        parts.append(Part("No trouble was told of, but not by all" if unheard else "Nothing is known to be wrong"))
    parts.append(Part("; "))
    if is_past:
        sources = count_of(len(heard.sources), "deployment")
        entries = count_of(heard.position, "entry", "entries")
        return [*parts, Part(f"by {entries} of the log, from {sources} heard by then.")]
    return [*parts, Part(_name_heard(heard.sources, len(unheard), now), "#sources"), Part(".")]


def _name_heard(sources: Sequence[SourceView], unheard: int, now: datetime) -> str:
    """Return how many of the sources were heard, and within what."""
    total = len(sources)
    moments = [one.heard_at for one in sources if one.heard_at]
    if not unheard:
        who = f"all {total} sources" if total > 1 else "the only source"
        return f"{who} heard from within {name_duration(max(0.0, (now - min(moments)).total_seconds()))}"
    if unheard < total:
        return f"{total - unheard} of {total} sources heard from within the last hour"
    who = f"none of {total} sources" if total > 1 else "the only source not"
    return f"{who} heard from within the last hour, last {name_age(max(moments, default=None), now=now)}"
