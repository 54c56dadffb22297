"""The step that keeps the lineage tables: it reads what new entries complete, and adds it to nodes, edges and turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, func, insert, select

from runvis_core.lineage.facts import (
    EdgeFact,
    Node,
    TriggerFact,
    dataset_facts,
    trigger_facts,
)
from runvis_core.lineage.lookup import Lookup, chunks
from runvis_core.lineage.tally import EdgeRow, add_facts
from runvis_core.lineage.turns import Chains, Trigger, Turn
from runvis_core.store import tables as t
from runvis_core.store.log import StoredEntry

_KINDS: Final = frozenset({"identity", "dataset", "link", "dataset_declared"})

TellTurns = Callable[[list[Turn], dict[int, Node]], None]
"""Is told the turns that were the first through their definitions, and the nodes by number."""


class LineageStep:
    """Keeps nodes, edges, triggers and turns. `tell` is called with new loops once they are durable."""

    name = "lineage"

    def __init__(self, tell: TellTurns | None = None) -> None:
        self._tell = tell

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> Callable[[], None] | None:
        """Add what the entries complete; return what tells of new loops."""
        told = {entry.position: orjson.loads(entry.entry)["event"] for entry in entries if entry.kind in _KINDS}
        if not told:
            return None
        taken = _Taking(connection, entries[0].position - 1, entries[-1].position, told)
        edges, triggers = taken.facts()
        triggers = _without_known(connection, triggers)
        edges += [EdgeFact(fact.position, "triggers", fact.source, fact.target, fact.run_id) for fact in triggers]
        numbers = _number_nodes(connection, taken.nodes(edges))
        moments = _Moments(entries)
        _add_edges(connection, edges, numbers, moments)
        turns = _add_triggers(connection, triggers, numbers)
        new = _add_turns(connection, turns, moments)
        if not new or self._tell is None:
            return None
        tell, nodes = self._tell, find_nodes(connection, {number for turn in new for number in turn.path})
        return lambda: tell(new, nodes)


class _Moments:
    """When entries were recorded, by position. Facts are completed by entries of the portion that is taken."""

    def __init__(self, entries: Sequence[StoredEntry]) -> None:
        self._entries = {entry.position: entry for entry in entries}
        self._known: dict[int, Any] = {}

    def __getitem__(self, position: int) -> Any:
        if position not in self._known:
            self._known[position] = self._entries[position].parse().recorded_at
        return self._known[position]


class _Taking:
    """One portion of entries, those after `after` up to `until`, and what they complete."""

    def __init__(self, connection: Connection, after: int, until: int, told: dict[int, dict[str, Any]]) -> None:
        self._after, self._until, self._told = after, until, told
        self._lookup = Lookup(connection, until)
        self._runs = self._lookup.runs

    def facts(self) -> tuple[list[EdgeFact], list[TriggerFact]]:
        """Return the facts that became known in this portion."""
        lookup = self._lookup
        by_kind: dict[str, set[UUID]] = {"identity": set(), "dataset": set(), "link": set()}
        for said in self._told.values():
            if said["kind"] in by_kind:
                by_kind[said["kind"]].add(UUID(said["run_id"]))
        lookup.name_runs(by_kind["identity"] | by_kind["dataset"] | by_kind["link"])
        news = set(self._runs.news(self._after)) & by_kind["identity"]
        # What such a run contains may have been waiting for its name.
        touched = news | lookup.find_contained(news)
        uses = lookup.find_uses(touched | by_kind["dataset"])
        causings = lookup.find_causings(touched, linking=by_kind["link"])
        lookup.name_containers({use.run_id for use in uses} | {causing.cause for causing in causings})
        edges = dataset_facts(self._runs, uses)
        triggers = trigger_facts(self._runs, causings)
        return self._new(edges), self._new(triggers)

    def _new(self, facts: list[Any]) -> list[Any]:
        return [fact for fact in facts if self._after < fact.position <= self._until]

    def nodes(self, edges: Iterable[EdgeFact]) -> dict[UUID, tuple[int, Node]]:
        """Return the nodes that this portion told of, and at which position each was told first."""
        found: dict[UUID, tuple[int, Node]] = {}

        def note(position: int, node: Node) -> None:
            known = found.get(node.node_id)
            if known is None or position < known[0]:
                found[node.node_id] = (position, node)

        for position, said in self._told.items():
            if said["kind"] == "identity":
                run = self._runs.find(UUID(said["run_id"]))
                if run is not None and run.known_at == position:
                    note(position, run.definition)
            elif said["kind"] == "dataset_declared":
                namespace, name = (said[field].replace("\0", "\ufffd") for field in ("namespace", "name"))
                note(position, Node("dataset", name, namespace=namespace))
        for fact in edges:
            note(fact.position, fact.source)
            note(fact.position, fact.target)
        return found


def find_nodes(connection: Connection, numbers: Iterable[int]) -> dict[int, Node]:
    """Return nodes by their numbers."""
    columns = t.lineage_nodes.c
    found: dict[int, Node] = {}
    for chunk in chunks(numbers):
        for row in connection.execute(select(t.lineage_nodes).where(columns.number.in_(chunk))):
            found[row.number] = node_of(row)
    return found


def node_of(row: Any) -> Node:
    """Return the node that a row of `lineage_nodes` says."""
    return Node(row.kind, row.name, row.engine, row.deployment, row.definition_kind, row.namespace)


def _without_known(connection: Connection, facts: list[TriggerFact]) -> list[TriggerFact]:
    """Leave out what was known before: a thing's start is told by several witnesses, and for each of its attempts."""
    columns, nodes = t.lineage_triggers.c, t.lineage_nodes.c
    known: set[tuple[UUID, UUID]] = set()
    for chunk in chunks({fact.thing for fact in facts}):
        query = select(columns.thing, nodes.node_id).join(t.lineage_nodes, nodes.number == columns.source)
        known.update((row.thing, row.node_id) for row in connection.execute(query.where(columns.thing.in_(chunk))))
    return [fact for fact in facts if (fact.thing, fact.source.node_id) not in known]


def _number_nodes(connection: Connection, found: dict[UUID, tuple[int, Node]]) -> dict[UUID, int]:
    """Return the numbers of nodes by id; new ones are numbered in the order in which the log told of them."""
    columns = t.lineage_nodes.c
    numbers: dict[UUID, int] = {}
    for chunk in chunks(found):
        query = select(columns.node_id, columns.number).where(columns.node_id.in_(chunk))
        numbers.update((row.node_id, row.number) for row in connection.execute(query))
    new = sorted((item for item in found.items() if item[0] not in numbers), key=lambda item: (item[1][0], item[0].hex))
    if new:
        last = connection.execute(select(func.max(columns.number))).scalar_one() or 0
        rows: list[dict[str, Any]] = []
        for number, (node_id, (_, node)) in enumerate(new, last + 1):
            numbers[node_id] = number
            rows.append({"number": number, "node_id": node_id, **node._asdict()})
        connection.execute(insert(t.lineage_nodes), rows)
    return numbers


def _add_edges(connection: Connection, facts: list[EdgeFact], numbers: dict[UUID, int], moments: _Moments) -> None:
    keyed = [((numbers[fact.source.node_id], numbers[fact.target.node_id], fact.kind), fact) for fact in facts]
    columns = t.lineage_edges.c
    known: dict[tuple[int, int, str], EdgeRow] = {}
    wanted = {key for key, _ in keyed}
    for chunk in chunks({source for source, _, _ in wanted}):
        targets = {target for source, target, _ in wanted if source in set(chunk)}
        for part in chunks(targets):
            query = select(t.lineage_edges).where(columns.source.in_(chunk), columns.target.in_(part))
            for row in connection.execute(query):
                if (row.source, row.target, row.kind) in wanted:
                    known[row.source, row.target, row.kind] = EdgeRow.read(row)
    new, changed = add_facts(known, keyed, moments)
    if new:
        connection.execute(insert(t.lineage_edges), new)
    if changed:
        connection.execute(EdgeRow.update(), changed)


def _add_triggers(connection: Connection, facts: list[TriggerFact], numbers: dict[UUID, int]) -> list[Turn]:
    """Add starts of things; return the turns that they close, in the order in which they became known."""
    if not facts:
        return []
    facts = sorted(facts, key=lambda fact: (fact.position, numbers[fact.source.node_id], fact.thing.bytes))
    new = [
        Trigger(
            fact.thing,
            numbers[fact.source.node_id],
            numbers[fact.target.node_id],
            fact.cause,
            fact.run_id,
            fact.position,
        )
        for fact in facts
    ]
    connection.execute(insert(t.lineage_triggers), [trigger._asdict() for trigger in new])
    chains = Chains(_fetch_chains(connection, new))
    turns: dict[UUID, Turn] = {}
    for trigger in new:
        for turn in chains.turns_closed_by(trigger):
            turns.setdefault(turn.thing, turn)
    return list(turns.values())


def _fetch_chains(connection: Connection, new: list[Trigger]) -> set[Trigger]:
    """Return all triggers above and below the new ones, as far as a turn may be long."""
    columns = t.lineage_triggers.c
    found = set(new)
    for known, step in ((columns.thing, "cause"), (columns.cause, "thing")):
        level = {getattr(trigger, step) for trigger in new}
        seen: set[UUID] = set()
        for _ in range(MAX_LEVELS):
            level -= seen
            if not level or len(found) > MAX_FETCHED:
                break
            seen |= level
            rows = [
                Trigger(*row)
                for chunk in chunks(level)
                for row in connection.execute(select(t.lineage_triggers).where(known.in_(chunk)))
            ]
            found.update(rows)
            level = {getattr(trigger, step) for trigger in rows}
    # What is below may have been started by others than the new ones, too.
    for chunk in chunks({trigger.thing for trigger in found}):
        found.update(
            Trigger(*row) for row in connection.execute(select(t.lineage_triggers).where(columns.thing.in_(chunk)))
        )
    return found


MAX_LEVELS: Final = 64
MAX_FETCHED: Final = 20_000
"""How many triggers are looked at for the turns of one portion."""


def _add_turns(connection: Connection, turns: list[Turn], moments: _Moments) -> list[Turn]:
    """Add the turns that are new; return those that are the first through their definitions."""
    things, cycles = t.lineage_turns.c.thing, t.lineage_turns.c.cycle
    known: set[UUID] = set()
    for chunk in chunks({turn.thing for turn in turns}):
        known.update(connection.scalars(select(things).where(things.in_(chunk))))
    new = [turn for turn in turns if turn.thing not in known]
    if not new:
        return []
    old: set[UUID] = set()
    for chunk in chunks({turn.cycle for turn in new}):
        old.update(connection.scalars(select(cycles).where(cycles.in_(chunk)).distinct()))
    rows = [
        {
            "thing": turn.thing,
            "node": turn.node,
            "cycle": turn.cycle,
            "run_id": turn.run_id,
            "position": turn.position,
            "seen_at": moments[turn.position],
        }
        for turn in new
    ]
    connection.execute(insert(t.lineage_turns), rows)
    first: dict[UUID, Turn] = {}
    for turn in new:
        if turn.cycle not in old:
            first.setdefault(turn.cycle, turn)
    return list(first.values())
