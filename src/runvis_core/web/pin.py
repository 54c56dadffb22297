"""Which past a page shows: what its address pins, and the moment from which it counts."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from starlette.requests import Request

from runvis_core.services.entries import list_entries
from runvis_core.services.past import reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.web.page import asked, store_of, understand
from runvis_core.web.rendering import now_of


class Pin(NamedTuple):
    """A past: what was asked for, and the last position of the log that counts."""

    asked: PastFilter
    position: int

    @property
    def query(self) -> dict[str, str | int]:
        """What keeps the pin in an address."""
        return self.asked.as_query()


def find_pin(request: Request) -> Pin | None:
    """Return the past that an address asks about; None for the present.

    From then on the page counts from the pinned moment, so that it is the same whenever it is asked for.
    """
    given = {name: value for name, value in asked(request).items() if name in PastFilter.model_fields}
    past = understand(PastFilter, given)
    if past.is_present:
        return None
    with reading_past(store_of(request), past, now=now_of(request)) as (_, found):
        position = found.position
    request.scope["state"]["now"] = past.as_of or _recorded_at(request, position) or now_of(request)
    return Pin(past, position)


def _recorded_at(request: Request, position: int) -> datetime | None:
    page = list_entries(store_of(request), after=position - 1, limit=1) if position else None
    return page.items[0].recorded_at if page and page.items else None
