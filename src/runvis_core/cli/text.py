"""Text from data, made safe for a terminal."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

# Control characters move the cursor or give orders to the terminal; the marks of writing direction show text in another
# order than it has; a lone surrogate can't be written at all.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Return text with its control characters spelled out; with `keep_lines` line breaks and tabs stay."""

    def spell(found: re.Match[str]) -> str:
        char = found[0]
        return char if keep_lines and char in "\n\t" else _spelled(char)

    return _UNSAFE.sub(spell, text.replace("\r\n", "\n") if keep_lines else text)


def clean_json(text: str) -> str:
    """Return JSON text with the same meaning and without what is unsafe on a terminal."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelled(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def name_moment(moment: datetime | None) -> str:
    """Return a time as tables have it: UTC, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "–"


def name_duration(seconds: float | None) -> str:
    """Return a duration as a person says it."""
    if seconds is None:
        return "–"
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    sign = "-" if seconds < 0 else ""
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(place for place, (count, _) in enumerate(parts) if count or place == 3)
    return sign + " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])
