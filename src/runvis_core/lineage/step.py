"""The step that keeps the lineage tables: it reads what new entries complete, and adds it to nodes, edges and turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, insert, select

from runvis_core.lineage.checking import find_differences
from runvis_core.lineage.facts import DatasetUse, Fact, Node, dataset_facts, stored, trigger_facts
from runvis_core.lineage.lookup import Link, Lookup
from runvis_core.lineage.nodes import ToldNodes, chunks, find_nodes
from runvis_core.lineage.tally import EdgeRow, KeptFact, Key, add_facts
from runvis_core.lineage.turns import Chains, Trigger, Turn
from runvis_core.store import tables as t
from runvis_core.store.bulk import Bulk, single
from runvis_core.store.log import StoredEntry

_KINDS: Final = frozenset({"identity", "dataset", "link", "dataset_declared"})

TellTurns = Callable[[list[Turn], dict[int, Node]], None]
"""Is told the turns that were the first through their definitions, and the nodes by number."""


class LineageStep:
    """Keeps runs' names, nodes, facts, edges, triggers and turns. `tell` is called with new loops once durable."""

    name = "lineage"

    def __init__(self, tell: TellTurns | None = None) -> None:
        self._tell = tell

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> Callable[[], None] | None:
        """Add what the entries complete; return what tells of new loops."""
        new = take_entries(connection, connection, entries)
        if not new or self._tell is None:
            return None
        tell, nodes = self._tell, find_nodes(connection, {number for turn in new for number in turn.path})
        return lambda: tell(new, nodes)

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, up to where the step is."""
        return find_differences(connection, self.name, take_entries)


def take_entries(own: Connection, log: Connection, entries: Sequence[StoredEntry]) -> list[Turn]:
    """Add to `own` tables what entries complete, given the `log` up to them; return the turns that are news."""
    read = {entry.position: orjson.loads(entry.entry) for entry in entries if entry.kind in _KINDS}
    if not read:
        return []
    portion = _Portion(own, log, entries[0].position - 1, entries[-1].position, read)
    facts = portion.facts()
    numbers = portion.nodes(facts).keep(own)
    kept, triggers = portion.keep_facts(facts, numbers)
    bulk = Bulk(own)
    _add_edges(bulk, kept)
    return _add_turns(own, _find_turns(bulk, triggers), portion.moments)


class _Moments:
    """When entries were recorded, and when what they tell happened, by position."""

    def __init__(self, log: Connection, read: dict[int, dict[str, Any]]) -> None:
        self._log = log
        self._known = {position: _moments_of(envelope) for position, envelope in read.items()}

    def read(self, positions: Iterable[int]) -> None:
        """Read the entries at positions, as far as they are not known."""
        for chunk in chunks({position for position in positions if position not in self._known}):
            query = select(t.entries.c.position, t.entries.c.entry).where(t.entries.c.position.in_(chunk))
            self._known.update((row.position, _moments_of(orjson.loads(row.entry))) for row in self._log.execute(query))

    def recorded(self, position: int) -> datetime:
        """Return when an entry was recorded that was read."""
        return self._known[position][0]

    def happened(self, position: int) -> datetime:
        """Return from when on what an entry tells that was read belongs to the past."""
        return self._known[position][1]


def _moments_of(envelope: dict[str, Any]) -> tuple[datetime, datetime]:
    recorded_at = datetime.fromisoformat(envelope["recorded_at"])
    return recorded_at, min(recorded_at, datetime.fromisoformat(envelope["event"]["occurred_at"]))


class _Portion:
    """One portion of entries, those after `after` up to `until`, and what they complete."""

    def __init__(
        self, own: Connection, log: Connection, after: int, until: int, read: dict[int, dict[str, Any]]
    ) -> None:
        self._own, self._after, self._until = Bulk(own), after, until
        self._told: dict[int, dict[str, Any]] = {position: envelope["event"] for position, envelope in read.items()}
        self._lookup = Lookup(own, log, until)
        self._runs = self._lookup.runs
        self.moments = _Moments(log, read)

    def facts(self) -> list[Fact]:
        """Return what becomes known in this portion, in the order in which it does; some of it several times."""
        lookup = self._lookup
        news = lookup.hear_identities(self._told, after=self._after)
        # What such a run contains may have been waiting for its name.
        touched = news | lookup.find_contained(news)
        uses = {*lookup.find_uses(touched), *self._uses()}
        links = [Link.read(position, said) for position, said in self._told.items() if said["kind"] == "link"]
        causings = lookup.find_causings(touched, links)
        lookup.name_containers({use.run_id for use in uses} | {causing.cause for causing in causings})
        found = [
            fact
            for facts in (dataset_facts(self._runs, uses), trigger_facts(self._runs, causings))
            for fact in facts
            if self._after < fact.position <= self._until
        ]
        self.moments.read({position for fact in found for position in (fact.position, fact.told_at)})
        return sorted(found, key=self._order)

    def _order(self, fact: Fact) -> tuple[Any, ...]:
        cause = fact.cause or fact.run_id
        return (fact.position, self.moments.happened(fact.told_at), cause.bytes, fact.run_id.bytes)

    def _uses(self) -> Iterator[DatasetUse]:
        for position, said in self._told.items():
            if said["kind"] == "dataset":
                names = (stored(said[name]) for name in ("direction", "namespace", "name"))
                yield DatasetUse(UUID(said["run_id"]), position, *names)

    def nodes(self, facts: Iterable[Fact]) -> ToldNodes:
        """Return the nodes that this portion told of, and at which position each was told first."""
        found = ToldNodes()
        for position, said in self._told.items():
            if said["kind"] == "identity":
                run = self._runs.find(UUID(said["run_id"]))
                if run is not None and run.known_at == position:
                    found.note(position, run.definition)
            elif said["kind"] == "dataset_declared":
                found.note(position, Node("dataset", stored(said["name"]), namespace=stored(said["namespace"])))
        for fact in facts:
            found.note(fact.position, fact.source)
            found.note(fact.position, fact.target)
        return found

    def keep_facts(self, facts: list[Fact], numbers: dict[UUID, int]) -> tuple[list[KeptFact], list[Trigger]]:
        """Add the facts; return those that an edge doesn't count yet, and the starts of things among them.

        What was known before is left out: a start is told by several witnesses, and for each of its attempts. Only
        where it happened earlier than was known, that is kept.
        """
        told = [(self._kept(fact, numbers), fact) for fact in facts]
        happened = self._find_happened(fact for fact, _ in told)
        started = self._find_started(fact.subject for fact, _ in told if fact.kind == "triggers")
        rows: list[KeptFact] = []
        first: list[KeptFact] = []
        triggers: list[Trigger] = []
        for kept, fact in told:
            known = happened.get(kept.proof)
            if known is not None:
                if kept.happened_at < known:
                    rows.append(kept)
                    happened[kept.proof] = kept.happened_at
                continue
            if fact.kind == "triggers":
                if (kept.subject, kept.source) in started:
                    continue
                started.add((kept.subject, kept.source))
                triggers.append(_trigger(kept, fact))
            rows.append(kept)
            first.append(kept)
            happened[kept.proof] = kept.happened_at
        self._own.insert(t.lineage_facts, rows)
        self._own.insert(t.lineage_triggers, triggers)
        return first, triggers

    def _kept(self, fact: Fact, numbers: dict[UUID, int]) -> KeptFact:
        return KeptFact(
            numbers[fact.source.node_id],
            numbers[fact.target.node_id],
            fact.kind,
            fact.subject,
            fact.position,
            self.moments.happened(fact.told_at),
            self.moments.recorded(fact.position),
            fact.run_id,
        )

    def _find_happened(self, facts: Iterable[KeptFact]) -> dict[tuple[int, int, str, UUID], datetime]:
        """Return since when those of the proofs that were known stand."""
        found: dict[tuple[int, int, str, UUID], datetime] = {}
        names = (*_PROOF, "position", "happened_at")
        rows = self._own.find(t.lineage_facts, names, _PROOF, {fact.proof for fact in facts})
        # The last row of a proof says how early it stands.
        for *proof, _, happened_at in sorted(rows):
            source, target, kind, subject = proof
            found[source, target, kind, subject] = happened_at
        return found

    def _find_started(self, things: Iterable[UUID]) -> set[tuple[UUID, int]]:
        rows = self._own.find(t.lineage_triggers, ("thing", "source"), ("thing",), single(set(things)))
        return {(thing, source) for thing, source in rows}


_PROOF: Final = ("source", "target", "kind", "subject")
"""The columns of what counts once."""


def _trigger(kept: KeptFact, fact: Fact) -> Trigger:
    assert fact.cause is not None, "a start has a cause"
    return Trigger(kept.subject, kept.source, kept.target, fact.cause, kept.run_id, kept.position, kept.happened_at)


def _add_edges(own: Bulk, facts: list[KeptFact]) -> None:
    key = ("source", "target", "kind")
    known: dict[Key, EdgeRow] = {}
    for source, target, kind, *said in own.find(t.lineage_edges, None, key, {fact.edge for fact in facts}):
        known[source, target, kind] = EdgeRow.read(said)
    own.upsert(t.lineage_edges, (edge.row(key) for key, edge in add_facts(known, facts).items()))


def _find_turns(own: Bulk, triggers: list[Trigger]) -> list[Turn]:
    """Return the turns that new starts close, in the order in which they became known."""
    new = sorted(triggers, key=lambda trigger: (trigger.position, trigger.source, trigger.thing.bytes))
    chains = Chains(new, lambda column, things: _read_triggers(own, column, things))
    turns: dict[UUID, Turn] = {}
    for trigger in new:
        for turn in chains.turns_closed_by(trigger):
            turns.setdefault(turn.thing, turn)
    return list(turns.values())


def _read_triggers(own: Bulk, column: str, things: Iterable[UUID]) -> Iterator[Trigger]:
    return (Trigger(*row) for row in own.find(t.lineage_triggers, None, (column,), single(things)))


def _add_turns(own: Connection, turns: list[Turn], moments: _Moments) -> list[Turn]:
    """Add the turns that are new; return those that are the first through their definitions."""
    things, cycles = t.lineage_turns.c.thing, t.lineage_turns.c.cycle
    known: set[UUID] = set()
    for chunk in chunks({turn.thing for turn in turns}):
        known.update(own.scalars(select(things).where(things.in_(chunk))))
    new = [turn for turn in turns if turn.thing not in known]
    if not new:
        return []
    old: set[UUID] = set()
    for chunk in chunks({turn.cycle for turn in new}):
        old.update(own.scalars(select(cycles).where(cycles.in_(chunk)).distinct()))
    rows = [
        {
            "thing": turn.thing,
            "node": turn.node,
            "cycle": turn.cycle,
            "run_id": turn.run_id,
            "position": turn.position,
            "seen_at": moments.recorded(turn.position),
            "happened_at": turn.happened_at,
        }
        for turn in new
    ]
    own.execute(insert(t.lineage_turns), rows)
    first: dict[UUID, Turn] = {}
    for turn in new:
        if turn.cycle not in old:
            first.setdefault(turn.cycle, turn)
    return list(first.values())
