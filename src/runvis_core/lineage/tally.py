"""How the facts of an edge add up; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

KEPT_RUNS: Final = 5
"""How many of the runs that show an edge are named."""

Key = tuple[int, int, str]
"""An edge: the numbers of its nodes, and its kind."""


class KeptFact(NamedTuple):
    """A row of `lineage_facts`: by an entry's word, a run showed an edge, since a moment."""

    source: int
    target: int
    kind: str
    subject: UUID
    """What counts once for the edge: the run that read or wrote, the thing that was started."""
    position: int
    """Of the entry with which it became known."""
    happened_at: datetime
    """From when on it belongs to the past. A second row of a subject tells of an earlier moment than those before."""
    seen_at: datetime
    """When the entry was recorded."""
    run_id: UUID

    @property
    def edge(self) -> Key:
        """The edge that it shows."""
        return (self.source, self.target, self.kind)

    @property
    def proof(self) -> tuple[int, int, str, UUID]:
        """What counts once."""
        return (*self.edge, self.subject)


class EdgeRow(NamedTuple):
    """What a row of `lineage_edges` says beside its key."""

    first_position: int
    first_seen_at: datetime
    last_position: int
    last_seen_at: datetime
    run_count: int
    last_runs: tuple[tuple[str, int], ...]

    @staticmethod
    def read(said: Sequence[Any]) -> EdgeRow:
        """Return what the columns beside the key say."""
        first_position, first_seen_at, last_position, last_seen_at, run_count, last_runs = said
        runs = tuple((run_id, position) for run_id, position in orjson.loads(last_runs))
        return EdgeRow(first_position, first_seen_at, last_position, last_seen_at, run_count, runs)

    def row(self, key: Key) -> tuple[Any, ...]:
        """Return the row of an edge."""
        *counted, last_runs = self
        return (*key, *counted, orjson.dumps(last_runs).decode())


def add_facts(known: Mapping[Key, EdgeRow], facts: Iterable[KeptFact]) -> dict[Key, EdgeRow]:
    """Return what the edges of facts become that none of them counts yet, in the order of their keys."""
    by_key: dict[Key, list[KeptFact]] = {}
    for fact in facts:
        by_key.setdefault(fact.edge, []).append(fact)
    return {key: _added(known.get(key), by_key[key]) for key in sorted(by_key)}


def _added(before: EdgeRow | None, facts: list[KeptFact]) -> EdgeRow:
    facts = sorted(facts, key=lambda fact: fact.position)
    first, last = facts[0], facts[-1]
    runs = dict(before.last_runs) if before else {}
    runs.update((str(fact.run_id), fact.position) for fact in facts)
    kept = tuple(sorted(runs.items(), key=lambda run: (-run[1], run[0]))[:KEPT_RUNS])
    return EdgeRow(
        before.first_position if before else first.position,
        before.first_seen_at if before else first.seen_at,
        last.position,
        last.seen_at,
        (before.run_count if before else 0) + len(facts),
        kept,
    )
