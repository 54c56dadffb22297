"""What ran inside a run and what it started, as it was in a past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select

from runvis_core.model.state import Relation
from runvis_core.services.answers import TreeNode
from runvis_core.services.past import PastRun, PastRuns, covers, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_kin import find_by_key, find_past_caused, links_of
from runvis_core.services.past_names import get_past_run
from runvis_core.services.reading import chunks
from runvis_core.services.run_refs import run_ref_fields
from runvis_core.services.run_trees import (
    MAX_CAUSED,
    MAX_CHILDREN,
    MAX_DEPTH,
    MAX_LEVELS,
    MAX_NODES,
    Tree,
    facts_of,
)
from runvis_core.services.spans import SpanFacts
from runvis_core.services.unshown import Unshown, describe_unshown, pick_shown
from runvis_core.store.database import Store
from runvis_core.store.tables import run_intervals


def get_past_tree(store: Store, name: str, asked: PastFilter, *, now: datetime) -> TreeNode:
    """Return a run and what ran inside it, as it was. Raises `NotFoundError` if it was not there, and `PastError`."""
    with reading_past(store, asked, now=now) as (connection, past):
        runs = PastRuns(connection, past)
        return build_past_tree(runs, get_past_run(runs, name)).top


def build_past_tree(runs: PastRuns, top: PastRun) -> Tree:
    """Return the tree under a run as it was, shown as that of the present is; what is cut is counted."""
    tree = _Tree(runs, top)
    # Whether a heartbeat is overdue is told of today only.
    return Tree(tree.node(), tree.facts(), [], tree.unshown())


class _Edge(NamedTuple):
    parent: UUID
    child: PastRun
    carried: bool
    """Whether the child is a try that was carried over."""


def _by_time(edge: _Edge) -> tuple[Any, ...]:
    return (edge.child.row.sort_at, edge.child.row.run_id, edge.carried, edge.parent)


class _Tree:
    def __init__(self, runs: PastRuns, top: PastRun) -> None:
        self._runs = runs
        self._top = top
        self._found: dict[UUID, PastRun] = {top.row.run_id: top}
        self._children: dict[UUID, list[tuple[UUID, bool]]] = defaultdict(list)
        self._cut: dict[UUID, int] = defaultdict(int)
        self._cut_failed: dict[UUID, int] = defaultdict(int)
        self._unshown: dict[UUID, list[Any]] = defaultdict(list)
        """By parent: rows of what was cut."""
        self._caused: dict[UUID, list[UUID]] = defaultdict(list)
        self._cut_caused: dict[UUID, int] = defaultdict(int)
        tops, room = [top], MAX_DEPTH
        while tops:
            inside, levels = self._read_contained(tops, most=min(MAX_LEVELS, room))
            room -= levels + 1
            tops = self._read_caused([*tops, *inside], may_go_on=room > 0)

    def _read_contained(self, tops: list[PastRun], *, most: int) -> tuple[list[PastRun], int]:
        """Find what ran inside of runs, level by level and at most so many; return it, and how many levels it has."""
        inside: list[PastRun] = []
        level = tops
        for number in range(most):
            below = self._read_level(level)
            if not below:
                return inside, number
            inside += below
            level = below
        for parent in level:
            self._cut[parent.row.run_id] += len(self._below([parent])[parent.row.run_id])
        return inside, most

    def _read_caused(self, causes: list[PastRun], *, may_go_on: bool) -> list[PastRun]:
        """Find what runs started; return those that are not shown yet, the earliest first."""
        caused = find_past_caused(self._runs, causes)
        pairs = [(started, cause) for cause, runs in caused.items() for started in runs]
        new: list[PastRun] = []
        for started, cause in sorted(pairs, key=lambda pair: (pair[0].row.sort_at, pair[0].row.run_id, pair[1])):
            run_id = started.row.run_id
            if started.row.became_run_id is not None or run_id in self._found:
                continue
            if not may_go_on or len(self._caused[cause]) >= MAX_CAUSED or len(self._found) >= MAX_NODES:
                self._cut_caused[cause] += 1
                continue
            self._found[run_id] = started
            self._caused[cause].append(run_id)
            new.append(started)
        return new

    def _read_level(self, parents: Sequence[PastRun]) -> list[PastRun]:
        new: dict[UUID, _Edge] = {}
        edges = [edge for parent, children in self._below(parents).items() for edge in self._fit(parent, children)]
        # One that is both inside and carried over is inside.
        for edge in sorted(edges, key=_by_time):
            # In a loop of parents, or carried over by two of them: shown where it was met first.
            if edge.child.row.run_id not in self._found:
                new.setdefault(edge.child.row.run_id, edge)
        shown = self._leave_out(list(new.values()), MAX_NODES - len(self._found))
        for edge in shown:
            run_id = edge.child.row.run_id
            self._found[run_id] = edge.child
            self._children[edge.parent].append((run_id, edge.carried))
        return [edge.child for edge in shown]

    def _fit(self, parent: UUID, children: Sequence[tuple[PastRun, bool]]) -> list[_Edge]:
        """Return those children of one run that are shown."""
        edges = {child.row.run_id: _Edge(parent, child, carried) for child, carried in children}
        # One that is both inside and carried over is inside.
        edges |= {child.row.run_id: _Edge(parent, child, carried) for child, carried in children if not carried}
        return self._leave_out(sorted(edges.values(), key=_by_time), MAX_CHILDREN)

    def _leave_out(self, edges: list[_Edge], room: int) -> list[_Edge]:
        """Return those of some runs, given in the order of time, for which there is room; count the others."""
        if len(edges) <= room:
            return edges
        picked = pick_shown([edge.child.row for edge in edges], room)
        failed = set(picked.failed)
        for place, edge in enumerate(edges):
            if place not in picked.kept and edge.child.row.run_id not in self._found:
                self._unshown[edge.parent].append(edge.child.row)
                self._cut[edge.parent] += 1
                self._cut_failed[edge.parent] += place in failed
        return [edge for place, edge in enumerate(edges) if place in picked.kept]

    def _below(self, parents: Sequence[PastRun]) -> dict[UUID, list[tuple[PastRun, bool]]]:
        """Return by parent its children, each with whether it is a try that was carried over; each pair once."""
        edges: dict[tuple[UUID, UUID, bool], PastRun] = {}
        for chunk in chunks([parent.row.run_id for parent in parents]):
            for child in self._runs.find_where(run_intervals.c.parent_run_id.in_(chunk), over="run_intervals_parent"):
                if child.row.became_run_id is None:
                    edges[child.row.parent_run_id, child.row.run_id, False] = child
        for parent in parents:
            for child in find_carried_over(self._runs, parent):
                edges[parent.row.run_id, child.row.run_id, True] = child
        by_parent: dict[UUID, list[tuple[PastRun, bool]]] = defaultdict(list)
        for (parent_id, _, carried), child in edges.items():
            by_parent[parent_id].append((child, carried))
        return by_parent

    def facts(self) -> dict[UUID, SpanFacts]:
        """Return what a drawing needs of all runs of the tree."""
        return {run_id: facts_of(run.row) for run_id, run in self._found.items()}

    def unshown(self) -> dict[UUID, Unshown]:
        """Return by run what of its children the tree leaves out."""
        holding = self._find_holding([row.run_id for rows in self._unshown.values() for row in rows])
        for rows in self._unshown.values():
            for row in rows:
                row.has_children = row.run_id in holding
        return {run_id: describe_unshown(self._unshown[run_id], cut=cut) for run_id, cut in self._cut.items() if cut}

    def _find_holding(self, run_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these runs had something inside."""
        column, holding = run_intervals.c, set[UUID]()
        for chunk in chunks(run_ids):
            query = select(column.parent_run_id).where(*covers(self._runs.past), column.parent_run_id.in_(chunk))
            query = query.where(column.became_run_id.is_(None)).distinct()
            query = query.with_hint(run_intervals, "INDEXED BY run_intervals_parent", "sqlite")
            holding.update(self._runs.connection.scalars(query))
        return holding

    def node(self, run_id: UUID | None = None, *, carried_over: bool = False) -> TreeNode:
        """Return the tree from a run on, by default from the top."""
        run = self._found[run_id] if run_id is not None else self._top
        own = run.row.run_id
        return TreeNode(
            **_fields(run),
            carried_over=carried_over,
            children=[self.node(child, carried_over=carried) for child, carried in self._children.get(own, ())],
            cut_children=self._cut.get(own, 0),
            cut_failed=self._cut_failed.get(own, 0),
            caused=[self.node(started) for started in self._caused.get(own, ())],
            cut_caused=self._cut_caused.get(own, 0),
        )


def find_carried_over(runs: PastRuns, parent: PastRun) -> Iterator[PastRun]:
    """Yield the tries that a reopened parent keeps: by id, or by native key the last one before its reopening."""
    links = [link for link, _ in links_of(parent, Relation.CARRIED_OVER)]
    if not links:
        return
    yield from runs.load([link.target_run_id for link in links if link.target_run_id is not None])
    by_key = find_by_key(runs, [link.target_native_key for link in links])
    for link in links:
        tries = by_key[link.engine, link.deployment, link.target_native_key] if link.target_native_key else []
        before = [run for run in tries if run.row.sort_at <= link.occurred_at]
        if before:
            yield max(before, key=lambda run: (run.row.sort_at, run.row.first_position))


def _fields(run: PastRun) -> dict[str, Any]:
    return run_ref_fields(run.row, corrected=bool(run.record.corrections))
