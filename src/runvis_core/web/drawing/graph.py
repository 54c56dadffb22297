"""A neighbourhood of the lineage graph, laid out: boxes, arrows, and a frame around what leads back to itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import copysign, sqrt
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import graphlay

from runvis_core.services.lineage_answers import LineageEdge, Loop
from runvis_core.web.drawing.frames import FRAME, TITLE, Rect, Title, enclose, place_titles
from runvis_core.web.drawing.grouping import Grouped, Line, Spot
from runvis_core.web.drawing.text import shorten

_HEIGHT: Final = 32
_ROUND: Final = 14
_NARROWEST: Final = 90
_CHARACTER: Final = 7.2
"""About how wide a character is; the box must hold the name in any font."""
_LONGEST: Final = 34
_MARGIN: Final = 24
_GAP: Final = 20
_FRAMED_GAP: Final = 72
_ARC: Final = 18
"""How far below its frame an arc goes."""
_WORDS: Final = 16
_BULGE: Final = 34
"""How far an arc goes to the right of a node that leads to itself."""


class Box(NamedTuple):
    """A node: a definition has square corners, a dataset round ones, and a group of several a second edge."""

    spot: Spot
    name: str
    is_centre: bool
    x: float
    y: float
    width: float
    height: float

    @property
    def round(self) -> float:
        """The radius of its corners."""
        return _ROUND if self.spot.kind == "dataset" else 0

    @property
    def place(self) -> Rect:
        """Where it is."""
        return Rect(self.x, self.y, self.x + self.width, self.y + self.height)


class Arrow(NamedTuple):
    """An edge as a path. `goes_back`: with it a loop comes back to where it began."""

    path: str
    line: Line
    goes_back: bool


class Frame(NamedTuple):
    """A rounded frame around the nodes of a loop; where its title stands, and under it what its arc does."""

    title: Title
    x: float
    y: float
    width: float
    height: float
    arc_x: float | None = None
    arc_y: float | None = None


_Points = list[tuple[float, float]]


class Drawing(NamedTuple):
    """What an SVG shows, and how large it is."""

    boxes: list[Box]
    arrows: list[Arrow]
    frames: list[Frame]
    top: float
    """Where it begins: titles may stand above 0."""
    width: float
    height: float


class _Ring(NamedTuple):
    """A loop as far as it is drawn: its boxes, and the two between which it comes back."""

    loop: Loop
    spots: frozenset[str]
    back: tuple[str, str] | None


def draw_graph(grouped: Grouped, *, centre: UUID, loops: Iterable[Loop] = ()) -> Drawing:
    """Return the drawing of some boxes and the lines between them. The same give the same drawing."""
    rings = [ring for loop in loops if (ring := _ring(loop, grouped.places)) is not None]
    back = {ring.back for ring in rings if ring.back is not None}
    straight = [line for line in grouped.lines if line.source != line.target and _ends(line) not in back]
    boxes, paths = _lay_out(grouped.spots, straight, centre, is_framed=bool(rings))
    at = {box.spot.key: box for box in boxes}
    paths = [_touch(points, at[line.source], at[line.target]) for line, points in zip(straight, paths, strict=True)]
    frames = _frames(rings, boxes, straight, paths)
    arrows = [Arrow(_path(points), line, goes_back=False) for line, points in zip(straight, paths, strict=True)]
    for line in grouped.lines:
        if line.source == line.target:
            arrows.append(Arrow(_arc_at(at[line.source]), line, goes_back=True))
        elif _ends(line) in back:
            frame = next(frame for ring, frame in zip(rings, frames, strict=True) if ring.back == _ends(line))
            arrows.append(Arrow(_arc_under(frame, at[line.source], at[line.target]), line, goes_back=True))
    top = min([0, *(frame.title.y - TITLE for frame in frames)])
    width, bottom = _extent(boxes, arrows, frames, paths)
    return Drawing(boxes, arrows, frames, round(top, 1), width, round(bottom - top, 1))


def _extent(
    boxes: list[Box], arrows: list[Arrow], frames: list[Frame], paths: Iterable[Iterable[tuple[float, float]]]
) -> tuple[float, float]:
    points = [point for path in paths for point in path]
    xs = [x for x, _ in points] + [box.x + box.width for box in boxes]
    ys = [y for _, y in points] + [box.y + box.height for box in boxes]
    xs += [max(frame.x + frame.width, frame.title.x + frame.title.width) for frame in frames]
    ys += [frame.y + frame.height + (_ARC + _WORDS if frame.arc_y else 0) for frame in frames]
    itself = {arrow.line.source for arrow in arrows if arrow.line.source == arrow.line.target}
    xs += [box.x + box.width + _BULGE for box in boxes if box.spot.key in itself]
    return round(max(xs, default=0) + _MARGIN, 1), round(max(ys, default=0) + _MARGIN, 1)


def _ends(line: Line) -> tuple[str, str]:
    return (line.source, line.target)


def _ring(loop: Loop, places: Mapping[UUID, str]) -> _Ring | None:
    spots = frozenset(places[member.node_id] for member in loop.members if member.node_id in places)
    if not spots:
        return None
    edge = closing_edge(loop)
    if edge is None or edge.source not in places or edge.target not in places:
        return _Ring(loop, spots, None)
    source, target = places[edge.source], places[edge.target]
    return _Ring(loop, spots, (source, target) if source != target else None)


def closing_edge(loop: Loop) -> LineageEdge | None:
    """Return the edge that is seen last in a turn: the one that comes back to where the turn began.

    A loop that did not turn has no such begin: of it, the edge on the way around that was told last.
    """
    around = list(zip(loop.cycle, [*loop.cycle[1:], *loop.cycle[:1]], strict=True))
    edges = [edge for edge in loop.edges if (edge.source, edge.target) in around]
    if loop.turns:
        edges = [edge for edge in edges if (edge.source, edge.target) == around[-1]]
    return max(edges, key=lambda edge: (edge.first_position, around.index((edge.source, edge.target))), default=None)


def _lay_out(
    spots: Sequence[Spot], lines: Sequence[Line], centre: UUID, *, is_framed: bool
) -> tuple[list[Box], list[list[tuple[float, float]]]]:
    graph = graphlay.Graph()
    for spot in spots:
        width = max(_NARROWEST, len(_label(spot)) * _CHARACTER + 24)
        graph.node(spot.key, width=width, height=_HEIGHT)
    for line in lines:
        graph.edge(line.source, line.target)
    # A frame needs room around it, for its title above and its arc below.
    gaps = {"node_gap": _FRAMED_GAP if is_framed else _GAP, "layer_gap": _FRAMED_GAP}
    # More effort takes up to five times as long where there are many lines, and lets hardly fewer of them cross.
    layout = graphlay.layout(graph, options={"direction": "leftright", "spacing": gaps, "effort": "fast"})
    paths = [[_pair(point) for point in edge["points"]] for edge in layout.edges]
    boxes = [_box(spot, place, centre) for spot, place in zip(spots, layout.nodes, strict=True)]
    left = min((box.x for box in boxes), default=0)
    top = min((box.y for box in boxes), default=0)
    left = min([left, *(x for points in paths for x, _ in points)])
    top = min([top, *(y for points in paths for _, y in points)])
    right, down = _MARGIN + FRAME - left, _MARGIN + FRAME + TITLE - top
    moved = [box._replace(x=round(box.x + right, 1), y=round(box.y + down, 1)) for box in boxes]
    return moved, [[(x + right, y + down) for x, y in points] for points in paths]


def _label(spot: Spot) -> str:
    name = shorten(spot.label, _LONGEST)
    if spot.node is None:
        return f"{name} ({spot.size})"
    # A loop across engines is seen as one.
    return f"{name} · {shorten(spot.node.engine, _LONGEST)}" if spot.node.engine else name


def _box(spot: Spot, place: dict[str, Any], centre: UUID) -> Box:
    (x, y), (width, height) = _pair(place["center"]), _pair(place["size"])
    is_centre = spot.node is not None and spot.node.node_id == centre
    return Box(spot, _label(spot), is_centre, x - width / 2, y - height / 2, round(width, 1), round(height, 1))


def _pair(given: Any) -> tuple[float, float]:
    if isinstance(given, dict):
        values = cast("dict[str, float]", given)
        return (values["x"], values["y"]) if "x" in values else (values["width"], values["height"])
    first, second = given
    return float(first), float(second)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _arc_at(box: Box) -> str:
    """Return the arc at the right of a node that leads to itself."""
    right, middle = box.x + box.width, box.y + box.height / 2
    out, back = f"{right + _BULGE:.1f} {middle - 26:.1f}", f"{right + _BULGE:.1f} {middle + 26:.1f}"
    return f"M{right:.1f} {middle - 9:.1f}C{out} {back} {right:.1f} {middle + 9:.1f}"


def _arc_under(frame: Frame, source: Box, target: Box) -> str:
    """Return the arc under a frame, from the bottom of one node to that of another."""
    (from_x, from_y), (to_x, to_y) = ((box.x + box.width / 2, box.y + box.height) for box in (source, target))
    # Beside their middles, where other lines end; one above the other it goes down beside them.
    side = 1 if from_x - to_x < _NARROWEST / 2 else -1
    from_x, to_x = from_x + side * source.width / 4, to_x - side * target.width / 4
    lowest = frame.y + frame.height + _ARC
    depth = (lowest - (from_y + to_y) / 8) / 0.75
    return f"M{from_x:.1f} {from_y:.1f}C{from_x:.1f} {depth:.1f} {to_x:.1f} {depth:.1f} {to_x:.1f} {to_y:.1f}"


def _frames(
    rings: Sequence[_Ring], boxes: Sequence[Box], lines: Sequence[Line], paths: Sequence[_Points]
) -> list[Frame]:
    """Return the frames, each around the nodes of its loop and the lines between them, its title on nothing else."""
    ways = [(line, [_rect(*step) for step in pairwise(points)]) for line, points in zip(lines, paths, strict=True)]
    places = [_enclosed(ring, boxes, ways) for ring in rings]
    words = [_title(ring.loop) for ring in rings]
    drawn = [*(box.place for box in boxes), *(way for _, some in ways for way in some)]
    widths = [len(said) * _CHARACTER for said in words]
    titles = place_titles(zip(places, words, widths, strict=True), drawn)
    middles = {box.spot.key: box.x + box.width / 2 for box in boxes}
    return [_frame(ring, place, title, middles) for ring, place, title in zip(rings, places, titles, strict=True)]


def _frame(ring: _Ring, place: Rect, title: Title, middles: Mapping[str, float]) -> Frame:
    left, top, right, bottom = place
    frame = Frame(title, round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1))
    if ring.back is None:
        return frame
    source, target = ring.back
    return frame._replace(arc_x=round((middles[source] + middles[target]) / 2, 1), arc_y=round(bottom + _ARC + 13, 1))


def _enclosed(ring: _Ring, boxes: Sequence[Box], ways: Iterable[tuple[Line, list[Rect]]]) -> Rect:
    inside = [box.place for box in boxes if box.spot.key in ring.spots]
    own = [way for line, some in ways if {line.source, line.target} <= ring.spots for way in some]
    place = enclose(inside, own, [box.place for box in boxes if box.spot.key not in ring.spots])
    # What leads to itself has its arc at the right.
    return place._replace(right=place.right + _BULGE - FRAME) if len(ring.loop.cycle) == 1 else place


def _title(loop: Loop) -> str:
    turned = f", last turned {loop.last_turn_at:%H:%M}" if loop.last_turn_at else ""
    count = len(loop.members) + loop.cut_members
    return f"Loop, {count} {'node' if count == 1 else 'nodes'}{turned}"


def _rect(one: tuple[float, float], other: tuple[float, float]) -> Rect:
    (left, right), (top, bottom) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return Rect(left, top, right, bottom)


def _touch(points: _Points, source: Box, target: Box) -> _Points:
    """Return a way whose ends touch what is drawn: they come to where a box would have its corners."""
    return [_on_edge(points[0], source), *points[1:-1], _on_edge(points[-1], target)]


def _on_edge(point: tuple[float, float], box: Box) -> tuple[float, float]:
    x, y = point
    left, top, right, bottom = box.place
    # Of the corner that it is at, where the curve's centre is.
    centre_x = min(max(x, left + box.round), right - box.round)
    centre_y = min(max(y, top + box.round), bottom - box.round)
    off_x, off_y = x - centre_x, y - centre_y
    if not off_x or not off_y:
        return point
    # It goes on as it came, from a side or from above or below, until it is on the curve.
    if abs(off_x) >= abs(off_y):
        return (centre_x + copysign(_other_leg(box.round, off_y), off_x), y)
    return (x, centre_y + copysign(_other_leg(box.round, off_x), off_y))


def _other_leg(longest: float, leg: float) -> float:
    # Places are rounded: what ends at the very corner may be a little beyond it.
    return sqrt(max(0.0, longest**2 - leg**2))
