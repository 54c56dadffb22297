"""The whole meaning of history: what a run is after one more entry. Pure: no clock, no session, no I/O.

Before the end, any order and duplication of the same entries gives the same run. The first recorded terminal
testimony freezes it; from then on recorded order decides: an empty field may be filled once, marked late; collections
may grow, marked late; nothing that has a value changes; a testimony that disagrees becomes a correction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from runvis_core.model.entry import Entry
from runvis_core.model.event import (
    ContextEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    LogEvent,
    PresumptionEvent,
    SnapshotEvent,
    StateEvent,
)
from runvis_core.model.identity import correction_id
from runvis_core.model.run import Collected, Correction, LateFact, Presumption, Rank, Record, Run, Testimony
from runvis_core.model.state import LIFECYCLE_RANK, Relation, State, Verdict, Witness

FOLD_VERSION: Final = 1
"""Stands on every run row. A change of meaning raises it; a rebuild with the same version gives the same tables."""

BOOKS_FIRST: Final[dict[Witness, int]] = {
    Witness.SCHEDULER: 0,
    Witness.FOLLOWER: 1,
    Witness.IMPORT: 2,
    Witness.WORKER: 3,
    Witness.RECONCILER: 4,
    Witness.OPERATOR: 5,
}
"""Who is believed first on what the engine's books hold: definition, attempt, parent, trigger, queue time."""

WORKER_FIRST: Final[dict[Witness, int]] = {
    Witness.WORKER: 0,
    Witness.SCHEDULER: 1,
    Witness.FOLLOWER: 2,
    Witness.IMPORT: 3,
    Witness.RECONCILER: 4,
    Witness.OPERATOR: 5,
}
"""Who is believed first on what happened in the process itself: start, inputs, code, environment, failure."""

CLOCK_AHEAD: Final = timedelta(minutes=5)
CLOCK_BEHIND: Final = timedelta(days=30)
"""How far a live witness's time may lie from the time of recording before the run is marked `clock_suspect`."""
_FARTHEST_BEHIND: Final = -CLOCK_BEHIND

IDENTITY_FIELDS: Final = (
    "definition",
    "definition_kind",
    "native_key",
    "native_id",
    "attempt",
    "parent_run_id",
    "caused_by_run_id",
    "retry_of",
    "correlation_id",
    "definition_version_id",
)
CONTEXT_SECTIONS: Final = ("code", "environment", "engine_context")
COLLECTED_KINDS: Final = frozenset({"dataset", "artifact", "metric", "link", "alias"})


def apply_event(record: Record | None, entry: Entry) -> Record:
    """Return what the run's history means with one more entry. The entry's event must be about a run."""
    return fold_entries(record, (entry,))


def fold_entries(record: Record | None, entries: Iterable[Entry]) -> Record:
    """Return what the run's history means with more entries, in recorded order; `record` itself stays as it is."""
    return fold_into(_copy(record) if record is not None else None, entries)


def fold_into(draft: Record | None, entries: Iterable[Entry]) -> Record:
    """The same as `fold_entries`, for a record that nobody else has: it is changed itself."""
    for entry in entries:
        if draft is None:
            draft = _begin(entry.event)
        _mark_clock(draft, entry)
        handler = _HANDLERS.get(entry.event.kind)
        if handler is not None:
            handler(draft, entry)
    if draft is None:
        raise ValueError("there is nothing to fold: no record and no entries")
    return draft


def _copy(record: Record) -> Record:
    return replace(
        record,
        run=replace(record.run),
        context={section: dict(keys) for section, keys in record.context.items()},
        ranks=dict(record.ranks),
        collections=dict(record.collections),
    )


def _begin(event: EventBase) -> Record:
    run_id: UUID | None = getattr(event, "run_id", None)
    if run_id is None:
        raise ValueError(f"an event of kind '{event.kind}' without a run can't be folded into one")
    return Record(Run(run_id=run_id, engine=event.engine, deployment=event.deployment))


def _mark_clock(record: Record, entry: Entry) -> None:
    if not record.run.clock_suspect and is_clock_suspect(entry):
        record.run.clock_suspect = True


def is_clock_suspect(entry: Entry) -> bool:
    """Return whether the time that an entry's event tells lies too far from the time of its recording."""
    event = entry.event
    ahead = event.occurred_at - entry.recorded_at
    if _FARTHEST_BEHIND <= ahead <= CLOCK_AHEAD:
        return False
    return ahead > CLOCK_AHEAD or event.witness is Witness.WORKER or event.witness is Witness.SCHEDULER


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _latest(precedence: dict[Witness, int], event: EventBase) -> Rank:
    """Rank a report so that, of one witness's reports, the latest is believed. The lowest rank wins."""
    return (precedence[event.witness], -_micros(event.occurred_at), event.event_id.hex)


def _earliest(precedence: dict[Witness, int], event: EventBase, moment: datetime) -> Rank:
    """Rank a report of a moment so that, of one witness's reports, the earliest moment is believed."""
    return (precedence[event.witness], _micros(moment), event.event_id.hex)


def _offer(record: Record, entry: Entry, name: str, value: Any, rank: Rank) -> None:
    """Set a field of the run, if this report outranks the one that set it, or it is still empty after the freeze."""
    if value is None:
        return
    if record.is_frozen:
        if getattr(record.run, name) is None:
            setattr(record.run, name, value)
            record.late = (*record.late, LateFact(name, value, entry.position))
        return
    known = record.ranks.get(name)
    if known is None or rank < known:
        setattr(record.run, name, value)
        record.ranks[name] = rank


def _offer_key(record: Record, entry: Entry, section: str, key: str, value: Any, rank: Rank) -> None:
    """The same as `_offer`, for one key of a section of the context."""
    keys = record.context.setdefault(section, {})
    name = f"{section}.{key}"
    if record.is_frozen:
        if key not in keys:
            keys[key] = value
            record.late = (*record.late, LateFact(name, value, entry.position))
        return
    known = record.ranks.get(name)
    if known is None or rank < known:
        keys[key] = value
        record.ranks[name] = rank


def _offer_section(record: Record, entry: Entry, section: str, value: dict[str, Any], rank: Rank) -> None:
    """The same as `_offer`, for a section that comes whole from one report."""
    if record.is_frozen:
        if section not in record.context:
            record.context[section] = value
            record.late = (*record.late, LateFact(section, value, entry.position))
        return
    known = record.ranks.get(section)
    if known is None or rank < known:
        record.context[section] = value
        record.ranks[section] = rank


def _offer_state(record: Record, event: EventBase, state: State, native_state: str | None, at: datetime) -> None:
    """Take a state before the end, if it is the latest by time, place in life and event id."""
    if record.is_frozen:
        return
    rank = (_micros(at), LIFECYCLE_RANK[state], event.event_id.hex)
    known = record.ranks.get("state")
    if known is None or rank > known:
        record.run.state, record.run.native_state = state, native_state
        record.ranks["state"] = rank
        _judge(record)


def _apply_state(record: Record, entry: Entry) -> None:
    event = _as(entry, StateEvent)
    if event.state.is_terminal:
        _testify(record, entry, event.state, event.native_state, event.occurred_at)
        _offer(record, entry, "retry_expected_at", event.retry_expected_at, _latest(BOOKS_FIRST, event))
        return
    _offer_state(record, event, event.state, event.native_state, event.occurred_at)
    if event.state is State.RUNNING:
        rank = _earliest(WORKER_FIRST, event, event.occurred_at)
        _offer(record, entry, "started_at", event.occurred_at, rank)
    elif event.state is State.QUEUED:
        _offer(record, entry, "queued_at", event.occurred_at, _earliest(BOOKS_FIRST, event, event.occurred_at))


def _apply_snapshot(record: Record, entry: Entry) -> None:
    event = _as(entry, SnapshotEvent)
    if event.queued_at is not None:
        _offer(record, entry, "queued_at", event.queued_at, _earliest(BOOKS_FIRST, event, event.queued_at))
    if event.started_at is not None:
        _offer(record, entry, "started_at", event.started_at, _earliest(WORKER_FIRST, event, event.started_at))
    if event.state is None:
        return
    if event.state.is_terminal:
        _testify(record, entry, event.state, event.native_state, event.ended_at or event.occurred_at)
    else:
        _offer_state(record, event, event.state, event.native_state, event.occurred_at)


def _testify(record: Record, entry: Entry, state: State, native_state: str | None, ended_at: datetime) -> None:
    """Take a word on how the run ended: the first one freezes it, one that disagrees becomes a correction."""
    event = entry.event
    if any(known.event_id == event.event_id for known in record.testimonies):
        return
    testimony = Testimony(event.witness, state, native_state, ended_at, entry.position, event.event_id)
    record.testimonies = (*record.testimonies, testimony)
    run = record.run
    if not record.is_frozen:
        run.state, run.native_state, run.ended_at = state, native_state, ended_at
        run.frozen_position = entry.position
        record.ranks.clear()
    elif state is not run.state and all(known.testimony.state is not state for known in record.corrections):
        correction = Correction(correction_id(run.run_id, state), run.run_id, testimony)
        record.corrections = (*record.corrections, correction)
    _judge(record)


def _judge(record: Record) -> None:
    """Decide `effective_state` and `presumed` from the run's state, its testimonies and its presumption."""
    run = record.run
    if record.is_frozen:
        run.presumed = None
        latest = max(record.testimonies, key=lambda word: (word.occurred_at, word.state is run.state))
        run.effective_state = latest.state
        return
    presumption = record.presumption
    run.presumed = presumption.verdict if presumption and presumption.verdict is not Verdict.BEATING else None
    run.effective_state = presumption.state if presumption and presumption.state else run.state


def _apply_presumption(record: Record, entry: Entry) -> None:
    event = _as(entry, PresumptionEvent)
    known = record.presumption
    if known is not None and (event.occurred_at, event.event_id.hex) <= (known.occurred_at, known.event_id.hex):
        return
    record.presumption = Presumption(
        event.verdict, event.state, event.reason, event.occurred_at, entry.position, event.event_id
    )
    _judge(record)


def _apply_identity(record: Record, entry: Entry) -> None:
    event = _as(entry, IdentityEvent)
    rank = _latest(BOOKS_FIRST, event)
    for name in IDENTITY_FIELDS:
        if name in event.model_fields_set:
            _offer(record, entry, name, getattr(event, name), rank)
    if "attempt" not in event.model_fields_set:
        _offer(record, entry, "attempt", event.attempt, rank)
    if event.trigger is not None:
        _offer(record, entry, "trigger_kind", event.trigger.kind.value, rank)
        _offer(record, entry, "trigger_native", event.trigger.native, rank)
    _offer_bodies(record, entry, event, rank)


def _apply_context(record: Record, entry: Entry) -> None:
    event = _as(entry, ContextEvent)
    rank = _latest(WORKER_FIRST, event)
    for section in CONTEXT_SECTIONS:
        for key, value in getattr(event, section).items():
            _offer_key(record, entry, section, key, value, rank)
    for tag in event.tags:
        _offer_key(record, entry, "tags", tag, True, rank)
    _offer(record, entry, "owner", event.owner, rank)
    _offer(record, entry, "native_url", event.native_url, rank)
    _offer_bodies(record, entry, event, rank)


def _offer_bodies(record: Record, entry: Entry, event: EventBase, rank: Rank) -> None:
    for name, ref in event.bodies.items():
        _offer_key(record, entry, "bodies", name, {"digest": ref.digest, "size": ref.size}, rank)


def _apply_failure(record: Record, entry: Entry) -> None:
    event = _as(entry, FailureEvent)
    failure: dict[str, Any] = {"error_type": event.error_type, **_body_refs(event)}
    _offer_section(record, entry, "failure", failure, _latest(WORKER_FIRST, event))


def _apply_log(record: Record, entry: Entry) -> None:
    event = _as(entry, LogEvent)
    log: dict[str, Any] = {"counts": dict(event.counts), "url": event.url, **_body_refs(event)}
    _offer_section(record, entry, "log", log, _latest(WORKER_FIRST, event))


def _body_refs(event: EventBase) -> dict[str, Any]:
    return {name: {"digest": ref.digest, "size": ref.size} for name, ref in event.bodies.items()}


def _apply_collected(record: Record, entry: Entry) -> None:
    event = entry.event
    if event.event_id in record.collections:
        return
    record.collections[event.event_id] = Collected(event, entry.position, record.is_frozen)
    if isinstance(event, LinkEvent) and event.relation is Relation.BECAME:
        _offer(record, entry, "became_run_id", event.target_run_id, _latest(BOOKS_FIRST, event))


_E = TypeVar("_E", bound=EventBase)


def _as(entry: Entry, kind: type[_E]) -> _E:
    event = entry.event
    assert isinstance(event, kind), f"'{event.kind}' is told apart by its kind"
    return event


_HANDLERS: Final[dict[str, Callable[[Record, Entry], None]]] = {
    "state": _apply_state,
    "snapshot": _apply_snapshot,
    "identity": _apply_identity,
    "context": _apply_context,
    "failure": _apply_failure,
    "log": _apply_log,
    "presumption": _apply_presumption,
    **dict.fromkeys(COLLECTED_KINDS, _apply_collected),
}
