"""A run as its history leaves it: the fields that the record guards, and what became known about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from runvis_core.model.event import EventBase
from runvis_core.model.state import State, Verdict, Witness


@dataclass(slots=True)
class Run:
    """One attempt. Nothing is known but its id and whose it is until somebody testifies to it."""

    run_id: UUID
    engine: str
    deployment: str
    definition: str | None = None
    definition_kind: str | None = None
    definition_version_id: UUID | None = None
    native_key: str | None = None
    native_id: str | None = None
    attempt: int | None = None
    trigger_kind: str | None = None
    trigger_native: str | None = None
    parent_run_id: UUID | None = None
    caused_by_run_id: UUID | None = None
    retry_of: UUID | None = None
    correlation_id: str | None = None
    became_run_id: UUID | None = None
    state: State | None = None
    """The latest one before the end; from then on the one that the run was frozen with."""
    native_state: str | None = None
    effective_state: State | None = None
    """`state`, unless the latest terminal testimony disagrees or the run is presumed lost."""
    presumed: Verdict | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    retry_expected_at: datetime | None = None
    owner: str | None = None
    native_url: str | None = None
    clock_suspect: bool | None = None
    """True when a report's time lies far from the time of its recording."""
    frozen_position: int | None = None
    """The log position of the testimony that ended the run."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """One witness's word on how the run ended."""

    witness: Witness
    state: State
    native_state: str | None
    occurred_at: datetime
    position: int
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Correction:
    """A record of its own which says that a frozen run ended otherwise."""

    correction_id: UUID
    corrects: UUID
    testimony: Testimony
    """The first word for this other end; more witnesses of it are testimonies of the run."""


@dataclass(frozen=True, slots=True)
class Presumption:
    """The latest verdict on a run that went silent."""

    verdict: Verdict
    state: State | None
    reason: str
    occurred_at: datetime
    position: int
    event_id: UUID


@dataclass(frozen=True, slots=True)
class LateFact:
    """A field that was empty at the freeze and was filled afterwards."""

    field: str
    value: Any
    position: int


@dataclass(frozen=True, slots=True)
class Collected:
    """A fact of a collection: a dataset, an artifact, a metric, a link, an alias."""

    event: EventBase
    position: int
    late: bool


Rank = tuple[int, int, str]
"""Orders two reports of one field: precedence of the witness, a time in microseconds, the event id."""


@dataclass(slots=True)
class Record:
    """All that the history of one run means.

    `context` holds sections: `code`, `environment`, `engine_context`, `tags` and `bodies` are merged key by key,
    `failure` and `log` come whole from one report. `ranks` says of each set field, section or key by which report it
    was set; it is empty once the run is frozen, since then nothing that is set changes.
    """

    run: Run
    context: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    ranks: dict[str, Rank] = field(default_factory=dict[str, Rank])
    testimonies: tuple[Testimony, ...] = ()
    corrections: tuple[Correction, ...] = ()
    presumption: Presumption | None = None
    late: tuple[LateFact, ...] = ()
    collections: dict[UUID, Collected] = field(default_factory=dict[UUID, Collected])
    """By event id, in recorded order."""

    @property
    def is_frozen(self) -> bool:
        """Whether the run has ended, and so is guarded."""
        return self.run.frozen_position is not None
