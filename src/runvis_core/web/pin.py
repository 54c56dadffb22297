"""Which past a page shows: what its address pins, the moment from which it counts, and the control that sets it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from starlette.requests import Request

from runvis_core.services.entries import find_head, find_recorded_at
from runvis_core.services.past import reading_past
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.web.drawing.text import exact_moment
from runvis_core.web.page import store_of, understand, with_zones
from runvis_core.web.rendering import now_of, with_query

HOUR: Final = timedelta(hours=1)


class Pin(NamedTuple):
    """A past: what was asked for, and the last position of the log that counts."""

    asked: PastFilter
    position: int

    @property
    def query(self) -> dict[str, str | int]:
        """What keeps the pin in an address."""
        return self.asked.as_query()


def take_pin(request: Request, given: dict[str, Any]) -> Pin | None:
    """Take the past that an address asks about out of its parameters; None for the present.

    From then on the page counts from the pinned moment, so that it is the same whenever it is asked for.
    """
    said = {name: given.pop(name) for name in PastFilter.model_fields if name in given}
    past = understand(PastFilter, with_zones(said, *PastFilter.model_fields))
    if past.is_present:
        return None
    store = store_of(request)
    with reading_past(store, past, now=now_of(request)) as (_, found):
        position = found.position
    request.scope["state"]["now"] = past.as_of or find_recorded_at(store, position) or now_of(request)
    return Pin(past, position)


def asked_of(pin: Pin | None) -> PastFilter:
    """Return which past the services are to be asked about."""
    return pin.asked if pin else PRESENT


class MomentControl(NamedTuple):
    """The control at the top of a page that says which moment it shows, and leads to others."""

    path: str
    kept: list[tuple[str, str]]
    """The page's other parameters, which the form sends along."""
    said: str
    """`Now`, or which moment."""
    as_of: str
    known_at: str
    links: list[tuple[str, str]]
    now_href: str
    permalink: str
    is_pinned: bool
    position: int


def control_moment(
    request: Request,
    pin: Pin | None,
    given: Mapping[str, Any],
    *,
    around: tuple[datetime | None, datetime | None] | None = None,
    last_position: int | None = None,
) -> MomentControl:
    """Return the control of a page; `given` are its parameters without the pin.

    `around` is when the run that the page is about began and ended, `last_position` that of its last entry; without it
    the log's last one counts.
    """
    path, now = request.url.path, now_of(request)
    position = pin.position if pin else find_head(store_of(request))
    last = position if last_position is None else last_position
    moments: list[tuple[str, datetime | None]] = [("1 hour earlier", now.replace(microsecond=0) - HOUR)]
    if around is not None:
        begun, ended = around
        moments += [("before this run", begun and begun - timedelta(seconds=1)), ("when it had ended", ended)]
    # What is known at a position goes on counting when the moment is another one.
    known = {"known_at": pin.query["known_at"]} if pin and "known_at" in pin.query else {}
    links = [
        (with_query(path, {**given, **known, "as_of": moment}), words)
        for words, moment in moments
        if moment is not None and moment <= now
    ]
    if last:
        links.append((with_query(path, {**given, "known_at": str(last - 1)}), "before the last change"))
    as_of = exact_moment(pin.asked.as_of) if pin and pin.asked.as_of else ""
    return MomentControl(
        path=path,
        kept=[(name, one) for name, value in given.items() for one in _several(value)],
        said=_say(pin),
        as_of=as_of,
        known_at=str(pin.query["known_at"]) if pin and "known_at" in pin.query else "",
        links=links,
        now_href=with_query(path, given),
        # Position 0 is one, too: nothing was recorded by then.
        permalink=with_query(path, {**given, **({"as_of": as_of} if as_of else {}), "known_at": str(position)}),
        is_pinned=pin is not None,
        position=position,
    )


def _several(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _say(pin: Pin | None) -> str:
    if pin is None:
        return "Now"
    of, known = pin.asked.as_of, f"known at position {pin.position}"
    if of is None:
        return f"As {known}"
    seconds = f"{of:%H:%M:%S}" if of.second else f"{of:%H:%M}"
    said = f"As of {of.day} {of:%b %Y} {seconds} UTC"
    return said if pin.asked.known_at is None else f"{said}, {known}"
