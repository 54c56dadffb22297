"""Text from data, made safe to stand on a page; durations and moments as a person reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

# HTML has no place for control characters; the marks of writing direction show text in another order than it has, and
# go beyond the element that they stand in; a lone surrogate can't be written at all.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef]"
)
LONGEST: Final = 240
"""How many characters of a name stand in a line; its whole text is a hover or a page away."""


def safe(text: str) -> str:
    """Return text with what no page may hold spelled out, as in `\\u202e`."""
    return _UNSAFE.sub(lambda found: _spelled(ord(found[0])), text)


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return text that is no longer than `longest`: its beginning and its end, which tells more than the middle."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def first_line(text: str | None) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), "")


def name_duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `2 m 14 s`; an unknown one is a dash."""
    if seconds is None:
        return "–"
    sign, size = ("−" if seconds < 0 else ""), abs(seconds)
    # What would be rounded to the next unit is told in that.
    if size < 0.9995:
        return f"{sign}{size * 1000:.0f} ms"
    if size < 9.95:
        return f"{sign}{size:.1f} s"
    minutes, rest = divmod(round(size), 60)
    if not minutes:
        return f"{sign}{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{sign}{minutes} m {rest} s"
    days, hours = divmod(hours, 24)
    return f"{sign}{days} d {hours} h" if days else f"{sign}{hours} h {minutes} m"


def exact_duration(seconds: float | None) -> str:
    """Return a duration to the millisecond, in seconds."""
    return "unknown" if seconds is None else f"{seconds:,.3f} s"


def name_moment(moment: datetime | None, *, now: datetime, with_day: bool = False) -> str:
    """Return a moment in UTC, without the day if it is today's, without the year if it is this year's."""
    if moment is None:
        return "–"
    moment, now = moment.astimezone(UTC), now.astimezone(UTC)
    if moment.date() == now.date() and not with_day:
        return f"{moment:%H:%M:%S}"
    if moment.year == now.year:
        return f"{moment.day} {moment:%b %H:%M:%S}"
    return f"{moment.day} {moment:%b %Y %H:%M:%S}"


def exact_moment(moment: datetime | None) -> str:
    """Return a moment in UTC to the microsecond, as ISO 8601 spells it."""
    return "unknown" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def name_age(moment: datetime | None, *, now: datetime) -> str:
    """Return how long before `now` a moment was, or how long after it."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    # It has happened, by a clock that is ahead of ours: to say that it will would be wrong.
    return f"{name_duration(seconds)} ago" if seconds >= 0 else f"{name_duration(-seconds)} ahead of now"


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 run`, `4 runs`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def name_depths(depths: tuple[int, int]) -> str:
    """Return how many steps before or after something lies what is from one depth to another."""
    first, last = depths
    return _name_depth(first) if first == last else f"{_name_depth(first)} to {_name_depth(last)}"


def name_sides(before: int | None, after: int | None) -> str:
    """Return how many steps before and after something lies what may be on both sides of it, the nearer side first."""
    sides = [*([after] if after is not None else []), *([-before] if before is not None else [])]
    return ", ".join(dict.fromkeys(_name_depth(depth) for depth in sorted(sides, key=abs)))


def _name_depth(depth: int) -> str:
    return f"{-depth} before" if depth < 0 else f"{depth} after" if depth else "0"
