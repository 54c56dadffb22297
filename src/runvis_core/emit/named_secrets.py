"""Secrets that a text gives away by the name in front of them: `password=…`, `"token": "…"`, `--api-key …`, `<pwd>…`.

Everything here takes time in proportion to the text: names begin where a word begins, nothing in it is tried a second
time, and what is looked at for each is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

REDACTED: Final = "[redacted]"
MIN_CHARACTERS: Final = 5
"""A value that is shorter is left."""
MAX_CHARACTERS: Final = 10_000
"""As far the end of a quoted value is looked for."""

IsSecret = Callable[[str], bool]

_NAMED: Final = re.compile(
    r"""
    (?<![\w.-])(?P<name>[\w.-]++)
    # JSON within a text has its quotes escaped, once or more often.
    (?P<between>\\*+["'`]?\s*+(?:=>|->|[=:])\s*+|\s++)
    (?:[bBfFrRuU]{1,2}+(?=\\*["'`]))?
    (?P<open>\\*+["'`])?
    (?(open)|(?=[^\s]))
    """,
    re.VERBOSE,
)
_VALUE: Final = re.compile(r"""[^\s"',;&(){}\[\]<>]+""")
_ENCLOSED: Final = re.compile(r"\{[^{}\n]{5,1000}\}|[\w.]++\((?:[^()\n]++|\([^()\n]*+\))*+\)")
"""`{…}` of a connection string, `SecretStr('…')`."""

_PAIR: Final = re.compile(
    r"""
    (?P<before>[(\[]\s*+["'](?P<name>[\w.-]++)["']\s*+,\s*+[bBfFrRuU]{0,2}(?P<open>["']))
    (?P<value>(?:\\.|(?!(?P=open))[^\\\n]){5,2000})
    (?P<after>(?P=open)\s*+,?\s*+[)\]])
    """,
    re.VERBOSE,
)
"""`('password', '…')`, as Python prints a pair."""
_ELEMENT: Final = re.compile(r"(?P<before><(?P<name>[\w.:-]++)[^<>]{0,300}+>)(?P<value>[^<>]{5,2000}+)(?P<after></)")
"""`<password>…</password>`."""
_USER: Final = re.compile(r"(?<!\S)(?P<before>-{1,2}u(?:ser)?[\s=]++[^\s:'\"]++:)(?P<value>[^\s'\"]{5,})")
"""`curl -u user:…`."""
_NETRC: Final = re.compile(r"(?P<before>\blogin\s++\S++\s++password\s++)\S{5,}")
"""`login … password …`, as .netrc has it."""
_HEADERS: Final = frozenset({"authorization", "cookie"})
"""Headers whose whole value is secret, whatever is in it."""
_INDENTATION: Final = 100


def redact_named(text: str, is_secret: IsSecret) -> str:
    """Return a text without the values that stand behind secret names."""

    def hide(match: re.Match[str]) -> str:
        if not is_secret(match["name"]):
            return match[0]
        return f"{match['before']}{REDACTED}{match['after']}"

    if "," in text:
        text = _PAIR.sub(hide, text)
    if "</" in text:
        text = _ELEMENT.sub(hide, text)
    if "-u" in text:
        text = _USER.sub(rf"\g<before>{REDACTED}", text)
    if "login" in text:
        text = _NETRC.sub(rf"\g<before>{REDACTED}", text)
    return _redact_assigned(text, is_secret)


def _redact_assigned(text: str, is_secret: IsSecret) -> str:
    pieces: list[str] = []
    done = position = 0
    while (match := _NAMED.search(text, position)) is not None:
        # Behind the name, not the value: that may be the name of a next one, as in `level: password=…`.
        position = match.end("name")
        # Between a name and its value a space alone is enough only on a command line.
        is_assigned = any(sign in match["between"] for sign in ("=", ":", "->"))
        if not (is_assigned or match["name"].startswith("--")) or not is_secret(match["name"]):
            continue
        end = _end_of_value(text, match)
        if end - match.end() < MIN_CHARACTERS:
            continue
        pieces += (text[done : match.end()], REDACTED)
        done = position = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _end_of_value(text: str, match: re.Match[str]) -> int:
    start = match.end()
    if match["open"]:
        return _end_of_quoted(text, start, match["open"])
    if _goes_to_the_end(text, match):
        return _end_of_line(text, start)
    value = _ENCLOSED.match(text, start) or _VALUE.match(text, start)
    return value.end() if value is not None else start


def _end_of_quoted(text: str, start: int, quote: str) -> int:
    limit = start + MAX_CHARACTERS
    end = text.find(quote, start, limit)
    # One that is escaped once more is part of the value.
    while end > start and text[end - 1] == "\\":
        end = text.find(quote, end + 1, limit)
    return end if end >= 0 else min(_end_of_line(text, start), limit)


def _end_of_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return end if end >= 0 else len(text)


def _goes_to_the_end(text: str, match: re.Match[str]) -> bool:
    """Whether the value is all that is left of the line: that of a header, or of a line of YAML."""
    if ":" not in match["between"]:
        return False
    if match["name"].lower().rpartition("-")[2] in _HEADERS:
        return True
    start = match.start()
    line = text[max(0, start - _INDENTATION) : start].rpartition("\n")[2]
    return not line.strip(" \t-") and (start <= _INDENTATION or "\n" in text[start - _INDENTATION : start])
