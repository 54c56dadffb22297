"""A neighbourhood of the lineage graph, laid out: boxes, arrows, and a frame around what leads back to itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import graphlay

from runvis_core.services.lineage_answers import LineageEdge, LineageNode, Loop
from runvis_core.web.drawing.text import shorten

MAX_NODES: Final = 80
"""How many nodes a drawing has; beyond, nobody could read it."""
_HEIGHT: Final = 32
_NARROWEST: Final = 90
_CHARACTER: Final = 7.2
"""About how wide a character is; the box must hold the name in any font."""
_LONGEST: Final = 34
_MARGIN: Final = 24
_FRAME: Final = 14


class Box(NamedTuple):
    """A node: a definition has square corners, a dataset round ones."""

    node_id: UUID
    name: str
    kind: str
    engine: str | None
    is_centre: bool
    x: float
    y: float
    width: float
    height: float


class Arrow(NamedTuple):
    """An edge as a path. `goes_back`: with it a loop comes back to where it began."""

    path: str
    kind: str
    run_id: UUID | None
    run_count: int
    goes_back: bool


class Frame(NamedTuple):
    """A rounded frame around the nodes of a loop."""

    title: str
    x: float
    y: float
    width: float
    height: float


class Drawing(NamedTuple):
    """What an SVG shows, and how large it is."""

    boxes: list[Box]
    arrows: list[Arrow]
    frames: list[Frame]
    width: float
    height: float


def draw_graph(
    nodes: Sequence[LineageNode], edges: Iterable[LineageEdge], *, centre: UUID, loops: Iterable[Loop] = ()
) -> Drawing:
    """Return the drawing of some nodes and the edges between them. The same nodes and edges give the same drawing."""
    shown = sorted(
        nodes, key=lambda node: (node.kind, node.engine or "", node.namespace or "", node.name, node.node_id)
    )
    known = {node.node_id for node in shown}
    between = sorted(
        (edge for edge in edges if edge.source in known and edge.target in known),
        key=lambda edge: (str(edge.source), str(edge.target), edge.kind),
    )
    graph = graphlay.Graph()
    for node in shown:
        width = max(_NARROWEST, len(shorten(node.name, _LONGEST)) * _CHARACTER + 24)
        graph.node(str(node.node_id), width=width, height=_HEIGHT)
    for edge in between:
        graph.edge(str(edge.source), str(edge.target))
    layout = graphlay.layout(graph, options={"direction": "leftright"})
    places = layout.nodes
    paths = [edge["points"] for edge in layout.edges]
    members = {node for loop in loops for node in loop.cycle}
    boxes = [_box(node, place, centre) for node, place in zip(shown, places, strict=True)]
    left, top, right, bottom = _extent(boxes, paths)
    shift = (_MARGIN - left, _MARGIN + _FRAME - top)
    boxes = [box._replace(x=round(box.x + shift[0], 1), y=round(box.y + shift[1], 1)) for box in boxes]
    arrows = [
        _arrow(edge, points, shift, goes_back=edge.source in members and edge.target in members and _goes_back(points))
        for edge, points in zip(between, paths, strict=True)
    ]
    frames = [frame for loop in loops if (frame := _frame(loop, boxes)) is not None]
    width, height = right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN + 2 * _FRAME
    return Drawing(boxes, arrows, frames, round(width, 1), round(height, 1))


def _box(node: LineageNode, place: dict[str, Any], centre: UUID) -> Box:
    (x, y), (width, height) = _pair(place["center"]), _pair(place["size"])
    return Box(
        node.node_id,
        shorten(node.name, _LONGEST),
        node.kind,
        node.engine,
        node.node_id == centre,
        x - width / 2,
        y - height / 2,
        round(width, 1),
        round(height, 1),
    )


def _pair(given: Any) -> tuple[float, float]:
    if isinstance(given, dict):
        values = cast("dict[str, float]", given)
        return (values["x"], values["y"]) if "x" in values else (values["width"], values["height"])
    first, second = given
    return float(first), float(second)


def _extent(boxes: list[Box], paths: list[Any]) -> tuple[float, float, float, float]:
    points = [_pair(point) for path in paths for point in path]
    xs = [x for x, _ in points] + [box.x for box in boxes] + [box.x + box.width for box in boxes]
    ys = [y for _, y in points] + [box.y for box in boxes] + [box.y + box.height for box in boxes]
    return min(xs, default=0.0), min(ys, default=0.0), max(xs, default=0.0), max(ys, default=0.0)


def _goes_back(points: Any) -> bool:
    (first, _), (last, _) = _pair(points[0]), _pair(points[-1])
    return last <= first


def _arrow(edge: LineageEdge, points: Any, shift: tuple[float, float], *, goes_back: bool) -> Arrow:
    steps = [(x + shift[0], y + shift[1]) for x, y in map(_pair, points)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in steps)
    run_id = edge.last_run_ids[0] if edge.last_run_ids else None
    return Arrow(path, edge.kind, run_id, edge.run_count, goes_back)


def _frame(loop: Loop, boxes: list[Box]) -> Frame | None:
    inside = [box for box in boxes if box.node_id in {member.node_id for member in loop.members}]
    if not inside:
        return None
    left, top = min(box.x for box in inside) - _FRAME, min(box.y for box in inside) - _FRAME
    right = max(box.x + box.width for box in inside) + _FRAME
    bottom = max(box.y + box.height for box in inside) + _FRAME
    turned = f", last turned {loop.last_turn_at:%H:%M}" if loop.last_turn_at else ""
    count = len(loop.members) + loop.cut_members
    title = f"Loop, {count} {'node' if count == 1 else 'nodes'}{turned}"
    return Frame(title, round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1))
