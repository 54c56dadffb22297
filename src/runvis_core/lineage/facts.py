"""What entries say about lineage; pure.

A fact becomes known at one position: that of the entry which completes it. A task wrote a dataset when the dataset is
told and the task is named; so did the DAG run that contains it, once that is named, too. What a run is, is what the
first identity said of it; its parent is the first that one of them told, and so is its cause. So the facts that the
first `n` entries tell are the same in whatever portions they are read, also where witnesses contradict one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from runvis_core.model.identity import named_id

MAX_LEVELS: Final = 8
"""How many levels of containment a fact is passed on to: task, subflow, flow, …"""

EdgeKind = Literal["reads", "writes", "triggers"]


class Node(NamedTuple):
    """A definition or a dataset."""

    kind: Literal["definition", "dataset"]
    name: str
    engine: str | None = None
    deployment: str | None = None
    definition_kind: str | None = None
    namespace: str | None = None

    @property
    def node_id(self) -> UUID:
        """Return the id under which everybody finds it."""
        return _node_id(self)


@lru_cache(maxsize=10_000)
def _node_id(node: Node) -> UUID:
    # Asked for again and again: each fact names two nodes, and there are far fewer nodes than facts.
    if node.kind == "dataset":
        return named_id("dataset", node.namespace, node.name)
    return named_id("definition", node.engine, node.deployment, node.name)


class RunKey(NamedTuple):
    """What the attempts of one thing share: the engine's native key, of one installation."""

    engine: str
    deployment: str
    native_key: str

    @staticmethod
    def read(said: Mapping[str, Any]) -> RunKey:
        """Return the key that an identity's fields tell."""
        return RunKey(*(stored(said[name]) for name in RunKey._fields))

    @property
    def thing(self) -> UUID:
        """Return the id of the thing."""
        return named_id("thing", *self)


@dataclass(slots=True)
class NamedRun:
    """A run as far as identities have said what it is."""

    definition: Node
    thing: UUID
    known_at: int
    parent: UUID | None = None
    parent_at: int = 0
    cause: UUID | None = None
    cause_at: int = 0

    def hear(self, position: int, said: Mapping[str, Any]) -> None:
        """Take from a later identity what the earlier ones left open."""
        if self.parent is None and said.get("parent_run_id"):
            self.parent, self.parent_at = UUID(said["parent_run_id"]), position
        if self.cause is None and said.get("caused_by_run_id"):
            self.cause, self.cause_at = UUID(said["caused_by_run_id"]), position

    def is_news(self, after: int) -> bool:
        """Whether something about it was said after a position."""
        return max(self.known_at, self.parent_at, self.cause_at) > after


class Container(NamedTuple):
    """A run that a fact is passed on to, itself first, and since when it is known to be one."""

    run: NamedRun
    known_at: int


class NamedRuns:
    """Runs as identities named them."""

    def __init__(self) -> None:
        self._runs: dict[UUID, NamedRun] = {}

    def add(self, run_id: UUID, run: NamedRun) -> None:
        """Take a run as it was named before."""
        self._runs[run_id] = run

    def hear(self, position: int, said: Mapping[str, Any]) -> NamedRun:
        """Take an identity, the fields of its event, and return its run; of one run they come in order of position."""
        run_id = UUID(said["run_id"])
        known = self._runs.get(run_id)
        if known is None:
            key = RunKey.read(said)
            definition = Node(
                "definition",
                stored(said["definition"]),
                engine=key.engine,
                deployment=key.deployment,
                definition_kind=stored(said["definition_kind"]),
            )
            known = self._runs[run_id] = NamedRun(definition, key.thing, position)
        known.hear(position, said)
        return known

    def find(self, run_id: UUID) -> NamedRun | None:
        """Return a run as far as it was named."""
        return self._runs.get(run_id)

    def containers(self, run_id: UUID) -> Iterator[Container]:
        """Yield the run and what contains it, up to the top or to the first that nobody named."""
        known_at = 0
        run = self._runs.get(run_id)
        seen: set[UUID] = set()
        for _ in range(MAX_LEVELS):
            if run is None or run_id in seen:
                return
            known_at = max(known_at, run.known_at)
            yield Container(run, known_at)
            if run.parent is None:
                return
            seen.add(run_id)
            known_at = max(known_at, run.parent_at)
            run_id, run = run.parent, self._runs.get(run.parent)


class DatasetUse(NamedTuple):
    """A run read or wrote a dataset, as an entry at a position says."""

    run_id: UUID
    position: int
    direction: str
    namespace: str
    name: str


class Causing(NamedTuple):
    """A run started another one, as an entry at a position says."""

    caused: UUID
    cause: UUID
    position: int


class Fact(NamedTuple):
    """One proof of an edge."""

    position: int
    """Of the entry that completed it."""
    told_at: int
    """The position of the entry that told the use or the start itself: its moment is the fact's."""
    kind: EdgeKind
    source: Node
    target: Node
    subject: UUID
    """What counts once for the edge: the run that read or wrote, the thing that was started."""
    run_id: UUID
    cause: UUID | None = None
    """The thing that started it."""


def dataset_facts(runs: NamedRuns, uses: Iterable[DatasetUse]) -> Iterator[Fact]:
    """Yield what uses of datasets prove: of the run itself, and of what contains it."""
    for run_id, told_at, direction, namespace, name in uses:
        dataset = Node("dataset", name, namespace=namespace)
        for run, known_at in runs.containers(run_id):
            position = max(told_at, known_at)
            if direction == "write":
                yield Fact(position, told_at, "writes", run.definition, dataset, run_id, run_id)
            else:
                yield Fact(position, told_at, "reads", dataset, run.definition, run_id, run_id)


def trigger_facts(runs: NamedRuns, causings: Iterable[Causing]) -> Iterator[Fact]:
    """Yield what the causings prove: that a thing was started by the cause, and by what contains that."""
    for caused, cause, told_at in causings:
        started = runs.find(caused)
        if started is None or caused == cause:
            continue
        for run, known_at in runs.containers(cause):
            position = max(told_at, known_at, started.known_at)
            source, target = run.definition, started.definition
            yield Fact(position, told_at, "triggers", source, target, started.thing, caused, run.thing)


def stored(value: Any) -> str:
    """Return a text as the store's columns have it: PostgreSQL's text holds no NUL."""
    return str(value).replace("\0", "\ufffd")
