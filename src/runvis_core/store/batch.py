"""What of a batch is new, and what of it was said before: by the same, by another witness, or otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson

from runvis_core.model.encoding import (
    MAX_EVENT_BYTES,
    Body,
    SealedEvent,
    encode,
    entry_bytes,
    leaf_hash,
    seal,
)
from runvis_core.model.entry import Entry
from runvis_core.model.event import (
    SCHEMA_VERSION,
    AttestationEvent,
    ConflictEvent,
    EventBase,
    parse_event,
)
from runvis_core.model.fold import is_clock_suspect
from runvis_core.model.identity import timestamp
from runvis_core.store.driver import Driver, Found, Row, Values
from runvis_core.store.outcome import Outcome

SAYS_NO_TIME: Final = frozenset(
    {
        "identity",
        "context",
        "snapshot",
        "dataset",
        "artifact",
        "link",
        "alias",
        "definition",
        "definition_error",
        "dataset_declared",
    }
)
"""Kinds whose fact has no time in it: the same fact told again at a later time is the same."""

_TELLING: Final = frozenset({"event_id", "witness", "team", "producer", "sequence", "bodies", "content"})
"""Fields that say who tells a fact and how, not what it is. Bodies are compared by content."""

CLOCK_SUSPECT: Final = "clock_suspect"


class _Told(NamedTuple):
    """An event that was told before, in the log or earlier in the same batch."""

    position: int | None
    """None for one of the same batch."""
    item: int
    """Its place in the batch."""
    event: EventBase
    data: bytes
    principal: str
    bodies: Callable[[], Mapping[bytes, bytes]]


class _Plan(NamedTuple):
    """What is to become of an item: recorded as `sealed`, or nothing, since it is the same as `told`."""

    status: Literal["stored", "known", "attested", "conflict"]
    event_id: UUID
    sealed: SealedEvent | None
    told: _Told | None = None


class SortedBatch:
    """A batch of which it is known what is to be recorded."""

    def __init__(self, plans: Sequence[_Plan], principal: str) -> None:
        self._plans = plans
        self._principal = principal

    def record(
        self, position: int, recorded_at: datetime, values: Values
    ) -> tuple[list[Entry], list[Outcome], tuple[list[Row], list[Row]]]:
        """Give positions after `position`; return the new entries, each item's outcome, and the log's rows."""
        principal, principal_json = self._principal, encode(self._principal)
        moment = timestamp(recorded_at)
        bind_id = values.bind_id
        entries: list[Entry] = []
        outcomes: list[Outcome] = []
        rows: list[Row] = []
        bodies: list[Row] = []
        for index, (status, event_id, sealed, told) in enumerate(self._plans):
            if sealed is None:
                assert told is not None, "an item that isn't recorded was told before"
                known_at = outcomes[told.item].position if told.position is None else told.position
                outcomes.append(Outcome(index, status, event_id, known_at))
                continue
            position += 1
            event, data, attached = sealed
            entry = entry_bytes(data, recorded_at=moment, principal=principal_json, schema_version=SCHEMA_VERSION)
            run_id = getattr(event, "run_id", None)
            rows.append(
                (
                    position,
                    bind_id(event.event_id),
                    bind_id(run_id),
                    event.kind,
                    event.witness.value,
                    leaf_hash(entry),
                    entry,
                )
            )
            if attached:
                # One content under two names has one digest only with one salt: it is one body.
                bodies.extend((position, *body) for body in {body.digest: body for body in attached}.values())
            made = Entry(position, recorded_at, principal, event)
            entries.append(made)
            marks = (CLOCK_SUSPECT,) if is_clock_suspect(made) else ()
            outcomes.append(Outcome(index, status, event_id, position, marks=marks))
        return entries, outcomes, (rows, bodies)


def sort_batch(batch: Sequence[SealedEvent], driver: Driver, found: Found, *, principal: str) -> SortedBatch:
    """Return what of a batch is new, and what was told before."""
    if not found.positions and len({sealed.event.event_id for sealed in batch}) == len(batch):
        # Nothing was told before, and nothing twice: so it is with most batches.
        return SortedBatch([_Plan("stored", sealed.event.event_id, sealed) for sealed in batch], principal)
    told: dict[UUID, _Told] = _told_before(found.positions, driver) if found.positions else {}
    plans: list[_Plan] = []
    again = False
    for index, sealed in enumerate(batch):
        event = sealed.event
        event_id = event.event_id
        before = told.get(event_id)
        if before is None:
            told[event_id] = _Told(None, index, event, sealed.data, principal, _contents_of(sealed.bodies))
            plans.append(_Plan("stored", event_id, sealed))
        else:
            again = True
            plans.append(_compare(before, sealed, principal))
    return SortedBatch(_once(plans, driver) if again else plans, principal)


def _told_before(positions: Mapping[UUID, int], driver: Driver) -> dict[UUID, _Told]:
    entries = driver.find_entries(list(positions.values()))
    told: dict[UUID, _Told] = {}
    for event_id, position in positions.items():
        said = orjson.loads(entries[position])

        def bodies(position: int = position) -> Mapping[bytes, bytes]:
            return driver.find_bodies(position)

        event = parse_event(said["event"])
        told[event_id] = _Told(position, -1, event, encode(said["event"]), said["principal"], bodies)
    return told


def _contents_of(bodies: tuple[Body, ...]) -> Callable[[], Mapping[bytes, bytes]]:
    return lambda: {body.digest: body.content for body in bodies}


def _compare(told: _Told, sealed: SealedEvent, principal: str) -> _Plan:
    event = sealed.event
    if told.data != sealed.data and not _mean_the_same(told, sealed):
        made = _conflict(told, sealed)
        return _Plan("conflict", made.event.event_id, made)
    if told.event.witness is event.witness and told.principal == principal:
        return _Plan("known", event.event_id, None, told)
    return _Plan("attested", event.event_id, _attestation(event, principal), told)


def _mean_the_same(told: _Told, sealed: SealedEvent) -> bool:
    before, after = told.event, sealed.event
    if before.kind != after.kind or before.bodies.keys() != after.bodies.keys():
        return False
    if _meaning(orjson.loads(told.data), before) != _meaning(orjson.loads(sealed.data), after):
        return False
    if all(ref.digest == after.bodies[name].digest for name, ref in before.bodies.items()):
        return True
    # Sealed twice, with two salts: only the contents can tell.
    old, new = told.bodies(), {body.digest: body.content for body in sealed.bodies}
    return all(
        old.get(bytes.fromhex(ref.digest)) == new.get(bytes.fromhex(after.bodies[name].digest))
        for name, ref in before.bodies.items()
    )


def _meaning(raw: dict[str, Any], event: EventBase) -> dict[str, Any]:
    """Return what an event says: the fields of its kind, defaults too, and those that this version does not know."""
    left_out = _TELLING | {"occurred_at"} if event.kind in SAYS_NO_TIME else _TELLING
    said = event.model_dump(exclude=set(left_out))
    return {**{name: value for name, value in raw.items() if name not in left_out}, **said}


def _attestation(event: EventBase, principal: str) -> SealedEvent:
    return seal(
        AttestationEvent(
            engine=event.engine,
            deployment=event.deployment,
            occurred_at=event.occurred_at,
            witness=event.witness,
            run_id=getattr(event, "run_id", None),
            attested_event_id=event.event_id,
            attested_by=event.witness,
            principal=principal,
        )
    )


def _conflict(told: _Told, sealed: SealedEvent) -> SealedEvent:
    event, report = sealed.event, orjson.loads(sealed.data)
    fields: dict[str, Any] = {
        "engine": event.engine,
        "deployment": event.deployment,
        "occurred_at": event.occurred_at,
        "witness": event.witness,
        "run_id": getattr(told.event, "run_id", None),
        "conflicting_event_id": event.event_id,
        "report_digest": hashlib.sha256(sealed.data).hexdigest(),
        "bodies": event.bodies,
    }
    made = seal(ConflictEvent(**fields, report=report))
    if len(made.data) > MAX_EVENT_BYTES:
        # The other report nearly fills an entry by itself, so it is kept as a body.
        made = seal(ConflictEvent(**fields, report={}, content={"report": report}))
        made = made._replace(event=parse_event(orjson.loads(made.data)))
    return made._replace(bodies=(*sealed.bodies, *made.bodies))


def _once(plans: list[_Plan], driver: Driver) -> list[_Plan]:
    """Take out the attestations and conflicts that were recorded already, in the log or earlier in the batch."""
    made = [plan.sealed.event.event_id for plan in plans if plan.sealed and plan.status in ("attested", "conflict")]
    known = driver.find_positions(list(dict.fromkeys(made))) if made else {}
    first: dict[UUID, int] = {}
    result: list[_Plan] = []
    for index, plan in enumerate(plans):
        if plan.sealed is None or plan.status == "stored":
            result.append(plan)
            continue
        event_id = plan.sealed.event.event_id
        status = "known" if plan.status == "attested" else plan.status
        if event_id in known or event_id in first:
            at = _Told(known.get(event_id), first.get(event_id, -1), plan.sealed.event, b"", "", dict)
            told = plan.told if plan.status == "attested" else at
            result.append(_Plan(status, plan.event_id, None, told))
        else:
            first[event_id] = index
            result.append(plan)
    return result
