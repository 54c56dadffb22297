"""What holds for the query of every route: no parameter that there is not, and none twice that has one value."""

from __future__ import annotations

from typing import Any, get_origin

from fastapi import Request

from runvis_core.api.problems import ProblemError, fields_of
from runvis_core.services.problems import INVALID


async def check_query(request: Request) -> None:
    """Raise `ProblemError` for a parameter that the route would ignore: the answer would be to another question."""
    given = request.query_params
    if not given:
        return
    parameters = request.scope["route"].dependant.query_params
    known: dict[str, Any] = {name: kind for parameter in parameters for name, kind in fields_of(parameter).items()}
    for name in given:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "this path takes none"
            raise _invalid(name, f"there is no such parameter; {there}", [*known])
        if len(given.getlist(name)) > 1 and get_origin(known[name]) is not list:
            raise _invalid(name, "it has one value, and is there several times", "one value")


def _invalid(name: str, reason: str, allowed: Any) -> ProblemError:
    fault = {"parameter": name, "reason": reason, "allowed": allowed}
    return ProblemError(400, INVALID, f"{name}: {reason}", parameter=name, errors=[fault])
