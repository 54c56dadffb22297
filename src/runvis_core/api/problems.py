"""Errors as problem+json (RFC 9457): what is wrong, where, and what is allowed."""

from __future__ import annotations

import logging
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runvis_core.api.headers import SECURITY_HEADERS
from runvis_core.api.request_log import REQUEST_ID
from runvis_core.errors import NotFoundError, PastError, RunVisError
from runvis_core.services.problems import INVALID, PREFIX, STATUSES

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class ProblemError(RunVisError):
    """A request can't be served: becomes a problem+json reply."""

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = headers
        self.more = more

    def response(self) -> Response:
        """Return the reply that says so."""
        return problem(self.status, self.kind, str(self), headers=self.headers, **self.more)


def problem(status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Return a problem+json reply; `kind` is the last word of its type."""
    said = {"type": PREFIX + kind, "title": kind.replace("-", " "), "status": status, "detail": detail, **more}
    return Response(orjson.dumps(said), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def install_problems(app: FastAPI) -> None:
    """Let every error of a request become a problem+json reply."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RunVisError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


def _on_error(_: Request, error: Exception) -> Response:
    for kind, (name, status) in STATUSES.items():
        if isinstance(error, kind):
            more: dict[str, Any] = {"parameter": "cursor"} if name == "cursor" else {}
            if isinstance(error, NotFoundError) and error.near:
                more["near"] = error.near
            if isinstance(error, PastError):
                # It names its parameter first.
                more["parameter"] = str(error).partition(":")[0]
            return problem(status, name, str(error), **more)
    _log.error("a request failed: %s", error)
    return problem(500, "store-failed", "the store could not do this; the server's log says why")


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [_fault(request, fault) for fault in error.errors()]
    detail = "; ".join(f"{fault['parameter']}: {fault['reason']}" for fault in faults)
    return problem(400, INVALID, detail, parameter=faults[0]["parameter"], errors=faults)


def _fault(request: Request, fault: dict[str, Any]) -> dict[str, Any]:
    if fault["type"] == "json_invalid":
        reason = f"it is no JSON: {fault['ctx']['error']}, at character {fault['loc'][-1]}"
        return {"parameter": "body", "reason": reason, "allowed": "a JSON object"}
    parameter = ".".join(str(part) for part in fault["loc"][1:2]) or str(fault["loc"][0])
    context = fault.get("ctx", {})
    # The check's own words, without the name of Python's error.
    said: dict[str, Any] = {"parameter": parameter, "reason": str(context.get("error") or fault["msg"])}
    if fault["type"] == "extra_forbidden":
        allowed = _names_beside(request, "body" if fault["loc"][0] == "body" else "query")
        return said | {"reason": f"there is no such parameter; there are {', '.join(allowed)}", "allowed": allowed}
    for name in ("allowed", "expected"):
        if name in context:
            return said | {"allowed": context[name]}
    bounds = {name: context[name] for name in ("ge", "le", "gt", "lt", "min_length", "max_length") if name in context}
    return said | ({"allowed": bounds} if bounds else {})


def _names_beside(request: Request, place: str) -> list[str]:
    dependant = request.scope["route"].dependant
    parameters = dependant.body_params if place == "body" else dependant.query_params
    return [name for parameter in parameters for name in fields_of(parameter)]


def fields_of(parameter: Any) -> dict[str, Any]:
    """Return by name the type of each field that a route's parameter stands for: itself, or those of its model."""
    annotation: Any = parameter.field_info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    return {parameter.alias: annotation}


def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kinds = {404: "no-such-path", 405: "method-not-allowed"}
    kind = kinds.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        # A GET is a HEAD too, see `heads`.
        headers["Allow"] = "GET, HEAD"
    return problem(error.status_code, kind, str(error.detail), headers=headers)


def _on_bug(request: Request, error: Exception) -> Response:
    # The server logs the traceback; a reply must not hand out what is inside. It leaves by a way of its own, around
    # whatever names requests and sets headers.
    detail = f"the server failed on this request ({type(error).__name__}); its log says why"
    return problem(500, "bug", detail, headers={**SECURITY_HEADERS, REQUEST_ID: request.state.request_id})
