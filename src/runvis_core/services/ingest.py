"""The only door into a store: for every transport, receiver, importer and reconciler."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import orjson
from pydantic import ValidationError

from runvis_core.errors import EventError, RowRefusedError
from runvis_core.model.decision import Binding
from runvis_core.model.encoding import MAX_EVENT_BYTES, SealedEvent, read_item, seal
from runvis_core.model.event import STORE_MADE_KINDS, EventBase, parse_event
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import Witness
from runvis_core.plugins import Plugins, plugin_manager
from runvis_core.services.calendar import MAX_YEAR, MIN_YEAR
from runvis_core.services.principals import UNBOUND, check_binding
from runvis_core.services.teams import check_runs, find_contests
from runvis_core.store.database import Store
from runvis_core.store.garbage import searched_rarely
from runvis_core.store.liveness import record_beats
from runvis_core.store.log import Appended
from runvis_core.store.outcome import Outcome
from runvis_core.store.refusals import Refusal, record_refusals

MAX_ITEMS: Final = 1000
"""Items in one delivery. The door where a delivery comes in refuses more; a group of deliveries may have more."""
MAX_DEPTH: Final = 32
"""Objects and arrays within one another, in an event and in a body."""
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_NAME_BYTES: Final = 1000
"""Bytes of a name or word in UTF-8: more than this an index of PostgreSQL can't hold beside others."""
MAX_NUMBER: Final = 2**63 - 1
MAX_SUSPECTS: Final = 20
"""Events that the database refuses one by one, with nothing stored, before the store is taken to be at fault."""
MAX_REASON: Final = 250
"""Characters of a refusal's reason that are remembered."""

Item = bytes | Mapping[str, Any]
"""A wire item, `{"event": …, "bodies": {digest: {content, salt}}}`, or an event with its content inline."""


class EventLimits(NamedTuple):
    """How large one event may be."""

    bytes: int = MAX_EVENT_BYTES
    depth: int = MAX_DEPTH


DEFAULT_LIMITS: Final = EventLimits()


Count = Callable[[Sequence[Outcome]], object]
"""Takes note of what became of the events of one delivery."""

_count: ContextVar[Count | None] = ContextVar("_count", default=None)


@contextmanager
def counting(count: Count) -> Generator[None]:
    """Have all counted that this thread ingests meanwhile, also by the code of a plugin, which is not told of this."""
    token = _count.set(count)
    try:
        yield
    finally:
        _count.reset(token)


class _Parsed(NamedTuple):
    places: list[int]
    """Where in the delivery each event stood."""
    events: list[SealedEvent]
    refused: list[Outcome]
    refusals: list[Refusal]
    """Those of the refused that a producer numbered."""

    def refuse(self, place: int, item: Item, error: EventError) -> None:
        """Note that the item at a place is refused."""
        self.refused.append(Outcome(place, "refused", field=error.field, reason=error.reason))
        if (refusal := find_refusal(item, error.reason)) is not None:
            self.refusals.append(refusal)


def ingest_items(
    store: Store,
    items: Sequence[Item],
    *,
    principal: str,
    binding: Binding = UNBOUND,
    limits: EventLimits = DEFAULT_LIMITS,
    plugins: Plugins | None = None,
) -> list[Outcome]:
    """Store what can be stored of `items`; return what became of each, in their order.

    A malformed item is refused with its field and reason, the rest is stored: all of it or, when an error is raised,
    nothing. `principal` is who brought them, as the door knows it; what is not theirs by their `binding` is refused.
    """
    plugins = plugins or plugin_manager()
    with searched_rarely():
        outcomes = _ingest(store, items, principal=principal, binding=binding, limits=limits, plugins=plugins)
    if (count := _count.get()) is not None:
        count(outcomes)
    return outcomes


def _ingest(
    store: Store, items: Sequence[Item], *, principal: str, binding: Binding, limits: EventLimits, plugins: Plugins
) -> list[Outcome]:
    parsed = _parse_all(items, binding, limits, plugins)
    of_teams = [one.event for one in parsed.events if one.event.team is not None]
    if binding.team is not None:
        _refuse(parsed, items, check_runs(store, [one.event for one in parsed.events], binding.team))
    appended, faults = _append(store, parsed.events, principal)
    _refuse(parsed, items, faults)
    # Also of what was refused just now: that somebody claimed the run of another team stands in the log.
    if contests := find_contests(store, of_teams):
        appended.entries.extend(store.log.append(contests, principal=principal).entries)
    outcomes = [
        outcome._replace(index=place) if outcome.index != place else outcome
        for place, outcome in zip(parsed.places, appended.outcomes, strict=True)
    ]
    if parsed.refused:
        record_refusals(store.engine, parsed.refusals, store.clock())
        outcomes = sorted([*outcomes, *parsed.refused], key=lambda outcome: outcome.index)
    # Durable by now: what a plugin makes of it, or fails at, changes nothing about that.
    if appended.entries and plugins.has("runvis_events_recorded"):
        list(plugins.ask("runvis_events_recorded", entries=appended.entries))
    if appended.ended and plugins.has("runvis_run_ended"):
        for run in appended.ended:
            list(plugins.ask("runvis_run_ended", run=run))
    return outcomes


def ingest_events(
    store: Store, events: Iterable[EventBase], *, principal: str, plugins: Plugins | None = None
) -> list[Outcome]:
    """Store events that this process made itself; the same as `ingest_items`."""
    items: list[Item] = []
    for event in events:
        sealed = seal(event)
        bodies = {
            body.digest.hex(): {"content": body.content.decode(), "salt": body.salt.hex()} for body in sealed.bodies
        }
        items.append({"event": orjson.loads(sealed.data), "bodies": bodies})
    return ingest_items(store, items, principal=principal, plugins=plugins)


def record_heartbeats(store: Store, beats: Iterable[Heartbeat]) -> None:
    """Note that runs are alive, by the store's clock. Ended runs have no life to note."""
    record_beats(store.engine, {beat.run_id: beat.interval_seconds for beat in beats}, store.clock())


def _parse_all(items: Sequence[Item], binding: Binding, limits: EventLimits, plugins: Plugins) -> _Parsed:
    parsed = _Parsed([], [], [], [])
    has_hooks = plugins.has("runvis_redact") or plugins.has("runvis_enrich")
    for index, item in enumerate(items):
        try:
            sealed = _parse(item, limits)
            check_binding(binding, sealed.event)
            if has_hooks:
                sealed = _with_hooks(sealed, plugins)
        except EventError as error:
            parsed.refuse(index, item, error)
        else:
            parsed.places.append(index)
            parsed.events.append(sealed)
    return parsed


def _append(store: Store, events: Sequence[SealedEvent], principal: str) -> tuple[Appended, Mapping[int, EventError]]:
    """Append events; return also, by place, those that the database itself refuses, while it takes others.

    Else one event that nobody foresaw would hold up all that are sent with it, for ever. Raises `RowRefusedError` where
    nothing is taken: the fault may be the store's.
    """
    try:
        return store.log.append(events, principal=principal), {}
    except RowRefusedError as error:
        appended, faults = _append_in_parts(store, events, principal)
        if not appended.entries:
            raise error from None
        return appended, faults


def _append_in_parts(
    store: Store, events: Sequence[SealedEvent], principal: str
) -> tuple[Appended, Mapping[int, EventError]]:
    appended, faults = Appended([], [], []), dict[int, EventError]()
    waiting = [(0, len(events))]
    while waiting:
        start, end = waiting.pop()
        middle = (start + end) // 2
        try:
            part = store.log.append(events[start:end], principal=principal)
        except RowRefusedError as error:
            if end - start > 1:
                waiting += [(middle, end), (start, middle)]
                continue
            faults[start] = EventError("event", str(error))
            if len(faults) == MAX_SUSPECTS and not appended.entries:
                break
        else:
            appended.outcomes.extend(part.outcomes)
            appended.entries.extend(part.entries)
            appended.ended.extend(part.ended)
    return appended, faults


def _refuse(parsed: _Parsed, items: Sequence[Item], faults: Mapping[int, EventError]) -> None:
    for at in sorted(faults, reverse=True):
        place, error = parsed.places.pop(at), faults[at]
        del parsed.events[at]
        parsed.refuse(place, items[place], error)


def find_refusal(item: Item, reason: str) -> Refusal | None:
    """Return whose number a refused item has, where it can be read; None for what nobody numbered."""
    try:
        raw: Any = orjson.loads(item) if isinstance(item, bytes) else item
        event = raw.get("event", raw)
        producer, sequence = UUID(event["producer"]), event["sequence"]
        if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence <= MAX_NUMBER:
            return None
        engine, deployment = (_word(event.get(name)) for name in ("engine", "deployment"))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None
    return Refusal(producer, sequence, engine, deployment, _storable(reason)[:MAX_REASON])


def _word(value: Any) -> str | None:
    return _storable(value) if isinstance(value, str) and len(value) <= MAX_REASON else None


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _parse(item: Item, limits: EventLimits) -> SealedEvent:
    """Return the event that an item says, checked. Raises `EventError`."""
    try:
        raw: Any = orjson.loads(item) if isinstance(item, bytes) else item
        if not isinstance(raw, dict | Mapping):
            raise EventError("", "an item is a JSON object")
        said = cast("Mapping[str, Any]", raw)
        sealed = read_item(said if "event" in said else {"event": said})
    except orjson.JSONDecodeError as error:
        raise EventError("", f"the item is not JSON: {error}") from error
    except ValidationError as error:
        raise _first_fault(error) from error
    except OverflowError as error:
        raise EventError("event", "a time lies outside of the years 2 to 9998") from error
    except (RecursionError, TypeError) as error:
        raise EventError("", f"the item can't be written as JSON: {error}") from error
    if sealed.event.content:
        # The event must say of its bodies what its bytes say.
        sealed = sealed._replace(event=parse_event(orjson.loads(sealed.data)))
    _check(sealed, limits)
    return sealed


def _first_fault(error: ValidationError) -> EventError:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    field = ".".join(str(part) for part in ("event", *faults[0]["loc"]))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return EventError(field, faults[0]["msg"] + more)


def _check(sealed: SealedEvent, limits: EventLimits) -> None:
    event, data, bodies = sealed
    if event.kind in STORE_MADE_KINDS:
        raise EventError("event.kind", f"only the store itself records events of kind '{event.kind}'")
    if event.witness is Witness.OPERATOR:
        raise EventError("event.witness", "only the store itself records what its operator does")
    if len(data) > limits.bytes:
        raise EventError(
            "event", f"the event has {len(data)} bytes, and at most {limits.bytes}: give its large parts as content"
        )
    _check_depth("event", data, limits.depth)
    _check_range(event)
    if not data.isascii():
        _check_names(event)
    for name, ref in event.bodies.items() if bodies else ():
        if ref.size > MAX_BODY_BYTES:
            raise EventError(f"bodies.{name}", f"the body has {ref.size} bytes, and at most {MAX_BODY_BYTES}")
    for body in bodies:
        _check_depth("bodies", body.content, limits.depth)


def _check_depth(field: str, data: bytes, depth: int) -> None:
    # No more brackets than that is no deeper than that, and true of most: counting is far cheaper than walking.
    if data.count(b"{") + data.count(b"[") <= depth:
        return
    level = _inside([orjson.loads(data)])
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise EventError(field, f"the JSON is nested more than {depth} deep")


def _inside(value: Any) -> list[Any]:
    """Return the objects and arrays that lie in one."""
    values = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
    return [inner for inner in values if isinstance(inner, dict | list)]


def _check_range(event: EventBase) -> None:
    """Refuse what no column can hold. A time that is merely far off is stored, and marked."""
    for name in _MOMENTS.get(event.kind, ("occurred_at",)):
        moment: datetime | None = getattr(event, name)
        if moment is not None and not MIN_YEAR <= moment.year <= MAX_YEAR:
            raise EventError(f"event.{name}", f"the year {moment.year} lies outside of {MIN_YEAR} to {MAX_YEAR}")
    for name in _NUMBERS.get(event.kind, ("sequence",)):
        number: int | None = getattr(event, name)
        if number is not None and not -MAX_NUMBER <= number <= MAX_NUMBER:
            raise EventError(f"event.{name}", f"the number is greater than {MAX_NUMBER}")


_MOMENTS: Final = {
    "state": ("occurred_at", "retry_expected_at"),
    "snapshot": ("occurred_at", "queued_at", "started_at", "ended_at"),
}
_NUMBERS: Final = {
    "identity": ("sequence", "attempt"),
    "producer_opened": ("sequence", "pid"),
    "producer_closed": ("sequence", "refused"),
}


def _check_names(event: EventBase) -> None:
    for name in type(event).model_fields:
        value = getattr(event, name)
        if isinstance(value, str) and name in _NAMES and len(value.encode()) > MAX_NAME_BYTES:
            raise EventError(f"event.{name}", f"the name has more than {MAX_NAME_BYTES} bytes")


_NAMES: Final = frozenset(
    {"definition", "native_key", "native_id", "name", "namespace", "target_native_key", "version"}
)
"""Fields that stand in an index and may have more than 250 characters."""


def _with_hooks(sealed: SealedEvent, plugins: Plugins) -> SealedEvent:
    """Return what the plugins leave of an event and add to it. Its bodies are open to them as `content`."""
    before = _with_content(sealed)
    redacted: EventBase = before
    for answer in plugins.pass_on("runvis_redact", before):
        if answer.error is not None:
            # What could not be redacted may hold anything: it stays with its sender.
            raise EventError("event", f"the redaction of the plugin {answer.plugin} failed: {answer.error}")
        redacted = answer.value
    after: EventBase = redacted
    for answer in plugins.pass_on("runvis_enrich", redacted):
        after = answer.value if answer.error is None else after
    if after is before:
        return sealed
    raw = orjson.loads(sealed.data)
    unknown = {name: value for name, value in raw.items() if name not in after.__class__.model_fields}
    resealed = seal(after, **unknown)
    return resealed._replace(event=parse_event(orjson.loads(resealed.data)))


def _with_content(sealed: SealedEvent) -> EventBase:
    if not sealed.bodies:
        return sealed.event
    contents = {body.digest.hex(): body.content for body in sealed.bodies}
    given = {name: orjson.loads(contents[ref.digest]) for name, ref in sealed.event.bodies.items()}
    return sealed.event.model_copy(update={"content": given, "bodies": {}})
