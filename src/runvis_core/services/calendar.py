"""The years that are told and asked of. At the ends of the calendar a change of time zone leaves it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

MIN_YEAR: Final = 2
MAX_YEAR: Final = 9998


def check_year(moment: datetime) -> datetime:
    """Return the moment. Raises `ValueError` if it lies in a year that is neither told nor asked of."""
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        raise ValueError(f"the year {moment.year} lies outside of {MIN_YEAR} to {MAX_YEAR}")
    return moment


AskedMoment = Annotated[AwareDatetime, AfterValidator(check_year)]
"""A moment that somebody asks about, with its time zone."""
