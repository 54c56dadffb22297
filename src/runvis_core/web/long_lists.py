"""Long lists on a page: a part of each, with its count and the addresses of the parts before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from runvis_core.web.page import AskedError, number
from runvis_core.web.rendering import with_query

ROWS: Final = 30
"""How much of a list a page shows at once."""


class Part(NamedTuple):
    """What a page shows of a list."""

    rows: Sequence[Any]
    total: int
    begins: int = 0
    earlier_href: str | None = None
    later_href: str | None = None


class LongLists:
    """The lists of one page. Its address says of one of them from which row on it is shown: `part=metrics&from=30`."""

    def __init__(self, path: str, given: dict[str, Any], kept: Mapping[str, Any], names: Sequence[str]) -> None:
        """Take what a page's parameters say of its lists out of them; `kept` goes into all addresses.

        Raises `AskedError`.
        """
        self._path, self._kept = path, kept
        self._part = given.pop("part", None)
        begins = given.pop("from", None)
        self._from = number(begins, "from")
        if begins is not None and self._part is None:
            raise AskedError("from", "goes with part, which says of which list")
        if self._part is not None and self._part not in names:
            raise AskedError("part", f"must be one of {', '.join(names)}")

    def show(self, name: str, rows: Sequence[Any], *, at: int = 0) -> Part:
        """Return the part of a list that was asked for, or that in which the row `at` lies."""
        begins = self._from if self._part == name else at - at % ROWS
        end = begins + ROWS
        return Part(
            rows[begins:end],
            len(rows),
            begins,
            self._href(name, max(0, begins - ROWS)) if begins and rows else None,
            self._href(name, end) if end < len(rows) else None,
        )

    def _href(self, name: str, begins: int) -> str:
        # 0 is said too: it is not where each list begins by itself.
        return with_query(self._path, {**self._kept, "part": name, "from": str(begins)}) + f"#{name}"
