"""Completeness: what don't we know?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.services.completeness import get_completeness
from runvis_core.services.completeness_answers import By, Completeness, CompletenessFilter
from runvis_core.services.entries import find_head
from runvis_core.services.heard_hours import HeardHour, HeardSource, get_heard_hours
from runvis_core.services.starts import LOOKED_AT, find_told
from runvis_core.web.drawing.text import count_of
from runvis_core.web.page import asked, store_of, understand, with_zones
from runvis_core.web.rendering import now_of, render, with_query

MAX_ROWS: Final = 100


def show_completeness(request: Request) -> Response:
    """Show what came and what did not, by day and deployment, and the runs that this makes uncertain."""
    given = asked(request)
    filters = understand(CompletenessFilter, with_zones(given, "since", "until"))
    store, now = store_of(request), now_of(request)
    account = get_completeness(store, filters, limit=MAX_ROWS, now=now)
    heard = get_heard_hours(store, filters, now=now)
    return render(
        request,
        "completeness.html",
        account=account,
        sentence=_sentence(account),
        numbered=account.total.sent,
        by=account.by,
        ways=[(f"By {by}", with_query("/completeness", {**given, "by": by})) for by in By],
        heard=heard,
        sources=[(source, [_cell(source, hour) for hour in source.hours]) for source in heard.sources],
        is_empty=not account.items and not find_head(store),
        address=str(request.base_url).rstrip("/"),
        told=find_told(store, filters, since=account.since, until=account.until),
        looked_at=LOOKED_AT,
    )


class Cell(NamedTuple):
    """An hour of a source as the page shows it: `key` names its look, `mark` tells it apart without colour."""

    key: str
    mark: str
    words: str
    href: str | None


def _cell(source: HeardSource, hour: HeardHour) -> Cell:
    words = [f"{hour.begins_at:%H}:00"]
    if hour.missing:
        key, mark = "gap", "!"
        words.append(f"{count_of(hour.missing, 'number')} missing")
    elif hour.filled:
        key, mark = "filled", "↺"
        words.append(f"{count_of(hour.filled, 'number')} came later")
    elif hour.heard:
        key, mark = "heard", "•"
        words.append("heard")
    else:
        return Cell("quiet", "", f"{words[0]}, silent", None)
    words.append(f"{count_of(hour.runs, 'run')} first heard of")
    if hour.without_end:
        words.append(f"{hour.without_end} without an end")
    if hour.clock_off:
        words.append(f"{hour.clock_off} with a clock that was off")
    between = {"since": hour.begins_at, "until": hour.begins_at + timedelta(hours=1)}
    of = {"engine": source.engine, "deployment": source.deployment, "all": True}
    return Cell(key, mark, ", ".join(words), with_query("/runs", {**of, **between}))


def _sentence(account: Completeness) -> str:
    total = account.total
    if not account.items:
        return "Nobody was heard in this time, so nothing can be said of it."
    if not total.sent and not total.refused:
        return "Nobody numbered their events in this time, so whether any are missing can't be known."
    of = f"of {count_of(total.sent, 'numbered event')}{' about runs' if account.by == By.DEFINITION else ''}"
    if account.whole:
        return f"Nothing is missing {of}."
    if account.whole is None:
        return f"Nothing is known to be missing {of}, but not all can be known."
    said = f"{total.missing:,} missing and {total.refused:,} refused {of}"
    unkept = f"; {count_of(total.unkept, 'event')} that their senders could not keep" if total.unkept else ""
    return f"{said}{unkept}; {count_of(total.lacking, 'run')} without the worker's word."
