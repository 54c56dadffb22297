"""How the facts of an edge add up; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import bindparam, update
from sqlalchemy.sql.dml import Update

from runvis_core.store import tables as t

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
    def read(row: Any) -> EdgeRow:
        """Return what a row says."""
        return EdgeRow(
            row.first_position,
            row.first_seen_at,
            row.last_position,
            row.last_seen_at,
            row.run_count,
            tuple((run_id, position) for run_id, position in orjson.loads(row.last_runs)),
        )

    @staticmethod
    def update() -> Update:
        """Return the statement that changes a row."""
        columns = t.lineage_edges.c
        key: list[Any] = [columns[name] == bindparam(f"key_{name}") for name in ("source", "target", "kind")]
        values: dict[str, Any] = {
            name: bindparam(name) for name in ("last_position", "last_seen_at", "run_count", "last_runs")
        }
        return update(t.lineage_edges).where(*key).values(values)

    def values(self) -> dict[str, Any]:
        """Return the row's columns."""
        return {**self._asdict(), "last_runs": orjson.dumps(self.last_runs).decode()}


def add_facts(
    known: Mapping[Key, EdgeRow], facts: Iterable[KeptFact]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of new edges and the changes of known ones, given facts that none of them counts yet."""
    by_key: dict[Key, list[KeptFact]] = {}
    for fact in facts:
        by_key.setdefault(fact.edge, []).append(fact)
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for key in sorted(by_key):
        before = known.get(key)
        after = _added(before, by_key[key])
        source, target, kind = key
        if before is None:
            new.append({"source": source, "target": target, "kind": kind, **after.values()})
        else:
            values = {name: value for name, value in after.values().items() if not name.startswith("first_")}
            changed.append({"key_source": source, "key_target": target, "key_kind": kind, **values})
    return new, changed


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
