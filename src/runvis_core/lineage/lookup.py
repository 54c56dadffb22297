"""What the lineage step asks the store: always as it was at one position, though the tables may be further on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Connection, select

from runvis_core.lineage.facts import MAX_LEVELS, Causing, DatasetUse, NamedRuns, RunKey
from runvis_core.model.state import Relation
from runvis_core.store import tables as t

_CHUNK: Final = 400

T = TypeVar("T")


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in parts that a database takes as parameters of one statement."""
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part


class Lookup:
    """Asks for what was recorded up to a position."""

    def __init__(self, connection: Connection, until: int) -> None:
        self.runs = NamedRuns()
        self._connection = connection
        self._until = until
        self._asked: set[UUID] = set()

    def name_runs(self, run_ids: Iterable[UUID]) -> None:
        """Learn what identities said of runs."""
        entries = t.entries.c
        for chunk in chunks(set(run_ids) - self._asked):
            self._asked.update(chunk)
            query = select(entries.position, entries.entry).where(
                entries.run_id.in_(chunk), entries.kind == "identity", entries.position <= self._until
            )
            for row in self._connection.execute(query.order_by(entries.position)):
                self.runs.hear(row.position, orjson.loads(row.entry)["event"])

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
            below = set(self._contained(level)) - found
            if not below:
                break
            found |= below
            level = below
        return found

    def _contained(self, run_ids: Iterable[UUID]) -> Iterator[UUID]:
        runs = t.runs.c
        for chunk in chunks(run_ids):
            query = select(runs.run_id).where(runs.parent_run_id.in_(chunk), runs.first_position <= self._until)
            yield from self._connection.scalars(query)

    def find_uses(self, run_ids: Iterable[UUID]) -> list[DatasetUse]:
        """Return all uses of datasets by runs."""
        columns = t.datasets.c
        found: list[DatasetUse] = []
        for chunk in chunks(run_ids):
            query = select(columns.run_id, columns.position, columns.direction, columns.namespace, columns.name)
            rows = self._connection.execute(query.where(columns.run_id.in_(chunk), columns.position <= self._until))
            found += [DatasetUse(*row) for row in rows]
        return found

    def find_causings(self, touched: set[UUID], *, linking: set[UUID]) -> list[Causing]:
        """Return who started whom, as far as one of both was touched, or said so by a link."""
        links = self._links_about({*touched, *linking}, touched)
        said = {run_id for link in links for run_id in (link.run_id, link.target_run_id) if run_id is not None}
        self.name_runs(said | self._caused_by(touched))
        keyed = self._runs_with_keys({_key_of(link) for link in links if link.target_native_key is not None})
        causings = [
            Causing(run_id, run.cause, run.cause_at)
            for run_id in self._asked
            if (run := self.runs.find(run_id)) is not None and run.cause is not None
        ]
        for link in links:
            targets = [(link.target_run_id, 0)] if link.target_run_id else keyed.get(_key_of(link), [])
            if link.relation == Relation.CAUSED.value:
                causings += [Causing(run_id, link.run_id, max(link.position, at)) for run_id, at in targets]
            else:
                # Which attempt of the cause it was doesn't matter: they are all of one definition.
                causings += [Causing(link.run_id, run_id, max(link.position, at)) for run_id, at in targets[:1]]
        return causings

    def _caused_by(self, run_ids: Iterable[UUID]) -> set[UUID]:
        runs = t.runs.c
        found: set[UUID] = set()
        for chunk in chunks(run_ids):
            query = select(runs.run_id).where(runs.caused_by_run_id.in_(chunk), runs.first_position <= self._until)
            found.update(self._connection.scalars(query))
        return found

    def _links_about(self, sources: Iterable[UUID], targets: Iterable[UUID]) -> list[Any]:
        """Return the links that say who started whom: those of some runs, and those to others by id or native key."""
        columns = t.links.c
        keys = {run.key for run_id in targets if (run := self.runs.find(run_id)) is not None}
        wanted: list[tuple[Any, Iterable[Any]]] = [
            (columns.run_id, sources),
            (columns.target_run_id, targets),
            (columns.target_native_key, {key.native_key for key in keys}),
        ]
        found: dict[tuple[UUID, int], Any] = {}
        for column, values in wanted:
            for chunk in chunks(values):
                query = select(t.links).where(
                    column.in_(chunk), columns.relation.in_(_CAUSES), columns.position <= self._until
                )
                found.update(((row.run_id, row.position), row) for row in self._connection.execute(query))
        return list(found.values())

    def _runs_with_keys(self, keys: set[RunKey]) -> dict[RunKey, list[tuple[UUID, int]]]:
        """Return the runs that were named by native keys, and since when they are, the first one first."""
        runs = t.runs.c
        found: dict[RunKey, list[tuple[UUID, int]]] = {}
        for chunk in chunks({key.native_key for key in keys}):
            query = select(runs.run_id).where(runs.native_key.in_(chunk), runs.first_position <= self._until)
            run_ids = list(self._connection.scalars(query))
            self.name_runs(run_ids)
            for run_id in run_ids:
                run = self.runs.find(run_id)
                if run is not None and run.key in keys:
                    found.setdefault(run.key, []).append((run_id, run.known_at))
        for known in found.values():
            known.sort(key=lambda run: run[1])
        return found


_CAUSES: Final = (Relation.CAUSED.value, Relation.CAUSED_BY.value)


def _key_of(link: Any) -> RunKey:
    return RunKey(link.engine, link.deployment, link.target_native_key)
