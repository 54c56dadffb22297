"""A neighbourhood too large to be read, put into groups: by where nodes are, and how their names begin. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.services.lineage_answers import LineageNode
from runvis_core.services.lineage_edges import Edge

ROOM: Final = 80
"""How many nodes and groups a drawing has; beyond, nobody could read it."""
MAX_LINES: Final = 150
"""With more arrows than this, there are fewer boxes: nobody could follow them, and to lay them out takes seconds."""
_ROOMS: Final = (ROOM, 60, 40, 20)
_WIDEST: Final = 40
"""How many parts a group has at most: with more, they are put into ranges first."""
_DEEPEST: Final = 6
_KEPT: Final = 39
_PART: Final = re.compile(r"[^./]*[./]|[^./]+$")
OUTSIDE: Final = "all else"


class Spot(NamedTuple):
    """What is drawn as one box: a node, or a group of them."""

    key: str
    """The node's id; what opens the group."""
    label: str
    size: int
    """How many nodes there are in it."""
    node: LineageNode | None
    """None for a group."""

    @property
    def kind(self) -> str:
        """What it is."""
        return self.node.kind if self.node is not None else "group"


class Line(NamedTuple):
    """What is drawn as one arrow: an edge, or those of one kind between two boxes."""

    source: str
    target: str
    kind: str
    run_count: int
    last_seen_at: datetime
    ends: tuple[UUID, UUID] | None
    """Of its one edge the nodes; None where there are several."""
    edge_count: int


class Grouped(NamedTuple):
    """What is drawn of a neighbourhood."""

    spots: list[Spot]
    lines: list[Line]
    places: dict[UUID, str]
    """In which box each node is."""
    opened: str | None
    """The group that was opened, if it is there."""


@dataclass(frozen=True)
class _Branch:
    path: tuple[str, ...]
    parts: list[_Branch | LineageNode]

    @property
    def key(self) -> str:
        return " › ".join(self.path)

    def nodes(self) -> list[LineageNode]:
        return [node for part in self.parts for node in (part.nodes() if isinstance(part, _Branch) else [part])]

    def branches(self) -> list[_Branch]:
        inner = [part for part in self.parts if isinstance(part, _Branch)]
        return [self, *(branch for part in inner for branch in part.branches())]


def group_nodes(
    nodes: Mapping[int, LineageNode],
    edges: Sequence[Edge],
    *,
    kept: Collection[UUID] = (),
    opened: str | None = None,
) -> Grouped:
    """Return at most `ROOM` boxes and the arrows between nodes by number; the same nodes and edges give the same.

    Nodes stand alone as far as there is room, those in `kept` first. Others are put together by engine, deployment or
    namespace, then by how their names begin, and by less of it where there would be more than `MAX_LINES` arrows.
    Where a group is opened it is told in detail, and all else as one.
    """
    *more, least = _ROOMS
    for room in more:
        grouped = _group(nodes, edges, kept, opened, room)
        if len(grouped.lines) <= MAX_LINES:
            return grouped
    return _group(nodes, edges, kept, opened, least)


def _group(
    by_number: Mapping[int, LineageNode],
    edges: Sequence[Edge],
    kept: Collection[UUID],
    opened: str | None,
    room: int,
) -> Grouped:
    nodes = sorted(by_number.values(), key=_order)
    alone = [node for node in nodes if node.node_id in kept][:_KEPT]
    known = {node.node_id for node in alone}
    tree = _grow((), [(_path_of(node), node) for node in nodes if node.node_id not in known])
    branch = next((one for one in tree.branches() if one.path and one.key == opened), None)
    parts = _cut(branch or tree, room - len(alone) - (1 if branch else 0))
    spots = [_spot(part) for part in [*alone, *parts]]
    places = {node.node_id: str(node.node_id) for node in alone}
    for part in parts:
        inside = part.nodes() if isinstance(part, _Branch) else [part]
        places.update(dict.fromkeys((node.node_id for node in inside), _key(part)))
    outside = [node.node_id for node in nodes if node.node_id not in places]
    if outside:
        spots.append(Spot(OUTSIDE, OUTSIDE, len(outside), None))
        places.update((node_id, OUTSIDE) for node_id in outside)
    lines = _join(by_number, edges, places)
    return Grouped(spots, lines, places, branch.key if branch else None)


def _order(node: LineageNode) -> tuple[str, ...]:
    return (node.kind, node.engine or "", node.deployment or "", node.namespace or "", node.name, str(node.node_id))


def _path_of(node: LineageNode) -> list[str]:
    home = f"{node.engine} {node.deployment}" if node.kind == "definition" else str(node.namespace)
    parts = _PART.findall(node.name) or [""]
    return [home, *parts[: _DEEPEST - 1], *(["".join(parts[_DEEPEST - 1 :])] if len(parts) >= _DEEPEST else [])]


def _grow(path: tuple[str, ...], items: list[tuple[list[str], LineageNode]]) -> _Branch:
    by_first: dict[str, list[tuple[list[str], LineageNode]]] = {}
    for rest, node in items:
        by_first.setdefault(rest[0] if rest else "", []).append((rest[1:], node))
    parts: list[_Branch | LineageNode] = []
    for first, inside in by_first.items():
        if len(inside) == 1 or not any(rest for rest, _ in inside):
            parts += [node for _, node in inside]
        else:
            parts.append(_grow((*path, first), inside))
    if len(parts) == 1 and isinstance(parts[0], _Branch) and path:
        return parts[0]
    if len(parts) > _WIDEST:
        size = max(_WIDEST, ceil(len(parts) / _WIDEST))
        ranges = [parts[start : start + size] for start in range(0, len(parts), size)]
        parts = [_Branch((*path, f"{_name(some[0])} to {_name(some[-1])}"), some) for some in ranges]
    return _Branch(path, parts)


def _name(part: _Branch | LineageNode) -> str:
    return part.path[-1] if isinstance(part, _Branch) else part.name


def _cut(branch: _Branch, room: int) -> list[_Branch | LineageNode]:
    """Return the finest parts for which there is room, where a small group is told in detail before a large one."""
    found = list(branch.parts)
    while True:
        open_ones = [part for part in found if isinstance(part, _Branch) and len(found) - 1 + len(part.parts) <= room]
        if not open_ones:
            return found
        smallest = min(open_ones, key=lambda part: (len(part.parts), part.path))
        place = found.index(smallest)
        found[place : place + 1] = smallest.parts


def _key(part: _Branch | LineageNode) -> str:
    return part.key if isinstance(part, _Branch) else str(part.node_id)


def _spot(part: _Branch | LineageNode) -> Spot:
    if isinstance(part, _Branch):
        return Spot(_key(part), f"{part.key}…", len(part.nodes()), None)
    return Spot(_key(part), part.name, 1, part)


def _join(nodes: Mapping[int, LineageNode], edges: Sequence[Edge], places: Mapping[UUID, str]) -> list[Line]:
    # By number: there are thousands of edges, and to look up an id takes long.
    place_of = {number: places[node.node_id] for number, node in nodes.items()}
    together: dict[tuple[str, str, str], list[Edge]] = {}
    for edge in edges:
        source, target = place_of[edge.source], place_of[edge.target]
        # What leads from one to another within a group is not drawn.
        if source != target or edge.source == edge.target:
            together.setdefault((source, target, edge.kind), []).append(edge)
    return [
        Line(
            *key,
            run_count=sum(edge.run_count for edge in some),
            last_seen_at=max(edge.last_seen_at for edge in some),
            ends=(nodes[some[0].source].node_id, nodes[some[0].target].node_id) if len(some) == 1 else None,
            edge_count=len(some),
        )
        for key, some in sorted(together.items())
    ]
