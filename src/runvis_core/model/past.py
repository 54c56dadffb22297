"""What had happened by a moment, by all that entries tell. Pure.

A fact belongs to the past from when it occurred; from when it was recorded, where the teller's clock was ahead. A
snapshot tells of several times, and what a run is (its definition, its parent, its inputs) has none: it is true of the
whole of its time. So with a moment after everything, all is there, and means what it means today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.model.entry import Entry
from runvis_core.model.event import SnapshotEvent
from runvis_core.model.fold import fold_entries, fold_into
from runvis_core.model.run import Record
from runvis_core.model.state import State, is_going_on

TIMELESS: Final = frozenset({"identity", "context", "alias"})
"""Kinds that say what a run is, not what happened to it."""
TELLING: Final = frozenset({"state", "snapshot", "presumption", "identity", "link"})
"""Kinds that say in which state a run is, and what it is: what a list of the past is filtered by."""


class Summary(NamedTuple):
    """What a list of the past knows of a run."""

    definition: str | None
    effective_state: State | None
    native_state: str | None
    trigger_kind: str | None
    native_key: str | None
    parent_run_id: UUID | None
    caused_by_run_id: UUID | None
    became_run_id: UUID | None
    corrected: bool

    @staticmethod
    def of(record: Record) -> Summary:
        """Return the summary of a record."""
        run = record.run
        return Summary(
            run.definition,
            run.effective_state,
            run.native_state,
            run.trigger_kind,
            run.native_key,
            run.parent_run_id,
            run.caused_by_run_id,
            run.became_run_id,
            bool(record.corrections),
        )


class Span(NamedTuple):
    """A stretch of time in which what is known of a run stays the same."""

    from_at: datetime
    to_at: datetime | None
    summary: Summary


def happened_at(entry: Entry) -> datetime:
    """Return from when on all that an entry tells had happened: its own time, or the end that a snapshot tells of."""
    event = entry.event
    moment = event.occurred_at
    if isinstance(event, SnapshotEvent) and event.ended_at is not None and not is_going_on(event.state):
        moment = event.ended_at
    return min(moment, entry.recorded_at)


def moments_of(entry: Entry) -> list[datetime]:
    """Return all moments that an entry tells of, in order; the last one is that from which all of it had happened."""
    event = entry.event
    if not isinstance(event, SnapshotEvent):
        return [happened_at(entry)]
    end = happened_at(entry)
    inner = (moment for moment in (event.queued_at, event.started_at) if moment is not None and moment < end)
    return sorted({*inner, end})


def restrict(entry: Entry, moment: datetime) -> Entry | None:
    """Return what of an entry had happened by a moment; None if nothing had."""
    event = entry.event
    if event.kind in TIMELESS:
        return entry
    end = happened_at(entry)
    if end <= moment:
        return entry
    if not isinstance(event, SnapshotEvent):
        return None
    queued, started = (
        at if at is not None and at < end and at <= moment else None for at in (event.queued_at, event.started_at)
    )
    at = started or queued
    if at is None:
        return None
    # Where it doesn't say in which state the run is, it doesn't say in which one it was.
    implied = State.RUNNING if started is not None else State.QUEUED
    state = implied if event.state is not None else None
    reduced = {"queued_at": queued, "started_at": started, "ended_at": None, "state": state, "native_state": None}
    return entry._replace(event=event.model_copy(update={**reduced, "occurred_at": at}))


def begins_at(entries: Sequence[Entry]) -> datetime:
    """Return when a run began to be: the first moment told of its state or of what it is, or by its first entry."""
    return min(moments_of(entry)[0] for entry in find_telling(entries))


def find_telling(entries: Sequence[Entry]) -> list[Entry]:
    """Return those of a run's entries from which its spans follow: its first one, and what tells of its state."""
    return [entry for place, entry in enumerate(entries) if place == 0 or entry.event.kind in TELLING]


def fold_until(entries: Sequence[Entry], moment: datetime | None) -> Record | None:
    """Return what entries, in recorded order, mean of a run as of a moment; None if it was not yet.

    Without a moment all of them count.
    """
    if not entries or (moment is not None and begins_at(entries) > moment):
        return None
    if moment is None:
        return fold_entries(None, entries)
    return fold_entries(None, [part for entry in entries if (part := restrict(entry, moment)) is not None])


def find_spans(entries: Sequence[Entry]) -> list[Span]:
    """Return the stretches of a run's time, from its beginning on, by what all of these entries tell."""
    entries = find_telling(entries)
    begins = begins_at(entries)
    pieces = [(moment, entry) for entry in entries for moment in _moments_or(entry, begins)]
    record: Record | None = None
    has_ended = False
    made: list[tuple[datetime, Summary]] = []
    for moment, group in groupby(sorted(pieces, key=itemgetter(0)), key=itemgetter(0)):
        parts = [part for _, entry in group if (part := restrict(entry, moment)) is not None]
        has_ended = has_ended or any(_ends(part) for part in parts)
        # Before an end the order in which entries are folded changes nothing; after it, recorded order decides.
        record = fold_until(entries, moment) if has_ended or not parts else fold_into(record, parts)
        assert record is not None, "a moment that is told of is not before the first"
        made.append((moment, Summary.of(record)))
    return join_spans(made)


def join_spans(made: Iterable[tuple[datetime, Summary]]) -> list[Span]:
    """Return the spans that begin at these moments, in order; equal neighbours are one."""
    spans: list[Span] = []
    for moment, summary in made:
        if spans and spans[-1].summary == summary:
            continue
        if spans:
            spans[-1] = spans[-1]._replace(to_at=moment)
        spans.append(Span(moment, None, summary))
    return spans


def _moments_or(entry: Entry, begins: datetime) -> list[datetime]:
    return [begins] if entry.event.kind in TIMELESS else moments_of(entry)


def _ends(entry: Entry) -> bool:
    return entry.event.kind in ("state", "snapshot") and not is_going_on(getattr(entry.event, "state", None))
