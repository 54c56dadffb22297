"""What every page shares: its errors, its parameters, its store."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runvis_core.api.state import state_of
from runvis_core.errors import CursorError, NotFoundError, PastError, RunVisError, UnreachableError
from runvis_core.services.past_filter import PastFilter
from runvis_core.store.database import Store
from runvis_core.web.rendering import keep_past, render, with_query

MOMENT: Final = "as 2026-11-24 or 2026-11-24 08:00, which are UTC, or 2026-11-24T08:00:00+01:00"
"""How a moment is spelled."""
_NUMBER: Final = re.compile(r"[+-]?[\d.]+")
_log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)
Endpoint = Callable[[Request], Response]


class AskedError(RunVisError):
    """A parameter in a page's address can't be understood; the message says what is allowed."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter


def store_of(request: Request) -> Store:
    """Return the store behind the pages."""
    return state_of(request).store


def page(path: str, endpoint: Endpoint, *, has_past: bool = True) -> Route:
    """Return a page's route; what its endpoint can't do becomes a page that says so.

    One that has no past refuses to be asked about it, so that nobody takes what is now for what was then.
    """

    @wraps(endpoint)
    def serve(request: Request) -> Response:
        try:
            if not has_past:
                _refuse_past(request)
            return endpoint(request)
        except RunVisError as error:
            return _error_page(request, error)

    return Route(path, serve, methods=["GET"])


def _refuse_past(request: Request) -> None:
    for name in PastFilter.model_fields:
        if name in request.query_params:
            raise AskedError(
                name,
                "this page tells of now alone; the overview, runs, a run, a definition and the graph tell of the past",
            )


def _error_page(request: Request, error: RunVisError) -> Response:
    if isinstance(error, PastError):
        said = _said_of(request, error, error.parameter)
        return render(request, "error.html", status=400, title="That past can't be told of", **said)
    if isinstance(error, NotFoundError):
        title = "Which one is meant?" if error.near else "There is no such thing"
        near = [(_lead_to(request, name), label) for name, label in zip(error.near, error.labels, strict=True)]
        said = {**_said(error), **_pinned(request), "near": near}
        return render(request, "error.html", status=404, title=title, **said)
    if isinstance(error, AskedError | CursorError):
        parameter = error.parameter if isinstance(error, AskedError) else "cursor"
        said = _said_of(request, error, parameter)
        return render(request, "error.html", status=400, title="That can't be asked for", **said)
    if isinstance(error, UnreachableError):
        said = {**_said(error), **_pinned(request)}
        return render(request, "error.html", status=503, title="The store can't be read now", **said)
    _log.error("a page failed: %s", error)
    said = {**_said("The server's log says why."), **_pinned(request)}
    return render(request, "error.html", status=500, title="This page failed", **said)


def install_error_pages(app: Starlette) -> None:
    """Let a browser see a page where there is none, and where one failed; the API's callers see what they did."""
    said_else: dict[Any, Any] = {kind: app.exception_handlers[kind] for kind in (HTTPException, Exception)}

    def on_error(request: Request, error: Exception) -> Any:
        if request.url.path.startswith(("/api/", "/health/", "/metrics")) or "text/html" not in request.headers.get(
            "accept", ""
        ):
            return said_else[HTTPException if isinstance(error, HTTPException) else Exception](request, error)
        if isinstance(error, HTTPException):
            titles = {404: "There is no such page"}
            title, detail = titles.get(error.status_code, "That can't be done here"), str(error.detail)
            return render(request, "error.html", status=error.status_code, title=title, **_said(detail))
        detail = f"The server failed on it ({type(error).__name__}); its log says why."
        return render(request, "error.html", status=500, title="This page failed", **_said(detail))

    for kind in said_else:
        app.add_exception_handler(kind, on_error)


def _said(detail: object) -> dict[str, Any]:
    return {"detail": str(detail), "parameter": None, "back": None, "near": []}


def _said_of(request: Request, error: RunVisError, parameter: str) -> dict[str, Any]:
    """Return what is said of a parameter at fault, with the address that is left without it."""
    pinned = {} if parameter in PastFilter.model_fields else _pinned(request)
    rest = {name: request.query_params.getlist(name) for name in request.query_params if name != parameter}
    back = with_query(request.url.path, rest)
    return {**_said(error), **pinned, "parameter": parameter, "back": back}


def _pinned(request: Request) -> dict[str, str]:
    """Return what keeps the past that was asked about in the links of a page that could not be shown."""
    return keep_past({name: request.query_params.getlist(name) for name in PastFilter.model_fields})


def _lead_to(request: Request, name: str) -> str:
    """Return the address that was asked for with another name in it; a name that is no page's is searched for."""
    parameter = {"/graph": "node", "/definition": "name"}.get(request.url.path)
    if parameter is None:
        return with_query("/search", {"q": name})
    rest = {one: request.query_params.getlist(one) for one in request.query_params}
    return with_query(request.url.path, {**rest, parameter: name})


def asked(request: Request) -> dict[str, str | list[str]]:
    """Return the parameters that say something: an empty field of a form narrows nothing.

    A parameter that is there several times is a list.
    """
    found: dict[str, str | list[str]] = {}
    for name in request.query_params:
        values = [value for value in request.query_params.getlist(name) if value.strip()]
        if values:
            found[name] = values if len(values) > 1 else values[0]
    return found


def refuse_unknown(given: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuse what a page doesn't have, of the parameters that are left when it took those that it has.

    Who narrows a page by what it doesn't know would take all for a part. Raises `AskedError`.
    """
    for name in given:
        if name == "live":
            raise AskedError(name, "a page of the past does not change; leave it out, or as_of and known_at")
        if name not in allowed:
            raise AskedError(name, f"there is no such parameter here; there are {', '.join(allowed)}")


def understand(model: type[Model], given: Mapping[str, Any]) -> Model:
    """Return what the parameters mean. Raises `AskedError` that names the one at fault and what is allowed."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        parameter = str(fault["loc"][0]) if fault["loc"] else "the address"
        if fault["type"] == "extra_forbidden":
            there = ", ".join(model.model_fields)
            raise AskedError(parameter, f"there is no such parameter here; there are {there}") from error
        if fault["type"] == "moment":
            position = "a position of the log, as 120, or " if parameter == "known_at" else ""
            why = fault.get("ctx", {}).get("reason")
            raise AskedError(parameter, f"must be {position}a moment, {MOMENT}: {why}") from error
        reason = fault["msg"][:1].lower() + fault["msg"][1:]
        raise AskedError(parameter, reason) from error


def with_zones(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return parameters of which those named are moments in UTC where they don't say their zone.

    The pages speak UTC alone. A number is no moment: it may be a position of the log.
    """
    moments = {name: given[name].strip() for name in names if isinstance(given.get(name), str)}
    return {**given, **{name: said if _NUMBER.fullmatch(said) else _with_zone(said) for name, said in moments.items()}}


def _with_zone(moment: str) -> str:
    time = moment.partition("T")[2] or moment.partition(" ")[2]
    has_zone = time.endswith(("Z", "z")) or "+" in time or "-" in time
    return moment if has_zone else f"{moment}{'' if time else 'T00:00'}Z"


def number(given: str | list[str] | None, parameter: str, *, default: int = 0) -> int:
    """Return a parameter that is a whole number, not below 0. Raises `AskedError`."""
    if given is None:
        return default
    if isinstance(given, list) or not given.isascii() or not given.isdigit() or len(given) > 18:
        raise AskedError(parameter, "must be a whole number")
    return int(given)
