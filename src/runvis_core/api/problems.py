"""Errors as problem+json (RFC 9457): what is wrong, where, and what is allowed."""

from __future__ import annotations

import logging
from typing import Any, Final, cast

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
    parameter = ".".join(str(part) for part in fault["loc"][1:2]) or "request"
    said: dict[str, Any] = {"parameter": parameter, "reason": fault["msg"]}
    context = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        allowed = _allowed_parameters(request)
        return said | {"reason": f"there is no such parameter; there are {', '.join(allowed)}", "allowed": allowed}
    if "expected" in context:
        return said | {"allowed": context["expected"]}
    if fault["type"].startswith("timezone_aware"):
        return said | {"allowed": "a time with its zone, e.g. 2024-05-01T12:00:00Z"}
    bounds = {name: context[name] for name in ("ge", "le", "gt", "lt", "min_length", "max_length") if name in context}
    return said | ({"allowed": bounds} if bounds else {})


def _allowed_parameters(request: Request) -> list[str]:
    names: list[str] = []
    for parameter in request.scope["route"].dependant.query_params:
        model: Any = parameter.field_info.annotation
        names += _fields_of(model) or [parameter.alias]
    return names


def _fields_of(model: Any) -> list[str]:
    """Return the fields of a model; none for what is no model."""
    return [*cast("type[BaseModel]", model).model_fields] if _is_model(model) else []


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kinds = {404: "no-such-path", 405: "method-not-allowed"}
    return problem(error.status_code, kinds.get(error.status_code, "refused"), str(error.detail))


def _on_bug(request: Request, error: Exception) -> Response:
    # The server logs the traceback; a reply must not hand out what is inside. It leaves by a way of its own, around
    # whatever names requests and sets headers.
    detail = f"the server failed on this request ({type(error).__name__}); its log says why"
    return problem(500, "bug", detail, headers={**SECURITY_HEADERS, REQUEST_ID: request.state.request_id})
