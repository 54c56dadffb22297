"""The years that are told and asked of. At the ends of the calendar a change of time zone leaves it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

MIN_YEAR: Final = 2
MAX_YEAR: Final = 9998


def _within(moment: datetime) -> datetime:
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        raise ValueError(f"the year {moment.year} lies outside of {MIN_YEAR} to {MAX_YEAR}")
    return moment


AskedMoment = Annotated[AwareDatetime, AfterValidator(_within)]
"""A moment that somebody asks about, with its time zone."""
