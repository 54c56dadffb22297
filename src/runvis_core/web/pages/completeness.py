"""Completeness: what don't we know?"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.services.completeness import get_completeness
from runvis_core.services.completeness_answers import Completeness, CompletenessFilter
from runvis_core.web.drawing.text import count_of
from runvis_core.web.page import asked, store_of, understand
from runvis_core.web.pages.feed import with_zone
from runvis_core.web.rendering import now_of, render

MAX_ROWS: Final = 100


def show_completeness(request: Request) -> Response:
    """Show what came and what did not, by day and deployment, and the runs that this makes uncertain."""
    given: dict[str, Any] = asked(request)
    for name in ("since", "until"):
        given |= {name: with_zone(given[name])} if isinstance(given.get(name), str) else {}
    filters = understand(CompletenessFilter, given)
    account = get_completeness(store_of(request), filters, limit=MAX_ROWS, now=now_of(request))
    return render(request, "completeness.html", account=account, sentence=_sentence(account), by=filters.by.value)


def _sentence(account: Completeness) -> str:
    if not account.items:
        return "Nobody was heard in this time, so nothing can be said of it."
    sent, missing = (sum(getattr(row, name) for row in account.items) for name in ("sent", "missing"))
    refused, lacking = (sum(getattr(row, name) for row in account.items) for name in ("refused", "lacking"))
    of = f"of {count_of(sent, 'numbered event')}"
    if account.whole:
        return f"Nothing is missing {of}."
    if account.whole is None:
        return f"Nothing is known to be missing {of}, but not all can be known."
    return f"{missing:,} missing and {refused:,} refused {of}; {count_of(lacking, 'run')} without the worker's word."
