"""What the services answer about lineage; the same from a store and over HTTP. Needs no store."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from runvis_core.services.answers import Answer, RunRef
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT, Word
from runvis_core.services.past_filter import PastFilter

DEFAULT_DEPTH = 3
MAX_DEPTH = 20
DEFAULT_NODES = 500
MAX_NODES = 2000
DEFAULT_LOOPS = 50
MAX_LOOPS = 500

Direction = Literal["up", "down", "both"]


class LineageQuery(BaseModel):
    """Of which node, and how far around it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: Word = Field(description="A definition's name, a dataset's address, or a node's id.")
    engine: Word | None = Field(default=None, description="Where several definitions have the name: the engine.")
    deployment: Word | None = Field(default=None, description="Where several have it: the installation of the engine.")
    direction: Direction = Field(
        default="both", description="`up`: what leads to it; `down`: what it leads to; or `both`."
    )
    depth: int = Field(default=DEFAULT_DEPTH, ge=1, le=MAX_DEPTH, description="How many edges away from it.")
    max_nodes: int = Field(default=DEFAULT_NODES, ge=1, le=MAX_NODES, description="How many nodes at most.")


class PastLineageQuery(LineageQuery, PastFilter):
    """Of which node, how far around it, and in which past."""


class PastEdgeQuery(PastFilter):
    """Which edge, and in which past."""

    source: UUID = Field(description="The id of the node that it leads from.")
    target: UUID = Field(description="The id of the node that it leads to.")
    kind: Literal["reads", "writes", "triggers"] = Field(description="How.")


class ProofQuery(PastEdgeQuery):
    """The runs of which edge, and which part of them."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before, of the same edge.")


class LoopQuery(PastFilter):
    """How many loops, and of which past."""

    limit: int = Field(default=DEFAULT_LOOPS, ge=1, le=MAX_LOOPS, description="How many loops at most.")


class LineageRef(Answer):
    """A node of the graph: a definition of an engine, or a dataset in its namespace."""

    node_id: UUID
    kind: Literal["definition", "dataset"]
    engine: str | None = None
    deployment: str | None = None
    definition_kind: str | None = None
    namespace: str | None = None
    name: str

    @property
    def label(self) -> str:
        """The node as a person names it, and as `lineage show` takes it."""
        return f"{self.namespace}/{self.name}" if self.kind == "dataset" else self.name


class LineageNode(LineageRef):
    """A node near the one that was asked for."""

    depth: int
    """How many edges away, the nearer way: negative for what leads to it, 0 for itself. In a loop a node is on both
    sides; as near on both, it counts as what it leads to."""
    before: int | None = None
    """How many edges lead from it to the node that was asked for; none found within the depth: None."""
    after: int | None = None
    """How many edges lead to it from the node that was asked for; none found within the depth: None."""
    in_loop: bool = False
    """Whether it leads back to itself by the edges shown."""


class LineageEdge(Answer):
    """What leads to what: `reads` from a dataset, `writes` to one, `triggers` from a definition to another."""

    source: UUID
    target: UUID
    kind: Literal["reads", "writes", "triggers"]
    run_count: int
    """How many runs showed it; attempts of one run that was started count as one start."""
    first_position: int
    first_seen_at: AwareDatetime
    last_position: int
    last_seen_at: AwareDatetime
    last_run_ids: list[UUID] = Field(default_factory=list[UUID])
    """The last runs that showed it, the latest first: who read, wrote, or was started."""


class Lineage(Answer):
    """A node's neighbourhood."""

    node: LineageRef
    nodes: list[LineageNode]
    """The nearest first."""
    edges: list[LineageEdge]
    """Those that were followed, between nodes that are shown."""
    is_cut: bool = False
    """Whether there were more nodes or edges within the depth than were asked for."""


class Proof(Answer):
    """A run that shows an edge."""

    run: RunRef
    """Who read, wrote, or was started."""
    position: int
    """The position of the entry with which that became known."""
    happened_at: AwareDatetime
    """When it read, wrote, or was started."""
    seen_at: AwareDatetime
    """When that became known."""


class EdgeProofs(Answer):
    """An edge and the runs that show it."""

    source: LineageRef
    target: LineageRef
    kind: Literal["reads", "writes", "triggers"]
    items: list[Proof]
    """The last one to become known first."""
    next_cursor: str | None = None


class LoopTurn(Answer):
    """A chain of causing runs that came back to the definition where it began."""

    position: int
    """The position of the entry with which that became known."""
    happened_at: AwareDatetime
    """When the last start of the chain happened."""
    runs: list[RunRef]
    """In the order in which they started one another: the first and the last one are of the same definition."""


class LoopMember(LineageRef):
    """A node of a loop."""

    turns: int = 0
    """How many chains of causing runs came back to this definition."""


class Loop(Answer):
    """Nodes that all lead to one another: a strongly connected part of the graph."""

    cycle: list[UUID]
    """A shortest way around, by node, from the member with the most turns on."""
    members: list[LoopMember]
    """Those of the cycle first."""
    edges: list[LineageEdge]
    """The edges between the members that are shown, those of the cycle first."""
    kinds: list[Literal["reads", "writes", "triggers"]]
    """The kinds of the edges that are shown."""
    turns: int = 0
    """How often chains of causing runs came back to one definition: of all members, that with the most."""
    last_turn_at: AwareDatetime | None = None
    """When the last of them came back."""
    last_turn_run_id: UUID | None = None
    """The run that closed it."""
    cut_members: int = 0
    cut_edges: int = 0


class NewLoop(Answer):
    """A loop through definitions through which no chain of causes had come back before: what the hook is told."""

    definitions: list[LineageRef]
    """In the order in which they started one another; the last one started the first again."""
    run_id: UUID
    """The run that closed it."""
    position: int
    """The position of the entry with which that became known."""
