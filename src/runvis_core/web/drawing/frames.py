"""The frames around loops in a drawing of the graph: what they enclose, and where their titles stand free. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

FRAME: Final = 14
"""How far a frame stands off what it encloses."""
TITLE: Final = 18
"""How high a line of words is."""
_ASCENT: Final = 11
_DESCENT: Final = 4
_INSET: Final = 8
_CLEAR: Final = 4
"""How far words stand off what is drawn beside them."""


class Rect(NamedTuple):
    """A place in a drawing."""

    left: float
    top: float
    right: float
    bottom: float


class Title(NamedTuple):
    """Words, and where they begin: `y` is their base line."""

    words: str
    x: float
    y: float
    width: float


def enclose(inside: Sequence[Rect], ways: Iterable[Rect], outside: Sequence[Rect]) -> Rect:
    """Return what encloses the nodes of a loop, and the ways between them where that takes in no other node."""
    nodes = _around(inside)
    whole = _around([*inside, *ways])
    return whole if _count_within(whole, outside) == _count_within(nodes, outside) else nodes


def _around(places: Sequence[Rect]) -> Rect:
    lefts, tops, rights, bottoms = zip(*places, strict=True)
    return Rect(min(lefts) - FRAME, min(tops) - FRAME, max(rights) + FRAME, max(bottoms) + FRAME)


def _count_within(frame: Rect, places: Sequence[Rect]) -> int:
    return sum(
        frame.left < place.right and place.left < frame.right and frame.top < place.bottom and place.top < frame.bottom
        for place in places
    )


def place_titles(frames: Iterable[tuple[Rect, str, float]], drawn: Sequence[Rect]) -> list[Title]:
    """Return where each frame's title stands, given how wide it is: over its frame, and on nothing that is drawn.

    It moves along the frame's upper edge first, then higher: above all that is drawn there is always room.
    """
    taken, placed = list(drawn), list[Title]()
    for frame, words, width in frames:
        y, x = frame.top - 5, None
        while (x := _find_room(taken, frame, y, width)) is None:
            y -= TITLE
        placed.append(Title(words, round(x, 1), round(y, 1), width))
        taken.append(Rect(x, y - _ASCENT, x + width, y + _DESCENT))
    return placed


def _find_room(taken: Iterable[Rect], frame: Rect, y: float, width: float) -> float | None:
    """Return where words of a width have room on a line over a frame, the leftmost."""
    x = frame.left + _INSET
    last = max(x, frame.right - _INSET - width)
    beside = (place for place in taken if place.top < y + _DESCENT and y - _ASCENT < place.bottom)
    for place in sorted(beside):
        if place.left - _CLEAR >= x + width:
            break
        x = max(x, place.right + _CLEAR)
    return x if x <= last else None
