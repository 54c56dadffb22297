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
from sqlalchemy import Connection, bindparam, insert, select, update

from runvis_core.lineage.facts import MAX_LEVELS, Causing, DatasetUse, NamedRun, NamedRuns, RunKey, stored
from runvis_core.lineage.nodes import chunks, node_of
from runvis_core.model.state import Relation
from runvis_core.store import tables as t

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
        self._own = own
        self._log = log
        self._until = until
        self._asked: set[UUID] = set()

    def hear_identities(self, told: Mapping[int, Mapping[str, Any]], *, after: int) -> set[UUID]:
        """Take the identities among entries, given by position, and keep them; return the runs of which they are news.

        The first identity in the log says what a run is, and the first that names a parent or a cause, which.
        """
        said = [(position, event) for position, event in sorted(told.items()) if event["kind"] == "identity"]
        run_ids = {UUID(event["run_id"]) for _, event in said}
        self.name_runs(run_ids)
        known = {run_id for run_id in run_ids if self.runs.find(run_id) is not None}
        for position, event in said:
            self.runs.hear(position, event)
        news = {run_id for run_id in run_ids if (run := self.runs.find(run_id)) is not None and run.is_news(after)}
        self._keep(news - known, news & known)
        return news

    def _keep(self, new: set[UUID], changed: set[UUID]) -> None:
        columns = t.lineage_runs.c
        if new:
            self._own.execute(insert(t.lineage_runs), [_row(run_id, self.runs.find(run_id)) for run_id in sorted(new)])
        if changed:
            names = ("parent", "parent_at", "cause", "cause_at")
            statement = update(t.lineage_runs).where(columns.run_id == bindparam("of_run"))
            rows = (_row(run_id, self.runs.find(run_id)) for run_id in sorted(changed))
            values = [{"of_run": row["run_id"], **{f"new_{name}": row[name] for name in names}} for row in rows]
            self._own.execute(statement.values({name: bindparam(f"new_{name}") for name in names}), values)

    def name_runs(self, run_ids: Iterable[UUID]) -> None:
        """Learn what identities said of runs."""
        columns, nodes = t.lineage_runs.c, t.lineage_nodes
        for chunk in chunks(set(run_ids) - self._asked):
            self._asked.update(chunk)
            query = select(t.lineage_runs, nodes).join(nodes, nodes.c.node_id == columns.node_id)
            for row in self._own.execute(query.where(columns.run_id.in_(chunk))):
                run = NamedRun(
                    node_of(row), row.thing, row.known_at, row.parent, row.parent_at, row.cause, row.cause_at
                )
                self.runs.add(row.run_id, run)

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
            below = self._find_runs(t.lineage_runs.c.parent, level) - found
            if not below:
                break
            found |= below
            level = below
        return found

    def _find_runs(self, column: Any, values: Iterable[UUID]) -> set[UUID]:
        found: set[UUID] = set()
        for chunk in chunks(values):
            found.update(self._own.scalars(select(t.lineage_runs.c.run_id).where(column.in_(chunk))))
        return found

    def find_uses(self, run_ids: Iterable[UUID]) -> list[DatasetUse]:
        """Return all uses of datasets by runs."""
        columns = t.datasets.c
        found: list[DatasetUse] = []
        for chunk in chunks(run_ids):
            query = select(columns.run_id, columns.position, columns.direction, columns.namespace, columns.name)
            rows = self._log.execute(query.where(columns.run_id.in_(chunk), columns.position <= self._until))
            found += [DatasetUse(*row) for row in rows]
        return found

    def find_causings(self, touched: set[UUID], new: Iterable[Link]) -> list[Causing]:
        """Return who started whom, as far as one of both was touched, or a new link says so."""
        links = {*(link for link in new if link.is_of_cause), *self._links_about(touched)}
        said = {run_id for link in links for run_id in (link.run_id, link.target_run_id) if run_id is not None}
        caused = self._find_runs(t.lineage_runs.c.cause, touched) | touched
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
        columns = t.links.c
        keys = self._keys_of(run_ids)
        wanted: list[tuple[Any, Iterable[Any]]] = [
            (columns.run_id, run_ids),
            (columns.target_run_id, run_ids),
            (columns.target_native_key, {key.native_key for key in keys}),
        ]
        things = {key.thing for key in keys}
        named = select(*(columns[name] for name in Link._fields))
        for column, values in wanted:
            for chunk in chunks(values):
                query = named.where(column.in_(chunk), columns.relation.in_(_CAUSES), columns.position <= self._until)
                for row in self._log.execute(query):
                    link = Link(*row)
                    if column is not columns.target_native_key or link.target_thing in things:
                        yield link

    def _keys_of(self, run_ids: Iterable[UUID]) -> set[RunKey]:
        """Return the native keys of runs, as the entries say that named them."""
        self.name_runs(run_ids)
        named_at = [run.known_at for run_id in run_ids if (run := self.runs.find(run_id)) is not None]
        found: set[RunKey] = set()
        for chunk in chunks(named_at):
            entries = self._log.scalars(select(t.entries.c.entry).where(t.entries.c.position.in_(chunk)))
            found.update(RunKey.read(orjson.loads(entry)["event"]) for entry in entries)
        return found

    def _find_attempts(self, things: set[UUID]) -> dict[UUID, list[UUID]]:
        """Return by thing the runs that were named as attempts of it, the first one first."""
        columns = t.lineage_runs.c
        found: dict[UUID, list[UUID]] = {}
        for chunk in chunks(things):
            query = select(columns.thing, columns.run_id).where(columns.thing.in_(chunk)).order_by(columns.known_at)
            for row in self._own.execute(query):
                found.setdefault(row.thing, []).append(row.run_id)
        self.name_runs(run_id for runs in found.values() for run_id in runs)
        return found


def _row(run_id: UUID, run: NamedRun | None) -> dict[str, Any]:
    assert run is not None, "what is kept was named"
    return {
        "run_id": run_id,
        "node_id": run.definition.node_id,
        "thing": run.thing,
        "known_at": run.known_at,
        "parent": run.parent,
        "parent_at": run.parent_at,
        "cause": run.cause,
        "cause_at": run.cause_at,
    }
