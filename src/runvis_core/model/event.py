"""Events: one fact each, told apart by `kind`.

What makes two reports the same fact is stated per kind by `fact`; an event's id follows from it, unless the
engine has an id of its own for the transition (Prefect's state id), which the adapter then passes as `event_id`.

| kind | the same fact when these are equal (with run, witness and kind) |
|---|---|
| `state` | state, native state, `occurred_at` |
| `identity` | everything it says |
| `context` | everything it says but the content of bodies |
| `snapshot` | everything it says |
| `failure` | `occurred_at`, error type |
| `dataset` | direction, namespace, name, the engine's own event id |
| `artifact` | name, uri, digest |
| `metric` | name, `occurred_at` |
| `link` | relation, target |
| `alias` | system, id in that system |
| `note` | the engine's own id, else `occurred_at` |
| `log` | `occurred_at` |
| `action` | name, the engine's own event id, else `occurred_at` |
| `presumption` | verdict, `occurred_at` |
| `definition` | definition, version |
| `definition_error` | source, fingerprint |
| `dataset_declared` | namespace, name |
| `producer_opened`, `producer_closed` | producer |
| `attestation` | the attested event, `attested_by`, its principal |
| `conflict` | the event conflicted with, digest of the other report |
| `decision` | everything it says, `occurred_at` |
| `access` | everything it says, `occurred_at` |

Parts that are large or personal go into `content`, by name; sealing (`encoding.seal`) moves each out of the event
and leaves its salted digest in `bodies`.
"""

from collections.abc import Collection, Mapping
from threading import RLock
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from runvis_core.model.identity import NIL, Part, named_id, timestamp
from runvis_core.model.state import Relation, State, TriggerKind, Verdict, Witness

SCHEMA_VERSION: Final = 1

Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
"""A name that somebody gave: a definition, a dataset, a metric."""
Short = Annotated[str, StringConstraints(min_length=1, max_length=250)]
"""A word of a small vocabulary: an engine, a deployment, a native state."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
CorrelationId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A W3C trace id."""

Json = dict[str, JsonValue]


class BodyRef(BaseModel):
    """What an event keeps of a body: its salted digest (SHA-256 over salt and content) and its size in bytes."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    digest: Digest
    size: int = Field(ge=0)


class Trigger(BaseModel):
    """Why a run started. Who started it is a person's name and so lies in the body `actor`."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    kind: TriggerKind
    native: Short | None = None
    """The engine's own word, e.g. Airflow's `run_type`."""


class EventBase(BaseModel, frozen=True):
    """What every event says: which engine's fact it is, when it happened, and who tells it."""

    model_config = ConfigDict(extra="ignore", defer_build=True)

    envelope_fields: ClassVar[frozenset[str]] = frozenset(
        {"event_id", "occurred_at", "witness", "team", "producer", "sequence", "bodies", "content"}
    )

    kind: str
    """Which kind of fact it is."""
    event_id: UUID = NIL
    """Derived from `fact` when not given."""
    engine: Short
    """Whose fact it is: `airflow`, `prefect`, or any other engine's own word."""
    deployment: Short
    """Which installation of the engine."""
    occurred_at: AwareDatetime
    """The engine's clock."""
    witness: Witness
    """Who tells it: `worker`, `scheduler`, `follower`, `import`, `reconciler`, `operator`."""
    team: Short | None = None
    """The engine's team whose worker tells it, where the engine has teams and says which."""
    producer: UUID | None = None
    """The process that tells it, where it numbers its events."""
    sequence: int | None = Field(default=None, ge=0)
    """The place of this event among those of its producer, from 0; `producer` and `sequence` come together."""
    bodies: dict[str, BodyRef] = Field(default_factory=dict)
    """The salted digests of the event's large or personal parts, by name."""
    content: dict[str, JsonValue] = Field(default_factory=dict, exclude=True)
    """Bodies on their way to being sealed, by name."""

    @model_validator(mode="after")
    def _derive_event_id(self) -> Self:
        if self.event_id is NIL or self.event_id == NIL:
            object.__setattr__(self, "event_id", self.derived_id())
        return self

    def derived_id(self) -> UUID:
        """Return the id that follows from the fact."""
        return named_id("event", self.engine, self.deployment, self.witness, self.kind, *self.fact())

    def fact(self) -> tuple[Part, ...]:
        """Return the parts that make two reports of this kind the same fact."""
        raise NotImplementedError

    def _said(self) -> str:
        """Return everything the event says for itself, as one part: its own fields and the names of its bodies."""
        said = self.model_dump_json(exclude=set(self.envelope_fields), exclude_defaults=True)
        return said + ",".join(sorted({*self.bodies, *self.content}))


class RunEvent(EventBase, frozen=True):
    """A fact about one run."""

    run_id: UUID
    """The attempt that the fact is about."""


class StateEvent(RunEvent, frozen=True):
    """A transition, and nothing else."""

    kind: Literal["state"] = "state"
    state: State
    """The state that the run entered."""
    native_state: Short | None = None
    """The engine's own word for it."""
    retry_expected_at: AwareDatetime | None = None
    """When the engine means to try again, where a terminal state says so (`up_for_retry`)."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.state, self.native_state, timestamp(self.occurred_at))


class IdentityEvent(RunEvent, frozen=True):
    """What the run is: of which definition, which attempt, under which parent, started by what."""

    kind: Literal["identity"] = "identity"
    definition: Name
    """What ran."""
    definition_kind: Short
    """`dag`, `task`, `flow`: what the engine calls it."""
    native_key: Name
    """The engine's key without the attempt: attempts of one thing share it."""
    native_id: Name
    """The engine's own id of the attempt, as a person would paste it."""
    attempt: int = Field(default=1, ge=0)
    """The engine's number of the attempt; 0 for what never began."""
    trigger: Trigger | None = None
    """Why it started. The body `actor` says who started it."""
    parent_run_id: UUID | None = None
    """The run that contains it."""
    caused_by_run_id: UUID | None = None
    """The run that started it, where its id is known; else a link names it by native key."""
    retry_of: UUID | None = None
    """The attempt before, where its id is known; else it follows from the native key."""
    correlation_id: CorrelationId | None = None
    """The W3C trace id that all runs of one cause share."""
    definition_version_id: UUID | None = None
    """The version of the definition that it ran."""

    def fact(self) -> tuple[Part, ...]:
        return (self._said(),)


STARTED_FROM: Final = "started_from"
"""The key in a run's engine context under which it says from which other definition it was started."""


class ContextEvent(RunEvent, frozen=True):
    """Inputs, code, environment: sent at the start and again before the end, merged key by key.

    Bodies: `parameters`, `conf`.
    """

    kind: Literal["context"] = "context"
    code: Json = Field(default_factory=dict)
    """`commit`, `bundle`, `bundle_version`, `path`, `deployment_version`."""
    environment: Json = Field(default_factory=dict)
    """`host`, `pid`, `python`, `packages`, allowed variables."""
    engine_context: Json = Field(default_factory=dict)
    """What the engine says of the run that has no word of ours: operator, pool, queue, logical date.

    `started_from` is the other definition by which the engine started the run: a deployment of the flow.
    """
    tags: tuple[str, ...] = ()
    """The engine's tags or labels."""
    owner: Short | None = None
    """Who answers for the definition, as the engine names it."""
    native_url: str | None = None
    """The run's page in the engine's own UI."""

    def fact(self) -> tuple[Part, ...]:
        return (self._said(),)


class SnapshotEvent(RunEvent, frozen=True):
    """An attempt's times and state as a scheduler or an API holds them, where no transition was delivered."""

    kind: Literal["snapshot"] = "snapshot"
    queued_at: AwareDatetime | None = None
    """When it began to wait for a worker."""
    started_at: AwareDatetime | None = None
    """When its code began."""
    ended_at: AwareDatetime | None = None
    """When it ended."""
    state: State | None = None
    """Its state when the snapshot was taken."""
    native_state: Short | None = None
    """The engine's own word for that state."""

    def fact(self) -> tuple[Part, ...]:
        return (self._said(),)


class FailureEvent(RunEvent, frozen=True):
    """Why the run failed. Bodies: `message`, `traceback`."""

    kind: Literal["failure"] = "failure"
    error_type: Name | None = None
    """The exception's type, qualified with its module."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), timestamp(self.occurred_at), self.error_type)


class DatasetEvent(RunEvent, frozen=True):
    """The run read or wrote a dataset. Body: `extra`."""

    kind: Literal["dataset"] = "dataset"
    direction: Literal["read", "write"]
    """What the run did with it."""
    namespace: Name
    """Where the dataset lives, as OpenLineage names it."""
    name: Name
    """Its name there."""
    native_id: Short | None = None
    """The engine's own id of this reading or writing."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.direction, self.namespace, self.name, self.native_id)


class ArtifactEvent(RunEvent, frozen=True):
    """The run left a persistent output: a report, a table, a link."""

    kind: Literal["artifact"] = "artifact"
    name: Name
    """What the run calls it."""
    uri: str | None = None
    """Where it lies."""
    digest: str | None = None
    """The digest of its content, with its algorithm: `sha256:…`."""
    media_type: Short | None = None
    """Its media type."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.name, self.uri, self.digest)


class MetricEvent(RunEvent, frozen=True):
    """A number that the run measured."""

    kind: Literal["metric"] = "metric"
    name: Name
    """What was measured."""
    value: Annotated[float, Field(allow_inf_nan=False)]
    """The number."""
    unit: Short | None = None
    """Its unit."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.name, timestamp(self.occurred_at))


class LinkEvent(RunEvent, frozen=True):
    """How the run stands to another one, named by its id or, where the id can't be known, by its native key."""

    kind: Literal["link"] = "link"
    relation: Relation
    """`caused`, `caused_by`, `carried_over` or `became`."""
    target_run_id: UUID | None = None
    """The other run, by its id."""
    target_native_key: Name | None = None
    """The other run, by the native key of the same engine and deployment."""

    @model_validator(mode="after")
    def _names_a_target(self) -> Self:
        if (self.target_run_id is None) == (self.target_native_key is None):
            raise ValueError("a link names its target by either target_run_id or target_native_key")
        return self

    def fact(self) -> tuple[Part, ...]:
        target = str(self.target_run_id) if self.target_run_id else None
        return (str(self.run_id), self.relation, target, self.target_native_key)


class AliasEvent(RunEvent, frozen=True):
    """Another system's id for the same run."""

    kind: Literal["alias"] = "alias"
    system: Short
    """The other system."""
    native_id: Name
    """The run's id there."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.system, self.native_id)


class NoteEvent(RunEvent, frozen=True):
    """What somebody wrote about the run. Bodies: `text`, `author`."""

    kind: Literal["note"] = "note"
    native_id: Short | None = None
    """The engine's own id of the note."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.native_id or timestamp(self.occurred_at))


class LogEvent(RunEvent, frozen=True):
    """The last lines of the run's log, and how many lines it had by severity. Body: `tail`."""

    kind: Literal["log"] = "log"
    counts: dict[str, int] = Field(default_factory=dict)
    """Lines by severity name, all of them, not only the kept ones."""
    url: str | None = None
    """Where the engine keeps the full log."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), timestamp(self.occurred_at))


class ActionEvent(RunEvent, frozen=True):
    """What a person did to the run: cleared it, marked it. Bodies: `actor`, `detail`."""

    kind: Literal["action"] = "action"
    name: Name
    """What was done, in the engine's word."""
    native_id: Short | None = None
    """The engine's own id of the act."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.name, self.native_id or timestamp(self.occurred_at))


class PresumptionEvent(RunEvent, frozen=True):
    """A reversible verdict on a run whose engine went silent, with what it rests on."""

    kind: Literal["presumption"] = "presumption"
    verdict: Verdict
    """`silent`, `beating` or `lost`."""
    state: State | None = None
    """The terminal state presumed, with the verdict `lost`."""
    reason: str
    """Why, in words."""
    evidence: Json = Field(default_factory=dict)
    """What it rests on: the last sign of life, what the engine answered."""

    @model_validator(mode="after")
    def _lost_has_a_terminal_state(self) -> Self:
        if (self.verdict is Verdict.LOST) != (self.state is not None and self.state.is_terminal):
            raise ValueError("a presumption has a terminal state when, and only when, its verdict is 'lost'")
        return self

    def fact(self) -> tuple[Part, ...]:
        return (str(self.run_id), self.verdict, timestamp(self.occurred_at))


class DefinitionEvent(EventBase, frozen=True):
    """One version of a definition, recorded once by the process that knows it. Bodies: `structure`, `docs`.

    `structure` is `{"tasks": [{"id", "operator", …}], "edges": [[from, to], …]}`. One that was too large has less of
    each task, and `cut`: how many `tasks` and `edges` are left out, and which `fields` of tasks.
    """

    kind: Literal["definition"] = "definition"
    definition: Name
    """What can run."""
    definition_kind: Short
    """What the engine calls it."""
    version: Name
    """The hash of the content."""
    native_version: Short | None = None
    """The engine's own version."""
    code_version: Name | None = None
    """The commit or bundle version of its code."""
    schedule: Name | None = None
    """When it runs by itself, in the engine's notation."""
    owner: Short | None = None
    """Who answers for it."""
    tags: tuple[str, ...] = ()
    """The engine's tags."""
    parent_definition: Name | None = None
    """The definition that contains it."""

    def fact(self) -> tuple[Part, ...]:
        return (self.definition, self.version)


class DefinitionErrorEvent(EventBase, frozen=True):
    """A source of definitions could not be read. Body: `traceback`."""

    kind: Literal["definition_error"] = "definition_error"
    source: Name
    """The file, as the engine names it."""
    fingerprint: Name
    """What tells one error from the next at the same source."""

    def fact(self) -> tuple[Part, ...]:
        return (self.source, self.fingerprint)


class DatasetDeclaredEvent(EventBase, frozen=True):
    """A definition declares a dataset. Body: `extra`."""

    kind: Literal["dataset_declared"] = "dataset_declared"
    namespace: Name
    """Where the dataset lives."""
    name: Name
    """Its name there."""
    group: Short | None = None
    """The engine's grouping of it."""

    def fact(self) -> tuple[Part, ...]:
        return (self.namespace, self.name)


class ProducerOpenedEvent(EventBase, frozen=True):
    """A process begins to number its events; this is number 0."""

    kind: Literal["producer_opened"] = "producer_opened"
    component: Short
    """What kind of process: `task`, `scheduler`, `triggerer`, `api-server`, `flow`."""
    host: Short | None = None
    """The machine it runs on."""
    pid: int | None = None
    """Its process id there."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of RunVis, the engine and Python."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.producer),)


class ProducerClosedEvent(EventBase, frozen=True):
    """A process has said all it had to say; this is its last number."""

    kind: Literal["producer_closed"] = "producer_closed"
    refused: int = Field(default=0, ge=0)
    """Events that the process could not keep: too large, or no room for them."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.producer),)


class AttestationEvent(EventBase, frozen=True):
    """Made by the store: another witness or principal reported an event that was known already."""

    kind: Literal["attestation"] = "attestation"
    run_id: UUID | None = None
    """The run that the attested event is about."""
    attested_event_id: UUID
    """What was reported again."""
    attested_by: Witness
    """Who reported it again."""
    principal: str
    """Who brought that report."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.attested_event_id), self.attested_by, self.principal)


class ConflictEvent(EventBase, frozen=True):
    """Made by the store: the same event id came with another meaning. The other report is kept whole.

    Or a run was claimed by a second team; then the report says only which.
    """

    kind: Literal["conflict"] = "conflict"
    run_id: UUID | None = None
    """The run that the report is about."""
    conflicting_event_id: UUID
    """The id that was taken, or that of the first team's first word."""
    report_digest: Digest
    """SHA-256 of the report."""
    report: Json
    """The report, whole."""

    def fact(self) -> tuple[Part, ...]:
        return (str(self.conflicting_event_id), self.report_digest)


class DecisionEvent(EventBase, frozen=True):
    """Made by the store: what somebody decided about the store itself, and it did so in the same transaction.

    What `details` hold per name is in `decision.py`.
    """

    kind: Literal["decision"] = "decision"
    decision: Short
    """`token issued`, `token revoked`, `hold placed`, `hold released`, `erasure` or `declaration`."""
    subject: Name
    """What it is about: the id of a token or hold, the name of a run, a key of the log."""
    run_id: UUID | None = None
    """The run that it is about, where it is about one."""
    reason: str | None = None
    """Why, in the words of who decided it."""
    details: Json = Field(default_factory=dict)
    """What follows from it."""

    def fact(self) -> tuple[Part, ...]:
        return (self._said(), timestamp(self.occurred_at))


class AccessEvent(EventBase, frozen=True):
    """Made by the store: what somebody looked at, took out or had made."""

    kind: Literal["access"] = "access"
    access: Short
    """What was done: `read`, `export`, `checkpoint`, `sign-in`, …"""
    subject: Name
    """What was looked at or made."""
    details: Json = Field(default_factory=dict)
    """What else is to be known of it."""

    def fact(self) -> tuple[Part, ...]:
        return (self._said(), timestamp(self.occurred_at))


class UnknownEvent(EventBase, frozen=True):
    """A kind that this version does not know, kept raw; `run_id` is read where there is one.

    What makes two of them the same fact is not known either, so it has to bring its `event_id`.
    """

    kind: str
    run_id: UUID | None = None

    def fact(self) -> tuple[Part, ...]:
        raise ValueError(f"an event of the unknown kind '{self.kind}' needs an event_id")


EVENT_KINDS: Final[Mapping[str, type[EventBase]]] = {
    kind.model_fields["kind"].default: kind
    for kind in (
        StateEvent,
        IdentityEvent,
        ContextEvent,
        SnapshotEvent,
        FailureEvent,
        DatasetEvent,
        ArtifactEvent,
        MetricEvent,
        LinkEvent,
        AliasEvent,
        NoteEvent,
        LogEvent,
        ActionEvent,
        PresumptionEvent,
        DefinitionEvent,
        DefinitionErrorEvent,
        DatasetDeclaredEvent,
        ProducerOpenedEvent,
        ProducerClosedEvent,
        AttestationEvent,
        ConflictEvent,
        DecisionEvent,
        AccessEvent,
    )
}

STORE_MADE_KINDS: Final = frozenset({"attestation", "conflict", "decision", "access"})
"""Kinds that only the store itself may append."""


_building: Final = RLock()


def build_kinds(kinds: Collection[type[EventBase]] = EVENT_KINDS.values()) -> None:
    """Make kinds of events ready for use, which takes a millisecond for each: else the first event of a kind does it.

    A process with several threads must have done so before they make events: not every pydantic lets two of them begin.
    """
    if all(kind.__pydantic_complete__ for kind in kinds):
        return
    # Reentrant: a signal's handler may record, too.
    with _building:
        for kind in kinds:
            kind.model_rebuild()


def parse_event(raw: Any) -> EventBase:
    """Return the event that `raw` (a mapping of JSON values) says.

    An unknown kind becomes an `UnknownEvent`; unknown fields are ignored here and kept by whoever keeps `raw`.
    Raises pydantic's `ValidationError` with the place and the reason of each fault.
    """
    kind = raw.get("kind") if isinstance(raw, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    model = EVENT_KINDS.get(kind, UnknownEvent) if isinstance(kind, str) else UnknownEvent
    # The same as `model.model_validate(raw)`, without its looking for options: a store parses a thousand at a time.
    return model.__pydantic_validator__.validate_python(raw)
