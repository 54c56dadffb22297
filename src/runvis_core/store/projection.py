"""What follows from new entries: the changes of the tables that are derived from the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from runvis_core.model.encoding import encode
from runvis_core.model.entry import Entry
from runvis_core.model.event import (
    STORE_MADE_KINDS,
    AliasEvent,
    ArtifactEvent,
    DatasetDeclaredEvent,
    DatasetEvent,
    DefinitionErrorEvent,
    DefinitionEvent,
    EventBase,
    IdentityEvent,
    LinkEvent,
    MetricEvent,
)
from runvis_core.model.fold import fold_into
from runvis_core.model.identity import definition_version_id
from runvis_core.model.run import Collected, Record
from runvis_core.model.state import Witness
from runvis_core.store.decisions import decide
from runvis_core.store.driver import Changes, Driver, Found, Row, Values, Wanted
from runvis_core.store.producers import received_rows
from runvis_core.store.rows import add_late, late_rows, run_rows, run_values

MAX_TAG_BYTES: Final = 250
"""A longer tag stays in the record's context, but no list is filtered by it."""


def project(
    entries: Sequence[Entry],
    driver: Driver,
    found: Found,
    *,
    received: Iterable[EventBase],
    now: datetime | None = None,
) -> Changes:
    """Return what new entries change in the tables, given what the database has of their runs and producers.

    `received` are the events as they came `now`, the known ones among them too: their producers' numbers are accounted
    for.
    """
    changes = project_beside(entries, driver.values)
    by_run: dict[UUID, list[Entry]] = {}
    for entry in entries:
        run_id: UUID | None = getattr(entry.event, "run_id", None)
        if run_id is not None:
            by_run.setdefault(run_id, []).append(entry)
            if entry.event.team is not None:
                _claim(changes, entry, run_id, driver.values)
    if by_run:
        _Runs(driver, found, changes).project(by_run)
    changes.producers = received_rows(entries, received, found.producers, driver.values, now=now)
    return changes


def _claim(changes: Changes, entry: Entry, run_id: UUID, values: Values) -> None:
    row = (values.bind_id(run_id), entry.position, values.bind_id(entry.event.event_id), entry.event.team)
    changes.insert_first("run_teams", row, key=1)


def project_beside(entries: Iterable[Entry], values: Values) -> Changes:
    """Return what new entries add to the tables whose rows are no run's: definitions and the like."""
    changes = Changes()
    for entry in entries:
        define = _DEFINERS.get(entry.event.kind)
        if define is not None:
            define(changes, entry, values)
    return changes


class _Runs:
    """The runs of a batch: loaded, folded, and taken apart into rows."""

    def __init__(self, driver: Driver, found: Found, changes: Changes) -> None:
        self._driver = driver
        self._values = driver.values
        self._rows = run_rows(driver.values)
        self._changes = changes
        self._known: dict[UUID, tuple[Record, str]] = {}
        self._read(found.runs)

    def project(self, by_run: dict[UUID, list[Entry]]) -> None:
        """Fold each run's new entries and add what changed."""
        # A report under an id that another run's event has is a conflict of that one, which nobody asked for.
        strangers = [
            run_id
            for run_id, entries in by_run.items()
            if run_id not in self._known and entries[0].event.kind in STORE_MADE_KINDS
        ]
        if strangers:
            self._read(self._driver.find(Wanted([], strangers, [])).runs)
        frozen = [run_id for run_id in by_run if run_id in self._known and self._known[run_id][0].is_frozen]
        if frozen:
            self._load_ends(frozen)
        for run_id, entries in by_run.items():
            known = self._known.get(run_id)
            if known is None:
                record = fold_into(None, entries)
                first = entries[0]
                row = self._rows.new_row(record, first.position, first.event.occurred_at)
                self._changes.insert("runs", row)
                self._add_parts(record, _NOTHING)
            else:
                self._change(*known, entries)

    def _read(self, rows: Iterable[Row]) -> None:
        for row in rows:
            record, text = self._rows.read(row)
            self._known[record.run.run_id] = (record, text)

    def _load_ends(self, run_ids: list[UUID]) -> None:
        """Load what runs that ended have in tables of their own, as far as the fold needs it."""
        for row in self._driver.find_rows("testimonies", run_ids):
            run_id, word = self._rows.read_testimony(row)
            record = self._known[run_id][0]
            record.testimonies = (*record.testimonies, word)
        for row in self._driver.find_rows("corrections", run_ids):
            correction = self._rows.read_correction(row)
            record = self._known[correction.corrects][0]
            record.corrections = (*record.corrections, correction)
        for run_id, _, facts in self._driver.find_rows("run_late", run_ids):
            add_late(self._known[self._values.read_id(run_id)][0], facts)

    def _change(self, record: Record, text: str, entries: list[Entry]) -> None:
        before, values = _parts_of(record), run_values(record.run)
        fold_into(record, entries)
        # Once a run has ended its JSON stays as it is.
        names, changed = self._rows.changes(values, record, None if before.is_frozen else text)
        if names:
            row = (*changed, self._values.bind_id(record.run.run_id))
            self._changes.changed_runs.setdefault(names, []).append(row)
        self._add_parts(record, before)

    def _add_parts(self, record: Record, before: _Parts) -> None:
        changes, rows, run_id = self._changes, self._rows, record.run.run_id
        bound = self._values.bind_id(run_id)
        for word in record.testimonies[before.testimonies :]:
            changes.insert("testimonies", rows.testimony_row(run_id, word))
        for correction in record.corrections[before.corrections :]:
            changes.insert("corrections", rows.correction_row(correction))
        for position, facts in late_rows(record.late):
            changes.insert("run_late", (bound, position, facts))
        for collected in record.collections.values():
            table, collect = _COLLECTORS[collected.event.kind]
            changes.insert(table, (bound, collected.position, *collect(collected, self._values)))
        for tag in record.context.get("tags", ()):
            if tag not in before.tags and len(tag.encode()) <= MAX_TAG_BYTES:
                changes.insert("run_tags", (bound, tag))
        if record.is_frozen and not before.is_frozen:
            changes.ended.append(record.run)


class _Parts(NamedTuple):
    """How much of a record stands in rows of their own."""

    is_frozen: bool
    testimonies: int
    corrections: int
    tags: frozenset[str]


_NOTHING: Final = _Parts(is_frozen=False, testimonies=0, corrections=0, tags=frozenset())


def _parts_of(record: Record) -> _Parts:
    tags = frozenset(record.context.get("tags", ()))
    return _Parts(record.is_frozen, len(record.testimonies), len(record.corrections), tags)


_E = TypeVar("_E", bound=EventBase)


def _as(kind: type[_E], event: EventBase) -> _E:
    assert isinstance(event, kind), f"'{event.kind}' is told apart by its kind"
    return event


def _dataset(collected: Collected, _values: Values) -> Row:
    event = _as(DatasetEvent, collected.event)
    return (event.direction, event.namespace, event.name, event.native_id, collected.late)


def _artifact(collected: Collected, _values: Values) -> Row:
    event = _as(ArtifactEvent, collected.event)
    return (event.name, event.uri, event.digest, event.media_type, collected.late)


def _metric(collected: Collected, values: Values) -> Row:
    event = _as(MetricEvent, collected.event)
    return (event.name, event.value, event.unit, values.bind_moment(event.occurred_at), collected.late)


def _link(collected: Collected, values: Values) -> Row:
    event = _as(LinkEvent, collected.event)
    target = None if event.target_run_id is None else values.bind_id(event.target_run_id)
    moment = values.bind_moment(event.occurred_at)
    key = event.target_native_key
    return (event.engine, event.deployment, event.relation.value, target, key, moment, collected.late)


def _alias(collected: Collected, _values: Values) -> Row:
    event = _as(AliasEvent, collected.event)
    return (event.system, event.native_id, collected.late)


_COLLECTORS: Final[dict[str, tuple[str, Callable[[Collected, Values], Row]]]] = {
    "dataset": ("datasets", _dataset),
    "artifact": ("artifacts", _artifact),
    "metric": ("metrics", _metric),
    "link": ("links", _link),
    "alias": ("aliases", _alias),
}
"""Table of each kind of collected fact, and what its row has after run and position."""


def _define_by_identity(changes: Changes, entry: Entry, values: Values) -> None:
    event = _as(IdentityEvent, entry.event)
    _add_definition(changes, entry, event.definition, event.definition_kind, values)
    if event.witness is Witness.WORKER:
        named = (event.engine, event.deployment, event.definition_kind, event.definition)
        changes.insert_first("worker_definitions", (*named, values.bind_moment(event.occurred_at)), key=len(named))


def _add_definition(changes: Changes, entry: Entry, definition: str, kind: str, values: Values) -> None:
    event = entry.event
    named = (event.engine, event.deployment, definition, kind)
    row = (*named, entry.position, values.bind_moment(event.occurred_at))
    changes.insert_first("definitions", row, key=len(named))


def _define(changes: Changes, entry: Entry, values: Values) -> None:
    event = _as(DefinitionEvent, entry.event)
    _add_definition(changes, entry, event.definition, event.definition_kind, values)
    version_id = definition_version_id(event.engine, event.deployment, event.definition, event.version)
    changes.insert_once(
        "definition_versions",
        (
            values.bind_id(version_id),
            entry.position,
            event.engine,
            event.deployment,
            event.definition,
            event.definition_kind,
            event.version,
            event.native_version,
            event.code_version,
            event.schedule,
            event.owner,
            event.parent_definition,
            encode(event.tags).decode(),
            encode({name: ref.model_dump() for name, ref in event.bodies.items()}).decode(),
            values.bind_moment(event.occurred_at),
        ),
    )


def _add_definition_error(changes: Changes, entry: Entry, values: Values) -> None:
    event = _as(DefinitionErrorEvent, entry.event)
    moment = values.bind_moment(event.occurred_at)
    row = (entry.position, event.engine, event.deployment, event.source, event.fingerprint, moment)
    changes.insert("definition_errors", row)


def _declare_dataset(changes: Changes, entry: Entry, values: Values) -> None:
    event = _as(DatasetDeclaredEvent, entry.event)
    moment = values.bind_moment(event.occurred_at)
    row = (entry.position, event.engine, event.deployment, event.namespace, event.name, event.group, moment)
    changes.insert("dataset_declarations", row)


_DEFINERS: Final[dict[str, Callable[[Changes, Entry, Values], None]]] = {
    "identity": _define_by_identity,
    "definition": _define,
    "definition_error": _add_definition_error,
    "dataset_declared": _declare_dataset,
    "decision": decide,
    "access": decide,
}
