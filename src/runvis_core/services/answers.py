"""What the services answer: the same models from a store and over HTTP. Needs no store.

Times are aware UTC, durations are seconds. What a list leaves out of a run is counted in `cut`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from runvis_core.model.state import Relation, State, TriggerKind, Verdict, Witness

T = TypeVar("T")


class Answer(BaseModel):
    """A value that a service gave. Fields of a newer server are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Page(Answer, Generic[T]):
    """A part of a list, and the cursor of the next one."""

    items: list[T]
    next_cursor: str | None = None
    notes: list[str] = Field(default_factory=list[str])
    """What the reader must know of this list's bounds, in words."""


class TriggerView(Answer):
    """Why a run started, and who did it."""

    kind: TriggerKind
    native: str | None = None
    actor: JsonValue = None


class DatasetRef(Answer):
    """A dataset, by OpenLineage's naming."""

    namespace: str
    name: str


class ArtifactView(Answer):
    """A persistent output of a run."""

    name: str
    uri: str | None = None
    digest: str | None = None
    media_type: str | None = None


class MetricView(Answer):
    """A number that a run measured."""

    name: str
    value: float
    unit: str | None = None
    occurred_at: AwareDatetime | None = None


class FailureView(Answer):
    """Why a run failed; a list leaves the traceback out."""

    error_type: str | None = None
    line: str | None = None
    """The first line of the message."""
    message: str | None = None
    traceback: str | None = None


class ContextView(Answer):
    """Inputs, code and environment of a run."""

    code: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    environment: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    engine: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """What the engine says that has no word of ours: operator, pool, queue, logical date."""
    conf: JsonValue = None
    tags: list[str] = Field(default_factory=list[str])
    owner: str | None = None
    native_url: str | None = None


class Wholeness(StrEnum):
    """What can be said of whether a run's record is whole."""

    WHOLE = "whole"
    """It ended, and nothing is known to be missing."""
    OPEN = "open"
    """It has not ended: more is to come."""
    MISSING = "missing"
    """A producer gave numbers around this run's events that never came."""
    REFUSED = "refused"
    """Events around this run's were refused at the door: their senders keep them as dead letters."""
    LACKING = "lacking"
    """Only others tell of it: its worker, whose word is expected, was not heard."""
    UNCLOSED = "unclosed"
    """Its worker neither told the end nor closed: whether it had more to say can't be known."""
    UNHEARD = "unheard"
    """No worker was ever heard of this definition, while those of others in the deployment are."""


class RunCompleteness(Answer):
    """Whether a run's record is whole."""

    outcome: Wholeness
    whole: bool | None = None
    """None while that can't be known."""
    missing: int = 0
    """How many events are missing that may have been about this run."""
    refused: int = 0
    """How many events were refused that may have been about this run."""
    lacking: list[Witness] = Field(default_factory=list[Witness])
    """Whose word is expected and not there."""
    reasons: list[str] = Field(default_factory=list[str])
    """Why it is not whole, or not known to be, in words."""


class RunSummary(Answer):
    """A run as lists have it."""

    run_id: UUID
    engine: str
    deployment: str
    definition: str | None = None
    kind: str | None = None
    attempt: int | None = None
    state: State | None = None
    """The frozen state, once the run has ended."""
    effective_state: State | None = None
    """`state`, unless the latest word of the engine disagrees or the run is presumed lost."""
    native_state: str | None = None
    native_id: str | None = None
    trigger: TriggerView | None = None
    parent_run_id: UUID | None = None
    caused_by_run_id: UUID | None = None
    root_run_id: UUID | None = None
    retry_of: UUID | None = None
    corrects: UUID | None = None
    correlation_id: str | None = None
    queued_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    duration_seconds: float | None = None
    """From start to end; None while either is unknown."""
    parameters: JsonValue = None
    reads: list[DatasetRef] = Field(default_factory=list[DatasetRef])
    writes: list[DatasetRef] = Field(default_factory=list[DatasetRef])
    artifacts: list[ArtifactView] = Field(default_factory=list[ArtifactView])
    metrics: list[MetricView] = Field(default_factory=list[MetricView])
    failure: FailureView | None = None
    context: ContextView = Field(default_factory=ContextView)
    witnesses: list[Witness] = Field(default_factory=list[Witness])
    event_count: int = 0
    completeness: RunCompleteness | None = None
    """Whether the record of the run is whole; None where a list of the past was asked for: it is kept of today only."""
    presumed: Verdict | None = None
    corrected: bool = False
    """True if another end than `state` was testified to afterwards: see the run's `corrections`."""
    clock_suspect: bool = False
    """True when a report's time lay far from the time of its recording."""
    cut: dict[str, int] = Field(default_factory=dict[str, int])
    """How many items of a field, or bytes of a body, were left out of this answer."""


class Report(Answer):
    """One witness's report of a fact: when it happened by their clock, when it was recorded, and where in the log."""

    witness: Witness
    occurred_at: AwareDatetime
    recorded_at: AwareDatetime
    position: int
    principal: str


class Transition(Answer):
    """A state that the run was in, and for how long; the last one's duration is None."""

    state: State
    native_state: str | None = None
    occurred_at: AwareDatetime
    duration_seconds: float | None = None
    reports: list[Report]


class TestimonyView(Report):
    """One witness's word on how the run ended."""

    __test__ = False  # not a test, whatever its name begins with

    state: State
    native_state: str | None = None
    event_id: UUID | None = None
    kind: str | None = None
    """What it rests on: a transition that was told (`state`), or the engine's books (`snapshot`)."""
    leaf_hash: str | None = None
    """The hash of the entry that says so, which a checkpoint covers."""


class CorrectionView(Answer):
    """A record of its own which says that the run ended otherwise."""

    run_id: UUID
    corrects: UUID
    state: State
    native_state: str | None = None
    report: Report


class PresumptionView(Answer):
    """The latest verdict on a run that went silent; reversible, and no word of the engine."""

    verdict: Verdict
    state: State | None = None
    reason: str
    evidence: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    report: Report


class AttestationView(Answer):
    """Another witness or principal reported what was known already."""

    attested_by: Witness
    attested_event_id: UUID
    attested_position: int | None = None
    """Where what they attest stands in the log."""
    report: Report


class ConflictView(Answer):
    """A report that came under the id of another one and says otherwise: it is kept, and changes nothing."""

    conflicting_event_id: UUID
    conflicting_position: int | None = None
    """Where the report whose id it has stands in the log."""
    said: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """The report, whole."""
    report: Report


class Rule(StrEnum):
    """The rules that decide a run's effective state."""

    ALL_AGREE = "all_agree"
    """It ended, and all who told how say the same."""
    LATEST_TESTIMONY = "latest_testimony"
    """It ended, those who told how disagree, and the word with the latest time counts."""
    PRESUMPTION = "presumption"
    """Nobody told of an end, and the verdict on its silence stands until somebody does."""
    LATEST_STATE = "latest_state"
    """It has not ended: the latest state by the engine's clock counts."""
    NOBODY = "nobody"
    """Nobody has told of its state."""


class Judgement(Answer):
    """Which rule decided a run's effective state, and whose word it rests on."""

    rule: Rule
    reason: str
    decided_by: Report | None = None


class LateFactView(Answer):
    """A field that was empty when the run ended, and was filled afterwards."""

    field: str
    value: JsonValue = None
    position: int


class LinkView(Answer):
    """How this run stands to another one."""

    relation: Relation
    target_run_id: UUID | None = None
    target_native_key: str | None = None
    position: int


class AliasView(Answer):
    """Another system's id for this run."""

    system: str
    native_id: str


class LogView(Answer):
    """The last lines of the run's log, the number of lines by severity, and where the engine keeps the rest."""

    tail: str | None = None
    counts: dict[str, int] = Field(default_factory=dict[str, int])
    url: str | None = None


class SaidView(Answer):
    """A note on the run, or what a person did to it, with the content of its bodies."""

    kind: str
    name: str | None = None
    content: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    report: Report


class AttemptView(Answer):
    """One attempt among those of the same native key."""

    run_id: UUID
    attempt: int | None = None
    state: State | None = None
    effective_state: State | None = None
    native_state: str | None = None
    presumed: Verdict | None = None
    """The verdict on its silence, where there is one: of one presumed lost `effective_state` is what is presumed."""
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    duration_seconds: float | None = None


class RunRef(AttemptView):
    """A run, named so that a person knows it."""

    engine: str
    deployment: str
    definition: str | None = None
    kind: str | None = None
    native_id: str | None = None
    queued_at: AwareDatetime | None = None
    corrected: bool = False


class TreeNode(RunRef):
    """A run and what ran inside it."""

    carried_over: bool = False
    """True if the run above is a reopened parent that keeps this try of an earlier attempt."""
    children: list[TreeNode] = Field(default_factory=list["TreeNode"])
    cut_children: int = 0
    """How many children are not shown; of more than can be shown those that failed come first, then the earliest."""
    cut_failed: int = 0
    """How many things among the children that are not shown failed, by their last attempts."""
    caused: list[TreeNode] = Field(default_factory=list["TreeNode"])
    """Runs that this one started, here or in another engine, each with what ran inside it and what it started."""
    cut_caused: int = 0


class Liveness(Answer):
    """The last sign of life, by the store's clock."""

    last_heartbeat_at: AwareDatetime
    interval_seconds: float
    silent: bool


class DefinitionVersion(Answer):
    """One version of a definition, recorded when it first appeared."""

    version_id: UUID
    version: str
    native_version: str | None = None
    code_version: str | None = None
    schedule: str | None = None
    owner: str | None = None
    tags: list[str] = Field(default_factory=list[str])
    parent_definition: str | None = None
    first_position: int | None = None
    recorded_at: AwareDatetime | None = None
    structure: JsonValue = None
    """`{"tasks": [{"id", "operator", …}], "edges": [[from, to], …]}`; None in lists."""
    docs: JsonValue = None


class RunDetail(RunSummary):
    """All that is known about a run."""

    asked_for: str
    """What was asked for: an id (maybe abbreviated), a native id, an alias or a correction."""
    retry_expected_at: AwareDatetime | None = None
    definition_version: DefinitionVersion | None = None
    provisional_run_ids: list[UUID] = Field(default_factory=list[UUID])
    """Ids under which the run was known while it waited."""
    frozen_position: int | None = None
    attempts: list[AttemptView] = Field(default_factory=list[AttemptView])
    transitions: list[Transition] = Field(default_factory=list[Transition])
    testimony: list[TestimonyView] = Field(default_factory=list[TestimonyView])
    corrections: list[CorrectionView] = Field(default_factory=list[CorrectionView])
    judgement: Judgement | None = None
    """Why its effective state is what it is."""
    presumption: PresumptionView | None = None
    """The verdict that counts of those in `presumptions`."""
    presumptions: list[PresumptionView] = Field(default_factory=list[PresumptionView])
    attestations: list[AttestationView] = Field(default_factory=list[AttestationView])
    conflicts: list[ConflictView] = Field(default_factory=list[ConflictView])
    late: list[LateFactView] = Field(default_factory=list[LateFactView])
    links: list[LinkView] = Field(default_factory=list[LinkView])
    aliases: list[AliasView] = Field(default_factory=list[AliasView])
    said: list[SaidView] = Field(default_factory=list[SaidView])
    log: LogView | None = None
    liveness: Liveness | None = None
    tree: TreeNode


class EntryView(Answer):
    """An entry of the log: the event as it was hashed, with what the store put around it."""

    position: int
    recorded_at: AwareDatetime
    principal: str
    event: dict[str, Any]
    definition: str | None = None
    """The definition of the entry's run, as far as it is known now."""
    native_id: str | None = None


class EntryPage(Answer):
    """Entries in the log's order; ask again with `after` to go on."""

    items: list[EntryView]
    after: int
    """The position after which the next entries come."""


class DefinitionSummary(Answer):
    """A definition as lists have it."""

    engine: str
    deployment: str
    definition: str
    kind: str | None = None
    version_count: int = 0
    latest_version: DefinitionVersion | None = None
    last_run: RunRef | None = None


class StartView(Answer):
    """Runs of a definition that were started from another one, such as a deployment of a flow."""

    definition: str | None = None
    """The definition that they were started from; None for those that were started from none."""
    runs: int
    """How many of the recent runs these are."""
    witnesses: list[str]
    """Who told of them."""
    server_only: bool
    """Whether the engine's server alone told of them: no process of theirs records."""
    last_run: RunRef


class DefinitionDetail(DefinitionSummary):
    """A definition, its versions (newest first, the newest with its structure) and its recent runs."""

    versions: list[DefinitionVersion] = Field(default_factory=list[DefinitionVersion])
    cut_versions: int = 0
    witnesses: list[str] = Field(default_factory=list[str])
    """Who told of the recent runs."""
    server_only: bool = False
    """Whether the engine's server alone told of the recent runs: no process of theirs records."""
    starts: list[StartView] = Field(default_factory=list[StartView])
    """The recent runs by what they were started from, if some were started from another definition."""
    recent_runs: list[RunRef] = Field(default_factory=list[RunRef])
    """The recent runs; of a definition that others are started from, such as a deployment, those that were."""


class Check(Answer):
    """One thing that the doctor looked at."""

    name: str
    outcome: str
    """`ok`, `warning` or `problem`."""
    detail: str
    remedy: str | None = None


class OutcomeView(Answer):
    """What became of one item of a batch."""

    index: int
    """The item's place in the batch, from 0 on."""
    status: Literal["stored", "known", "attested", "conflict", "refused"]
    event_id: UUID | None = None
    position: int | None = None
    """Of the entry that the item is recorded in; of the known one, where it said nothing new."""
    field: str | None = None
    """Of a refused item: the place of the fault."""
    reason: str | None = None
    """Of a refused item: why."""
    marks: list[str] = Field(default_factory=list[str])


class HeartbeatFault(Answer):
    """A heartbeat that was refused."""

    index: int
    """Its place among those that were sent, from 0 on."""
    status: Literal["refused"]
    field: str
    reason: str


class BatchAnswer(Answer):
    """What became of a batch."""

    outcomes: list[OutcomeView]
    """Of each item, in their order."""
    paused: bool
    """Whether the server takes nothing now: send the batch again later."""
    heartbeats: list[HeartbeatFault] = Field(default_factory=list[HeartbeatFault])
    """Those that were refused."""
