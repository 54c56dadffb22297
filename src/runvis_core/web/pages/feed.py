"""Runs: what just happened, anywhere?"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.state import State, TriggerKind
from runvis_core.services.feed import FeedRow
from runvis_core.services.filters import RunFilter
from runvis_core.services.past_feed import list_feed_at
from runvis_core.store.view import share_view
from runvis_core.web.live import take_live
from runvis_core.web.page import AskedError, asked, refuse_unknown, store_of, understand, with_zones
from runvis_core.web.pin import asked_of, control_moment, take_pin
from runvis_core.web.rendering import now_of, render, with_query

PAGE_ROWS: Final = 50
MAX_OPENED: Final = 20
_FIELDS: Final = (
    "engine",
    "deployment",
    "definition",
    "kind",
    "parent",
    "text",
    "native_state",
    "tag",
    "trigger",
    "since",
    "until",
    "correlation",
)
_FLAGS: Final = ("silent", "conflicting", "unnamed", "all")
_ALLOWED: Final = (
    *(name for name in RunFilter.model_fields if name != "top"),
    *("all", "open", "cursor", "live", "as_of", "known_at"),
)


class _Depth(BaseModel):
    all: bool = False


def show_feed(request: Request) -> Response:
    """Show runs, newest first; what lies inside another run is folded under it."""
    given: dict[str, Any] = asked(request)
    real_now, store = now_of(request), store_of(request)
    pin = take_pin(request, given)
    live = take_live(request, given) if pin is None else None
    kept = dict(given)
    opened = _opened(given.pop("open", []))
    cursor = given.pop("cursor", None)
    if isinstance(cursor, list):
        raise AskedError("cursor", "there is one at most")
    filters = _filters(given)
    with share_view(store):
        page = list_feed_at(
            store,
            filters,
            asked_of(pin),
            limit=PAGE_ROWS,
            cursor=cursor,
            now=real_now,
            opened=opened,
        )
        moment = control_moment(request, pin, kept)
    then = {**(pin.query if pin else {}), **({"live": 1} if live and live.is_on else {})}
    here = {**given, **then, "cursor": cursor}
    return render(
        request,
        "runs.html",
        live=live,
        moment=moment,
        rows=[_row(row, here, opened) for row in page.items],
        notes=[] if pin else page.notes,
        asked=_as_asked(given, filters),
        is_filtered=bool(given),
        states=[state.value for state in State],
        triggers=[kind.value for kind in TriggerKind],
        next_href=with_query("/runs", {**given, **then, "cursor": page.next_cursor}) if page.next_cursor else None,
        first_href=with_query("/runs", {**given, **then}) if cursor else None,
        address=str(request.base_url).rstrip("/"),
    )


def _filters(given: dict[str, str | list[str]]) -> RunFilter:
    said: dict[str, Any] = {name: value for name, value in given.items() if name != "all"}
    if isinstance(said.get("state"), str):
        said["state"] = [said["state"]]
    said = with_zones(said, "since", "until")
    if "top" in said:
        raise AskedError("top", "here it is all=true that shows what lies inside others, too")
    refuse_unknown(said, _ALLOWED)
    return understand(RunFilter, {**said, "top": not understand(_Depth, given).all})


def _opened(given: str | list[str]) -> list[UUID]:
    named = [given] if isinstance(given, str) else given
    if len(named) > MAX_OPENED:
        raise AskedError("open", f"at most {MAX_OPENED} runs can be open at once")
    try:
        return [UUID(name) for name in named]
    except ValueError:
        raise AskedError("open", "must be the id of a run") from None


def _as_asked(given: dict[str, str | list[str]], filters: RunFilter) -> dict[str, Any]:
    said: dict[str, Any] = {name: given.get(name, "") for name in _FIELDS}
    said["state"] = [state.value for state in filters.state]
    return said | {name: getattr(filters, name) if name != "all" else not filters.top for name in _FLAGS}


def _row(row: FeedRow, here: dict[str, Any], opened: list[UUID]) -> dict[str, Any]:
    is_open = row.run.run_id in opened
    still = [one for one in opened if one != row.run.run_id]
    return {
        **{name: getattr(row, name) for name in FeedRow.model_fields},
        "is_open": is_open,
        "open_href": with_query(
            "/runs", {**here, "open": still if is_open else [*still, row.run.run_id][-MAX_OPENED:]}
        ),
    }
