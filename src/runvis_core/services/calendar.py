"""The years that are told and asked of. At the ends of the calendar a change of time zone leaves it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, ValidationError, ValidationInfo, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

MIN_YEAR: Final = 2
MAX_YEAR: Final = 9998
ALLOWED_MOMENT: Final = "a time with its zone, e.g. 2024-05-01T12:00:00Z"
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(?P<zone>Z|[+-]\d\d(:?\d\d)?)?", re.ASCII | re.IGNORECASE
)
_LOST_PLUS: Final = re.compile(r".*\d:\d\d(:[\d.]+)? \d\d:?\d\d", re.ASCII)


def check_year(moment: datetime) -> datetime:
    """Return the moment. Raises `ValueError` if it lies in a year that is neither told nor asked of."""
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        raise ValueError(f"the year {moment.year} lies outside of {MIN_YEAR} to {MAX_YEAR}")
    return moment


def check_order(since: datetime | None, until: datetime | None) -> None:
    """Raise `ValueError` for a span of time that ends before it begins."""
    if since is not None and until is not None and until < since:
        raise ValueError(
            f"until {until.isoformat()} lies before since {since.isoformat()}: a span ends after it begins"
        )


def _read_moment(value: object, read: ValidatorFunctionWrapHandler) -> datetime:
    # A bare number is no time: it would be seconds since a beginning that nobody meant.
    if not isinstance(value, str | datetime):
        raise _no_moment("it is no time")
    if isinstance(value, str):
        found = _ISO.fullmatch(value)
        if found is None:
            lost = _LOST_PLUS.fullmatch(value)
            raise _no_moment("its + became a blank: write it as %2B" if lost else "it is no date with a time of day")
        if found["zone"] is None:
            raise _no_moment("it has no time zone")
    try:
        return read(value)
    except ValidationError as error:
        # Who asks is told of times, not of how they are read.
        outside = error.errors()[0].get("ctx", {}).get("error")
        if isinstance(outside, ValueError):
            raise _no_moment(str(outside), kind="year") from error
        raise _no_moment("there is no such time") from error


def _no_moment(reason: str, *, kind: Literal["moment", "year"] = "moment") -> PydanticCustomError:
    said = "{reason}; say {allowed}"
    return PydanticCustomError(kind, said, {"reason": reason, "allowed": ALLOWED_MOMENT})


def _after_since(until: datetime | None, info: ValidationInfo) -> datetime | None:
    try:
        check_order(info.data.get("since"), until)
    except ValueError as error:
        raise PydanticCustomError("span", "{reason}", {"reason": str(error)}) from error
    return until


AskedMoment = Annotated[AwareDatetime, AfterValidator(check_year), WrapValidator(_read_moment)]
"""A moment that somebody asks about, with its time zone."""
AskedEnd = Annotated[AskedMoment, AfterValidator(_after_since)]
"""The end of a span whose beginning is the field `since` before it."""
