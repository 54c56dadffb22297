"""Which past is asked about. Needs no store, so that a client over HTTP has the same words."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runvis_core.services.calendar import AskedMoment
from runvis_core.services.filters import RunFilter

_NUMBER = re.compile(r"[+-]?[\d.]+")


def _is_no_timestamp(value: object) -> object:
    # A number is a position, never the seconds since some beginning.
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise ValueError("a position is a number from 0 on")
    return value


PositionOrMoment = Annotated[int | AskedMoment, BeforeValidator(_is_no_timestamp)]


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
