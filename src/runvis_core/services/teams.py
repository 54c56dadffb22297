"""Of which of an engine's teams a run is: of the first in the log that tells of it and names itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import select

from runvis_core.errors import EventError
from runvis_core.model.encoding import SealedEvent, encode, seal
from runvis_core.model.event import ConflictEvent, EventBase
from runvis_core.services.reading import chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import run_teams


class Claim(NamedTuple):
    """The first word of a team about a run."""

    team: str
    event_id: UUID


def find_claims(store: Store, run_ids: Iterable[UUID]) -> dict[UUID, Claim]:
    """Return by run the first claim of a team; a run of which no team told has none."""
    found: dict[UUID, Claim] = {}
    columns = run_teams.c
    with reading(store) as connection:
        for chunk in chunks(sorted(set(run_ids))):
            query = select(columns.run_id, columns.team, columns.event_id).where(columns.run_id.in_(chunk))
            found.update((run_id, Claim(*said)) for run_id, *said in connection.execute(query))
    return found


def check_runs(store: Store, events: Sequence[EventBase], team: str) -> dict[int, EventError]:
    """Return by place the faults of events about runs of another team than the one whose token brings them."""
    runs: dict[int, UUID] = {
        place: run_id for place, event in enumerate(events) if (run_id := _run_of(event)) is not None
    }
    claims = find_claims(store, runs.values())
    stored = _as_stored(team)
    return {
        place: EventError("event.team", f"the token speaks for team '{team}', and the run is of '{claim.team}'")
        for place, run_id in runs.items()
        if (claim := claims.get(run_id)) is not None and claim.team != stored
    }


def find_contests(store: Store, events: Iterable[EventBase]) -> list[SealedEvent]:
    """Return a conflict for each run that one of the events calls another team's than the log does.

    The same run and team always make the same one. To be asked once the events are in the log: only then is it
    certain, also where two teams speak at once, which of them was the first.
    """
    told: dict[tuple[UUID, str], EventBase] = {}
    for event in events:
        if event.team is not None and (run_id := _run_of(event)) is not None:
            told.setdefault((run_id, event.team), event)
    claims = find_claims(store, (run_id for run_id, _ in told)) if told else {}
    return [
        _contest(run_id, claim, event)
        for (run_id, team), event in told.items()
        if (claim := claims.get(run_id)) is not None and claim.team != _as_stored(team)
    ]


def _contest(run_id: UUID, claim: Claim, event: EventBase) -> SealedEvent:
    report: dict[str, JsonValue] = {"team": event.team}
    return seal(
        ConflictEvent(
            engine=event.engine,
            deployment=event.deployment,
            occurred_at=event.occurred_at,
            witness=event.witness,
            run_id=run_id,
            conflicting_event_id=claim.event_id,
            report_digest=hashlib.sha256(encode(report)).hexdigest(),
            report=report,
        )
    )


def _run_of(event: EventBase) -> UUID | None:
    return getattr(event, "run_id", None)


def _as_stored(team: str) -> str:
    return team.replace("\0", "\ufffd")
