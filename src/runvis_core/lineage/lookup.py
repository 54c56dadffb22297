"""What the lineage step asks the store: only what it kept itself, or what lies in the log up to one position.

The tables that are further on than the step, `runs` above all, say what later and higher ranked witnesses told: an
answer that depended on them would depend on how far they are. `datasets` and `links` have one row for each entry,
which never changes, and are cut at the position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection

from runvis_core.lineage.facts import MAX_LEVELS, Causing, DatasetUse, NamedRun, NamedRuns, Node, RunKey, stored
from runvis_core.model.state import Relation
from runvis_core.store import tables as t
from runvis_core.store.bulk import Bulk, single
from runvis_core.store.driver import Row

_CAUSES: Final = (Relation.CAUSED.value, Relation.CAUSED_BY.value)


class Link(NamedTuple):
    """Who started whom, as an entry at a position says; one of both is the run that said it."""

    run_id: UUID
    position: int
    engine: str
    deployment: str
    relation: str
    target_run_id: UUID | None
    target_native_key: str | None

    @staticmethod
    def read(position: int, said: Mapping[str, Any]) -> Link:
        """Return what a link's fields tell."""
        target, key = said.get("target_run_id"), said.get("target_native_key")
        return Link(
            UUID(said["run_id"]),
            position,
            stored(said["engine"]),
            stored(said["deployment"]),
            said["relation"],
            UUID(target) if target else None,
            stored(key) if key is not None else None,
        )

    @property
    def is_of_cause(self) -> bool:
        """Whether it says who started whom."""
        return self.relation in _CAUSES

    @property
    def target_thing(self) -> UUID | None:
        """The thing that it names by native key, where it does."""
        key = self.target_native_key
        return None if key is None else RunKey(self.engine, self.deployment, key).thing


class Lookup:
    """Asks for what is known up to a position: of `own` for what the step kept, of `log` for what it is made of."""

    def __init__(self, own: Connection, log: Connection, until: int) -> None:
        self.runs = NamedRuns()
        self._own = Bulk(own)
        self._log = Bulk(log)
        self._until = until
        self._asked: set[UUID] = set()
        self._nodes: dict[UUID, Node] = {}
        self._native_keys: dict[UUID, str] = {}
        """Of the runs that the entries at hand named."""

    def hear_identities(self, told: Mapping[int, Mapping[str, Any]], *, after: int) -> set[UUID]:
        """Take the identities among entries, given by position, and keep them; return the runs of which they are news.

        The first identity in the log says what a run is, and the first that names a parent or a cause, which.
        """
        said = [(position, event) for position, event in sorted(told.items()) if event["kind"] == "identity"]
        run_ids = {UUID(event["run_id"]) for _, event in said}
        self.name_runs(run_ids)
        known = {run_id for run_id in run_ids if self.runs.find(run_id) is not None}
        for position, event in said:
            run = self.runs.hear(position, event)
            if run.known_at == position:
                self._native_keys[UUID(event["run_id"])] = stored(event["native_key"])
        news = {run_id for run_id in run_ids if (run := self.runs.find(run_id)) is not None and run.is_news(after)}
        self._keep(news - known, news & known)
        return news

    def _keep(self, new: set[UUID], changed: set[UUID]) -> None:
        self._own.insert(t.lineage_runs, (_row(run_id, self.runs.find(run_id)) for run_id in sorted(new)))
        self._own.upsert(t.lineage_runs, (_row(run_id, self.runs.find(run_id)) for run_id in sorted(changed)))

    def name_runs(self, run_ids: Iterable[UUID]) -> None:
        """Learn what identities said of runs."""
        fresh = set(run_ids) - self._asked
        if not fresh:
            return
        self._asked |= fresh
        rows = self._own.find(t.lineage_runs, None, ("run_id",), single(fresh))
        unknown = {node_id for _, node_id, *_ in rows} - self._nodes.keys()
        names = ("node_id", *Node._fields)
        for node_id, *said in self._own.find(t.lineage_nodes, names, ("node_id",), single(unknown)):
            self._nodes[node_id] = Node(*said)
        for run_id, node_id, *said in rows:
            self.runs.add(run_id, NamedRun(self._nodes[node_id], *said))

    def name_containers(self, run_ids: Iterable[UUID]) -> None:
        """Learn what identities said of runs and of what contains them."""
        level = set(run_ids)
        for _ in range(MAX_LEVELS):
            self.name_runs(level)
            above = {run.parent for run_id in level if (run := self.runs.find(run_id)) is not None}
            level = {parent for parent in above if parent is not None}
            if not level:
                return

    def find_contained(self, run_ids: Iterable[UUID]) -> set[UUID]:
        """Return the runs inside of runs that may have been there before these were named."""
        found: set[UUID] = set()
        level = set(run_ids)
        for _ in range(MAX_LEVELS):
            below = self._find_runs("parent", level) - found
            if not below:
                break
            found |= below
            level = below
        return found

    def _find_runs(self, column: str, values: Iterable[UUID]) -> set[UUID]:
        return {run_id for (run_id,) in self._own.find(t.lineage_runs, ("run_id",), (column,), single(values))}

    def find_uses(self, run_ids: Iterable[UUID]) -> list[DatasetUse]:
        """Return all uses of datasets by runs."""
        found = self._log.find(t.datasets, DatasetUse._fields, ("run_id",), single(run_ids))
        return [use for row in found if (use := DatasetUse(*row)).position <= self._until]

    def find_causings(self, touched: set[UUID], new: Iterable[Link]) -> list[Causing]:
        """Return who started whom, as far as one of both was touched, or a new link says so."""
        links = {*(link for link in new if link.is_of_cause), *self._links_about(touched)}
        said = {run_id for link in links for run_id in (link.run_id, link.target_run_id) if run_id is not None}
        caused = self._find_runs("cause", touched) | touched
        self.name_runs(said | caused)
        attempts = self._find_attempts({thing for link in links if (thing := link.target_thing) is not None})
        causings = [
            Causing(run_id, run.cause, run.cause_at)
            for run_id in caused
            if (run := self.runs.find(run_id)) is not None and run.cause is not None
        ]
        for link in links:
            thing = link.target_thing
            targets = [link.target_run_id] if link.target_run_id else attempts.get(thing, []) if thing else []
            if link.relation == Relation.CAUSED.value:
                causings += [Causing(run_id, link.run_id, link.position) for run_id in targets]
            else:
                # Of the attempts of the cause it is the one that was named first.
                causings += [Causing(link.run_id, run_id, link.position) for run_id in targets[:1]]
        return causings

    def _links_about(self, run_ids: set[UUID]) -> Iterator[Link]:
        """Yield the links of runs, and those to them by id or native key, that say who started whom."""
        things = {run.thing for run_id in run_ids if (run := self.runs.find(run_id)) is not None}
        wanted: list[tuple[str, list[tuple[Any]]]] = [
            ("run_id", single(run_ids)),
            ("target_run_id", single(run_ids)),
            ("target_native_key", [(key,) for key in self._native_keys_of(run_ids)]),
        ]
        for column, values in wanted:
            for row in self._log.find(t.links, Link._fields, (column,), values):
                link = Link(*row)
                if not link.is_of_cause or link.position > self._until:
                    continue
                if column != "target_native_key" or link.target_thing in things:
                    yield link

    def _native_keys_of(self, run_ids: Iterable[UUID]) -> set[str]:
        """Return the native keys of runs, as the entries say that named them."""
        self.name_runs(run_ids)
        named = {run_id: run.known_at for run_id in run_ids if (run := self.runs.find(run_id)) is not None}
        keys = self._native_keys
        elsewhere = [(position,) for run_id, position in named.items() if run_id not in keys]
        entries = self._log.find(t.entries, ("entry",), ("position",), elsewhere)
        found = {stored(orjson.loads(entry)["event"]["native_key"]) for (entry,) in entries}
        return found | {keys[run_id] for run_id in named if run_id in keys}

    def _find_attempts(self, things: set[UUID]) -> dict[UUID, list[UUID]]:
        """Return by thing the runs that were named as attempts of it, the first one first."""
        found: dict[UUID, list[UUID]] = {}
        rows = self._own.find(t.lineage_runs, ("known_at", "thing", "run_id"), ("thing",), single(things))
        for _, thing, run_id in sorted(rows):
            found.setdefault(thing, []).append(run_id)
        self.name_runs(run_id for runs in found.values() for run_id in runs)
        return found


def _row(run_id: UUID, run: NamedRun | None) -> Row:
    assert run is not None, "what is kept was named"
    of_parent, of_cause = (run.parent, run.parent_at), (run.cause, run.cause_at)
    return (run_id, run.definition.node_id, run.thing, run.known_at, *of_parent, *of_cause)
