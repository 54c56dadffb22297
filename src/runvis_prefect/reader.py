"""Reads what the server gives as what it should be; what can't be read is said, and remembered as missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from runvis_prefect.rows import Row

R = TypeVar("R", bound=Row)
T = TypeVar("T")


class Reader:
    """For one thread."""

    def __init__(self, url: str, note: Callable[[str], None]) -> None:
        self._url = url
        self._note = note
        self.has_passed_over = False
        """Whether something could not be read since this was last set to False."""

    def rows(self, kind: type[R], rows: Iterable[Any]) -> Iterator[R]:
        """Yield the rows that can be read."""
        for row in rows:
            found = self.value(kind.__name__, lambda row=row: kind.model_validate(row))
            if found is not None:
                yield found

    def value(self, name: str, read: Callable[[], T]) -> T | None:
        """Return what `read` returns; None, and say so, where that is not possible."""
        try:
            return read()
        except ValueError as error:
            self.has_passed_over = True
            place, reason = "form", str(error)
            if isinstance(error, ValidationError):
                fault = error.errors(include_url=False, include_input=False)[0]
                place, reason = ".".join(str(step) for step in fault["loc"]) or place, fault["msg"]
            self._note(
                f"{self._url} gives a {name} whose {place} can't be read ({reason}): it is asked for again at each "
                "sweep; does this RunVis support this version of Prefect?"
            )
            return None
