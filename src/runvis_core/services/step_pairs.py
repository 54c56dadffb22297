"""Two trees of runs, aligned step by step by their names. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.services.answers import RunRef, TreeNode

_MAP_INDEX: Final = re.compile(r"/(\d{1,9})$")


class Pair(NamedTuple):
    """A step on both sides: its attempts, the last one last. Empty on the side that has no such step."""

    step: str
    left: list[TreeNode]
    right: list[TreeNode]
    parent_is_whole: bool
    """Whether both sides have the step that it ran in."""
    left_origin: datetime | None
    right_origin: datetime | None
    """The first evidence of the compared runs."""
    is_left_out: bool = False
    """Whether it is on one side alone, and the tree of the other has no room for all steps: it may be there, too."""


def pair_steps(
    left: TreeNode, left_keys: Mapping[UUID, str], right: TreeNode, right_keys: Mapping[UUID, str]
) -> list[Pair]:
    """Return the runs themselves, then their steps in the order in which they began on either side.

    A step is known by the path of names below the run, each without the name of what contains it, so that `etl.load`
    and `nightly.load` are one step. Of several with one name those of one map index go together; where no index is on
    both sides, the first goes with the first. What a run started elsewhere is a step of it.
    """
    origins = (_origin(left), _origin(right))
    top = Pair("", [left], [right], True, *origins)
    below = list(_pairs_below(top, left_keys, right_keys))
    return [top, *sorted(below, key=_began)]


def _origin(top: TreeNode) -> datetime | None:
    return min((moment for moment in (top.queued_at, top.started_at) if moment is not None), default=None)


def _began(pair: Pair) -> tuple[float, str]:
    offsets = [
        (moment - origin).total_seconds()
        for nodes, origin in ((pair.left, pair.left_origin), (pair.right, pair.right_origin))
        if nodes and origin is not None and (moment := nodes[0].queued_at or nodes[0].started_at) is not None
    ]
    return (min(offsets, default=float("inf")), pair.step)


def _pairs_below(pair: Pair, left_keys: Mapping[UUID, str], right_keys: Mapping[UUID, str]) -> Iterator[Pair]:
    left, right = _by_name(pair.left, left_keys), _by_name(pair.right, right_keys)
    for name in sorted(left.keys() | right.keys()):
        ours, theirs = left.get(name, []), right.get(name, [])
        are_several = max(len(ours), len(theirs)) > 1
        for index, our, their in _align(ours, theirs):
            label = f"{name}[{index}]" if are_several else name
            step = f"{pair.step}/{label}" if pair.step else label
            is_left_out = pair.is_left_out or (not our and _is_cut(pair.left)) or (not their and _is_cut(pair.right))
            are_both = bool(pair.left and pair.right)
            inner = Pair(step, our, their, are_both, pair.left_origin, pair.right_origin, is_left_out)
            yield inner
            yield from _pairs_below(inner, left_keys, right_keys)


def _is_cut(nodes: Iterable[TreeNode]) -> bool:
    return any(node.cut_children for node in nodes)


class _Step(NamedTuple):
    """One of the steps of a name: its place by map index, -1 where it has none, and its attempts."""

    place: int
    attempts: list[TreeNode]


def _align(ours: Sequence[_Step], theirs: Sequence[_Step]) -> Iterator[tuple[int, list[TreeNode], list[TreeNode]]]:
    """Yield which steps of one name go together, with what tells them apart; no attempts on a side that lacks it."""
    left, right = ({step.place: step.attempts for step in steps} for steps in (ours, theirs))
    are_mapped = -1 not in left and -1 not in right and len(left) == len(ours) and len(right) == len(theirs)
    if are_mapped and left.keys() & right.keys():
        for index in sorted(left.keys() | right.keys()):
            yield index, left.get(index, []), right.get(index, [])
    else:
        for place, (our, their) in enumerate(zip_longest(ours, theirs, fillvalue=_Step(-1, []))):
            yield place, our.attempts, their.attempts


def _by_name(nodes: Iterable[TreeNode], native_keys: Mapping[UUID, str]) -> dict[str, list[_Step]]:
    """Return by name the steps inside some attempts of one run, in the order of their map index or their beginning."""
    steps: dict[str, dict[str, list[TreeNode]]] = defaultdict(lambda: defaultdict(list))
    for node in nodes:
        for child in node.children:
            key = native_keys.get(child.run_id) or str(child.run_id)
            steps[_name(child, node.definition)][key].append(child)
        for started in node.caused:
            name = f"started {_name(started, node.definition)}"
            steps[name][str(started.run_id)].append(TreeNode.model_validate(started.model_dump()))
    return {name: _in_order(by_key) for name, by_key in steps.items()}


def _name(run: RunRef, inside: str | None) -> str:
    name = run.definition or "unnamed"
    prefix = f"{inside}."
    return name[len(prefix) :] if inside and name.startswith(prefix) and len(name) > len(prefix) else name


def _in_order(by_key: Mapping[str, list[TreeNode]]) -> list[_Step]:
    steps = [_Step(_map_index(key), _attempts(nodes)) for key, nodes in by_key.items()]
    return sorted(steps, key=lambda step: step.place)


def _map_index(key: str) -> int:
    found = _MAP_INDEX.search(key)
    return int(found[1]) if found else -1


def _attempts(nodes: list[TreeNode]) -> list[TreeNode]:
    return sorted(nodes, key=lambda node: node.attempt or 0)
