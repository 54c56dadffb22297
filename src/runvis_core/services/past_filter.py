"""Which past is asked about. Needs no store, so that a client over HTTP has the same words."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from runvis_core.services.calendar import ALLOWED_MOMENT, AskedMoment
from runvis_core.services.filters import RunFilter

_NUMBER: Final = re.compile(r"\d{1,19}", re.ASCII)
_MOMENT: Final = TypeAdapter(AskedMoment)


def _read_position_or_moment(value: object) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and 0 <= value < 2**63:
        return value
    # One of the two, so that one fault is told of.
    try:
        return _MOMENT.validate_python(value)
    except ValidationError as error:
        fault = error.errors()[0]
        kind, reason = fault["type"], fault.get("ctx", {}).get("reason")
        allowed = f"a position of the log, a whole number from 0 on, or {ALLOWED_MOMENT}"
        said = {"reason": reason, "allowed": allowed}
        raise PydanticCustomError("year" if kind == "year" else "moment", "{reason}; say {allowed}", said) from error


PositionOrMoment = Annotated[int | AskedMoment, BeforeValidator(_read_position_or_moment)]


class PastFilter(BaseModel):
    """Which past is asked about; without either it is the present."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: AskedMoment | None = Field(
        default=None,
        description="What was going on at this moment (with its time zone), by all that is known now.",
    )
    known_at: PositionOrMoment | None = Field(
        default=None,
        description="By what had been recorded then: a position of the log, or a moment (with its time zone).",
    )

    @property
    def is_present(self) -> bool:
        """Whether no past is asked about."""
        return self.as_of is None and self.known_at is None

    def as_query(self) -> dict[str, str | int]:
        """Return what is asked as a query over HTTP has it."""
        return self.model_dump(mode="json", exclude_none=True)


PRESENT = PastFilter()
"""Runs as they are."""


class PastRunFilter(RunFilter, PastFilter):
    """Which runs of which past a list shows: what its cursors are bound to."""
