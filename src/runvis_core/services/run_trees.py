"""What ran inside a run and what it started: children, theirs, and the runs that any of them caused, in any engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from runvis_core.model.state import State
from runvis_core.services.ancestry import find_caused
from runvis_core.services.answers import TreeNode
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import LISTED, RUN_ID, RUN_IDS, chunks, plain_rows, reading
from runvis_core.services.run_refs import run_ref_fields
from runvis_core.services.spans import SpanFacts
from runvis_core.services.tree_statements import (
    BY_IDS,
    PARENTS,
    STARTED,
    TOP,
    child_counts,
    contained_in,
    failed_of,
    level_of,
    rest_of,
)
from runvis_core.services.unshown import MAX_TIMED, Unshown, describe_unshown, drop_retried, pick_shown
from runvis_core.store.database import Store

MAX_NODES: Final = 2000
"""How many runs a tree shows."""
MAX_CHILDREN: Final = 500
"""How many children a tree shows of each run."""
MAX_WIDE: Final = 8
"""Of how many runs on one level that have more children than are shown the others are asked for."""
MAX_CAUSED: Final = 50
"""How many runs that it started a tree shows of each run."""
MAX_LEVELS: Final = 64
MAX_DEPTH: Final = 90
"""How deep a tree is in all, from child to child and from cause to what it started: no JSON is read much deeper."""


def get_tree(store: Store, name: str) -> TreeNode:
    """Return the run and what ran inside it. Raises `NotFoundError` if there is no such run."""
    with reading(store) as connection:
        run_id = resolve_run(connection, name)
        return build_tree(connection, connection.execute(TOP, {RUN_ID.key: run_id}).one()).top


class Tree(NamedTuple):
    """A tree of runs, and what a drawing of it needs beyond it."""

    top: TreeNode
    facts: dict[UUID, SpanFacts]
    """By run, of all that the tree shows."""
    going_on: list[UUID]
    """Those of them of which nobody has said that they ended."""
    unshown: dict[UUID, Unshown]
    """By run, what of its children the tree leaves out; of runs with all of their children there is nothing."""


def build_tree(connection: Connection, top: Any) -> Tree:
    """Return the tree under the run of a row: what it contains, the earliest first, what each started, and so on.

    The row has at least `REF_COLUMNS`, those of `SpanFacts`, and `UNDER`. Each run is shown once, where it was met
    first, so that runs which started one another in a circle end it. What is left out is counted; where
    there is no room for all children of a run, those that failed are shown before others.
    """
    run_id: UUID = top.run_id
    found = _Found({run_id: top})
    tops, room = [run_id], MAX_DEPTH
    while tops:
        inside, levels = _read_contained(connection, tops, found, most=min(MAX_LEVELS, room))
        room -= levels + 1
        tops = _read_caused(connection, [*tops, *inside], found, may_go_on=room > 0)
    facts = {id_: facts_of(row) for id_, row in found.rows.items()}
    # Compared as text: a tree has thousands of runs.
    going_on = [id_ for id_, row in found.rows.items() if row.effective_state not in _ENDED]
    unshown = {id_: describe_unshown(found.unshown[id_], cut=cut) for id_, cut in found.cut.items() if cut}
    return Tree(TreeNode.model_validate(_node(run_id, found, carried_over=False)), facts, going_on, unshown)


_ENDED: Final = frozenset(state.value for state in State if state.is_terminal)


def facts_of(row: Any) -> SpanFacts:
    """Return what a drawing needs of a run, by its row."""
    return SpanFacts(row.native_key, row.retry_expected_at, bool(row.clock_suspect))


@dataclass(slots=True)
class _Found:
    rows: dict[UUID, Any]
    children: dict[UUID, list[tuple[UUID, bool]]] = field(default_factory=lambda: defaultdict(list))
    """By parent: the child, and whether it is a try that was carried over."""
    cut: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    cut_failed: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    """How many things of those that were cut failed, as far as it is known."""
    unshown: dict[UUID, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """By parent: rows of what was cut, as far as they were read."""
    caused: dict[UUID, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    """By cause."""
    cut_caused: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))

    def count_untimed(self) -> int:
        """Return of how many more runs that aren't shown the times may be read."""
        return MAX_TIMED - sum(map(len, self.unshown.values()))

    def leave_out(self, parent: UUID, rows: Sequence[Any], failed: int) -> None:
        """Count children of which the rows are known, and how many things of them failed."""
        self.unshown[parent] += rows
        self.cut[parent] += len(rows)
        self.cut_failed[parent] += failed


class _Edge(NamedTuple):
    parent: UUID
    row: Any
    carried: bool
    """Whether the child is a try that was carried over."""


def _read_contained(connection: Connection, tops: list[UUID], found: _Found, *, most: int) -> tuple[list[UUID], int]:
    """Find what runs inside of runs, level by level and at most so many; return it, and how many levels it has."""
    inside: list[UUID] = []
    level = tops
    for number in range(most):
        below = _read_level(connection, [run_id for run_id in level if _holds(found.rows[run_id])], found)
        if not below:
            return inside, number
        inside += below
        level = below
    # What is deeper than a tree of runs can be is counted, as is what had no room.
    for parent, count in _count_children(connection, level).items():
        found.cut[parent] += count
    return inside, most


def _holds(row: Any) -> bool:
    return bool(row.has_children or row.has_carried)


def _children(connection: Connection, parents: list[UUID], found: _Found) -> list[_Edge]:
    """Return what ran right inside runs and is shown, the earliest first; count what is cut."""
    if len(parents) == 1 and not found.rows[parents[0]].has_carried:
        # One that contains a thousand is most often alone on its level, and an index has what it contains in order.
        query, count, rest = contained_in()
        (parent,) = parents
        rows = plain_rows(connection.execute(query, {"parent": parent, "most": MAX_CHILDREN + 1}))
        edges = [_Edge(parent, row, False) for row in rows]
        if len(edges) <= MAX_CHILDREN:
            return edges
        total = connection.scalar(count, {"parent": parent}) or 0
        return _fit(connection, edges[:MAX_CHILDREN], total, rest, {"parent": parent}, found)
    edges: list[_Edge] = []
    wide: dict[UUID, int] = {}
    for chunk in chunks(parents, LISTED):
        for row in plain_rows(connection.execute(level_of(), {PARENTS.key: chunk, "most": MAX_CHILDREN})):
            edges.append(_Edge(row.parent, row, bool(row.carried)))
            if row.total > MAX_CHILDREN:
                wide[row.parent] = row.total
    return _fit_level(connection, edges, wide, found) if wide else edges


def _fit_level(connection: Connection, edges: list[_Edge], wide: dict[UUID, int], found: _Found) -> list[_Edge]:
    """Return the children of runs of which some have more than are shown; by the parent, these with how many."""
    fitting = [edge for edge in edges if edge.parent not in wide]
    for number, (parent, total) in enumerate(wide.items()):
        own = [edge for edge in edges if edge.parent == parent]
        if number < MAX_WIDE:
            fitting += _fit(connection, own, total, rest_of(), {PARENTS.key: [parent]}, found)
        else:
            found.cut[parent] += total - len(own)
            fitting += own
    return sorted(fitting, key=lambda edge: (edge.row.sort_at, edge.row.run_id, edge.carried, edge.parent))


def _fit(
    connection: Connection, edges: list[_Edge], total: int, rest: Any, of_parent: dict[str, Any], found: _Found
) -> list[_Edge]:
    """Return those children of one run that are shown, of `total`, of which the earliest are given.

    `rest` selects the others for a parent; they are read if they are not too many.
    """
    parent = edges[0].parent
    left = total - len(edges)
    if left > found.count_untimed():
        return _fit_failed(connection, edges, total, found)
    later = plain_rows(connection.execute(rest, {**of_parent, "left": left, "most": len(edges)}))
    known = {edge.row.run_id for edge in edges}
    # One that is both inside and carried over is inside, and one that was met before is shown there.
    later = [row for row in later if row.run_id not in known and row.run_id not in found.rows]
    rows = [*(edge.row for edge in edges), *later]
    picked = pick_shown(rows, MAX_CHILDREN)
    found.leave_out(parent, [row for place, row in enumerate(rows) if place not in picked.kept], len(picked.failed))
    shown = [edge for place, edge in enumerate(edges) if place in picked.kept]
    new = {rows[place].run_id: bool(rows[place].carried) for place in sorted(picked.kept) if place >= len(edges)}
    for chunk in chunks(new, LISTED):
        full = {row.run_id: row for row in plain_rows(connection.execute(BY_IDS, {RUN_IDS.key: chunk}))}
        shown += [_Edge(parent, full[run_id], new[run_id]) for run_id in chunk]
    return shown


def _fit_failed(connection: Connection, edges: list[_Edge], total: int, found: _Found) -> list[_Edge]:
    """Return the children of one run that failed and then the earliest, where there are too many to read all."""
    parent = edges[0].parent
    rows = plain_rows(connection.execute(failed_of(), {PARENTS.key: [parent], "most": MAX_CHILDREN}))
    failed = {row.run_id: _Edge(parent, row, bool(row.carried)) for row in rows}
    kept = {row.run_id for row in drop_retried([edge.row for edge in edges], set(failed))}
    earliest = [edge for edge in edges if edge.row.run_id in kept and edge.row.run_id not in failed]
    shown = [*failed.values(), *earliest[: MAX_CHILDREN - len(failed)]]
    found.cut[parent] += total - len(shown)
    found.cut_failed[parent] += (rows[0].total if rows else 0) - len(rows)
    return sorted(shown, key=lambda edge: (edge.row.sort_at, edge.row.run_id))


def _read_level(connection: Connection, parents: list[UUID], found: _Found) -> list[UUID]:
    rows, children = found.rows, found.children
    new: dict[UUID, _Edge] = {}
    for edge in _children(connection, parents, found):
        run_id = edge.row.run_id
        # In a loop of parents, or carried over by two of them: shown where it was met first.
        if run_id not in rows:
            new.setdefault(run_id, edge)
    for edge in _trim(new, found):
        rows[edge.row.run_id] = edge.row
        children[edge.parent].append((edge.row.run_id, edge.carried))
    return [run_id for run_id in new if run_id in rows]


def _trim(new: dict[UUID, _Edge], found: _Found) -> Iterable[_Edge]:
    """Return those runs of a level for which the tree has room; count the others."""
    room = MAX_NODES - len(found.rows)
    if len(new) <= room:
        return new.values()
    edges = list(new.values())
    picked = pick_shown([edge.row for edge in edges], room)
    failed = set(picked.failed)
    for place, edge in enumerate(edges):
        if place not in picked.kept:
            found.leave_out(edge.parent, [edge.row], int(place in failed))
    return [edge for place, edge in enumerate(edges) if place in picked.kept]


def _count_children(connection: Connection, parents: list[UUID]) -> dict[UUID, int]:
    counts: dict[UUID, int] = {}
    for chunk in chunks(parents, LISTED):
        counts.update((row.parent, row.children) for row in connection.execute(child_counts(), {PARENTS.key: chunk}))
    return counts


def _read_caused(connection: Connection, run_ids: list[UUID], found: _Found, *, may_go_on: bool) -> list[UUID]:
    """Find what runs started; return those that are not shown yet, the earliest first."""
    pairs = find_caused(connection, [run_id for run_id in run_ids if found.rows[run_id].has_caused])
    rows: dict[UUID, Any] = {}
    for chunk in chunks([row.run_id for _, row in pairs], LISTED):
        rows.update((row.run_id, row) for row in plain_rows(connection.execute(STARTED, {RUN_IDS.key: chunk})))
    known = [(rows[row.run_id].sort_at, row.run_id, cause) for cause, row in pairs if row.run_id in rows]
    new: list[UUID] = []
    for _, run_id, cause in sorted(known):
        if run_id in found.rows:
            continue
        if not may_go_on or len(found.caused[cause]) >= MAX_CAUSED or len(found.rows) >= MAX_NODES:
            found.cut_caused[cause] += 1
            continue
        found.rows[run_id] = rows[run_id]
        found.caused[cause].append(run_id)
        new.append(run_id)
    return new


def _node(run_id: UUID, found: _Found, *, carried_over: bool) -> dict[str, Any]:
    """Return the fields of a `TreeNode`, with those of all under it: a tree has thousands, and is checked in one go."""
    row = found.rows[run_id]
    fields = run_ref_fields(row, corrected=bool(row.is_corrected))
    # Most have nothing under them: what is empty is left to the model.
    if carried_over:
        fields["carried_over"] = True
    if inside := found.children.get(run_id):
        fields["children"] = [_node(child, found, carried_over=carried) for child, carried in inside]
    if started := found.caused.get(run_id):
        fields["caused"] = [_node(one, found, carried_over=False) for one in started]
    if run_id in found.cut:
        fields |= {"cut_children": found.cut[run_id], "cut_failed": found.cut_failed[run_id]}
    if run_id in found.cut_caused:
        fields["cut_caused"] = found.cut_caused[run_id]
    return fields
