"""A run: why did it end this way, and where did the time go?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.entry import Entry
from runvis_core.model.event import parse_event
from runvis_core.model.past import happened_at
from runvis_core.model.state import State
from runvis_core.services.answers import EntryView, RunDetail
from runvis_core.services.asking import get_drawn_run_at
from runvis_core.services.compare import find_last_success
from runvis_core.services.entries import find_last_position, find_run_entries
from runvis_core.services.feed import is_unexplained
from runvis_core.services.names import ANYWHERE, Within, find_run_id
from runvis_core.services.past_feed import find_failed_inside_at
from runvis_core.services.reading import reading
from runvis_core.services.silence import find_silent_shown
from runvis_core.services.spans import find_parents
from runvis_core.store.database import Store
from runvis_core.store.view import share_view
from runvis_core.web.drawing.spans import spans_of
from runvis_core.web.drawing.verdict import is_silent, judge_run
from runvis_core.web.drawing.waterfall import draw_waterfall
from runvis_core.web.live import take_live
from runvis_core.web.long_lists import LongLists, Part
from runvis_core.web.page import asked, number, refuse_unknown, store_of, understand
from runvis_core.web.pin import Pin, asked_of, control_moment, take_pin
from runvis_core.web.rendering import now_of, redirect, render, with_query

ENTRIES: Final = 30
_SHOWN: Final = ("part", "from", "after")
"""What of a page's address says which part of its lists it shows."""
LISTS: Final = ("data", "artifacts", "metrics", "context", "attempts", "testimony", "states", "late", "said")
"""Lists of the page of which a part is shown, by the anchors of their headings or tables."""


def show_run(request: Request) -> Response:
    """Show all that is, or was, known about a run. A native id or the beginning of an id leads to the run's address."""
    name, store = request.path_params["name"], store_of(request)
    given: dict[str, Any] = asked(request)
    after = number(given.get("after"), "after")
    within = understand(Within, {field: given.pop(field) for field in Within.model_fields if field in given})
    if within != ANYWHERE:
        return redirect(with_query(f"/runs/{find_run_id(store, name, within)}", given))
    everything = dict(given)
    real_now = now_of(request)
    pin = take_pin(request, given)
    live = take_live(request, given) if pin is None else None
    now = now_of(request)
    given.pop("after", None)
    with share_view(store):
        run, facts, unshown = get_drawn_run_at(store, name, asked_of(pin), now=real_now)
        if name != str(run.run_id):
            return redirect(with_query(f"/runs/{run.run_id}", everything))
        lists = LongLists(f"/runs/{run.run_id}", given, pin.query if pin else {}, LISTS)
        refuse_unknown(given, (*Within.model_fields, *_SHOWN, "live", "as_of", "known_at"))
        shown = {field: everything[field] for field in _SHOWN if field in everything}
        events = _events(store, run, after, pin)
        reason = None
        if is_unexplained(run):
            reason = find_failed_inside_at(store, run.run_id, asked_of(pin), now=real_now)
        above = find_parents(store, run.run_id) if run.parent_run_id and not pin else []
        actions = [] if pin else _actions(store, run)
        # Alone it is no list, and its tree tells of it.
        several = run.attempts if len(run.attempts) > 1 and not pin else []
        silent_attempts = find_silent_shown(store, several, now=now)
        moment = control_moment(
            request,
            pin,
            shown,
            around=(run.queued_at or run.started_at, run.ended_at),
            last_position=find_last_position(store, run.run_id, until=pin.position if pin else None),
        )
    root = spans_of(run.tree, facts, unshown)
    return render(
        request,
        "run.html",
        run=run,
        pin=pin,
        live=live,
        moment=moment,
        above=above,
        verdict=judge_run(run, root, reason, now=now),
        is_silent=is_silent(run),
        silent_attempts=silent_attempts,
        # The first ones may not have been recorded.
        highest=max(len(run.attempts), *(one.attempt or 0 for one in run.attempts), 0),
        fall=draw_waterfall(root, now=now),
        lists=_lists(run, lists),
        sources=len({word.witness for word in run.testimony}),
        agreeing=_count_agreeing(run),
        actions=actions,
        reason=reason,
        events=events,
    )


def _lists(run: RunDetail, lists: LongLists) -> dict[str, Part]:
    data = [(way, one) for way, sets in (("reads", run.reads), ("writes", run.writes)) for one in sets]
    rows: dict[str, Sequence[Any]] = {
        "data": data,
        "artifacts": run.artifacts,
        "metrics": run.metrics,
        "context": list(_context_rows(run)),
        "testimony": run.testimony,
        "states": run.transitions,
        "late": run.late,
        "said": run.said,
    }
    here = next((place for place, one in enumerate(run.attempts) if one.run_id == run.run_id), 0)
    return {
        **{name: lists.show(name, rows[name]) for name in rows},
        "attempts": lists.show("attempts", run.attempts, at=here),
    }


def _events(store: Store, run: RunDetail, after: int, pin: Pin | None) -> dict[str, Any]:
    with reading(store) as connection:
        page = find_run_entries(connection, run.run_id, after=after, limit=ENTRIES + 1)
    recorded = [entry for entry in page.items if pin is None or entry.position <= pin.position]
    shown, rest = recorded[:ENTRIES], recorded[ENTRIES:]
    path, pinned = f"/runs/{run.run_id}", pin.query if pin else {}
    return {
        "entries": [_entry(entry) for entry in shown if pin is None or _had_happened(entry, pin)],
        "first_href": f"{with_query(path, pinned)}#events" if after else None,
        "next_href": f"{with_query(path, {'after': shown[-1].position, **pinned})}#events" if rest else None,
    }


def _had_happened(entry: EntryView, pin: Pin) -> bool:
    """Return whether what an entry tells belongs to the past of a page, by the rule of `happened_at`."""
    moment = pin.asked.as_of
    logged = Entry(entry.position, entry.recorded_at, entry.principal, parse_event(entry.event))
    return moment is None or happened_at(logged) <= moment


def _count_agreeing(run: RunDetail) -> int:
    """Return how many sources' last word on the end is the state that is in effect."""
    words = {word.witness: word.state for word in sorted(run.testimony, key=lambda word: word.position)}
    return sum(state is run.effective_state for state in words.values())


def _actions(store: Store, run: RunDetail) -> list[tuple[str, str]]:
    actions: list[tuple[str, str]] = []
    if run.retry_of:
        actions.append((f"/runs/{run.retry_of}", "The attempt before"))
    has_ended = run.effective_state is not None and run.effective_state.is_terminal
    if run.definition and has_ended and run.effective_state is not State.SUCCEEDED:
        with reading(store) as connection:
            good = find_last_success(connection, run.run_id)
        if good is not None:
            compared = with_query("/compare", {"left": good, "right": run.run_id})
            actions.append((compared, "What differs from the last that went well"))
    if run.correlation_id:
        actions.append((with_query("/runs", {"correlation": run.correlation_id, "all": True}), "All runs of its cause"))
    return actions


def _context_rows(run: RunDetail) -> Iterator[tuple[str, str, Any]]:
    context = run.context
    if run.parameters is not None:
        yield "input", "parameters", run.parameters
    if context.conf is not None:
        yield "input", "conf", context.conf
    for part, values in (("code", context.code), ("environment", context.environment), ("engine", context.engine)):
        for key, value in sorted(values.items()):
            yield part, key, value
    if context.tags:
        yield "engine", "tags", ", ".join(context.tags)
    if context.owner:
        yield "engine", "owner", context.owner


_ENVELOPE: Final = frozenset({"kind", "event_id", "engine", "deployment", "witness", "occurred_at", "run_id"})


def _entry(entry: EntryView) -> dict[str, Any]:
    event = entry.event
    said = {name: value for name, value in event.items() if name not in _ENVELOPE and value not in (None, {}, [])}
    return {
        "position": entry.position,
        "recorded_at": entry.recorded_at,
        "principal": entry.principal,
        "kind": str(event.get("kind", "")),
        "witness": str(event.get("witness", "")),
        "occurred_at": datetime.fromisoformat(event["occurred_at"]),
        "said": orjson.dumps(said).decode(),
    }
