"""The OpenAPI document: what FastAPI says of the routes, the problems that they answer, who may ask, and examples."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from runvis_core.api.examples import add_examples
from runvis_core.api.problems import MEDIA_TYPE
from runvis_core.api.scopes import OPEN_PATHS
from runvis_core.services.problems import INVALID, PREFIX

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "What is wrong, where, and what is allowed (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": f"`{PREFIX}` and a word for what is wrong."},
        "title": {"type": "string", "description": "That word as a person reads it."},
        "status": {"type": "integer", "description": "The status of the answer."},
        "detail": {"type": "string", "description": "What is wrong with this request, and what to do about it."},
        "parameter": {"type": "string", "description": "The parameter at fault, the first one of several."},
        "allowed": {"description": "What is allowed instead."},
        "errors": {
            "type": "array",
            "description": "Each fault of the request.",
            "items": {
                "type": "object",
                "required": ["parameter", "reason"],
                "properties": {"parameter": {"type": "string"}, "reason": {"type": "string"}, "allowed": {}},
            },
        },
        "near": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The ids or names of what was perhaps meant, or of all that was meant.",
        },
        "needed": {"type": "array", "items": {"type": "string"}, "description": "The scopes that the token lacks."},
        "outcomes": {"type": "array", "items": {"$ref": "#/components/schemas/OutcomeView"}},
    },
    "additionalProperties": True,
}
_ALWAYS: Final = {
    400: "A parameter is unknown, or has a value that is not allowed; `parameter` and `allowed` say more.",
    401: "There is no token, or it is not valid.",
    403: "The token is not for this; without tokens the server serves this machine alone.",
    429: "The token asks too fast; `Retry-After` says when to come again.",
    503: "The store can't be reached now.",
}
_OF_NAMES: Final = {404: "There is no such thing; `near` are others that were perhaps meant."}
_OF_LEDGER: Final = {409: "The ledger can't prove this yet."}
_OF_ORDERS: Final = {409: "The record can't be changed so, e.g. as a legal hold covers it."}
_OF_BATCHES: Final = {
    413: "The batch is too large.",
    415: "The body is encoded in a way that is not read here.",
    422: "Each item of the batch was refused; `outcomes` says why.",
}
_NAMING: Final = ("/runs", "/lineage", "/lineage/proofs", "/evidence", "/stream", "/holds", "/erasures", "/checkpoint")
"""How the paths end whose queries or bodies name something, and that of what there may be none of."""
_ELSE: Final = "Any other error: 405 for a method that the path does not take, 500 for what the server failed on."

_EXAMPLE: Final = {
    "type": f"{PREFIX}{INVALID}",
    "title": "invalid request",
    "status": 400,
    "detail": "since: it has no time zone; say a time with its zone, e.g. 2024-05-01T12:00:00Z",
    "parameter": "since",
    "errors": [
        {
            "parameter": "since",
            "reason": "it has no time zone; say a time with its zone, e.g. 2024-05-01T12:00:00Z",
            "allowed": "a time with its zone, e.g. 2024-05-01T12:00:00Z",
        }
    ],
}
# What FastAPI says of a refused request, and this server does not.
_NEVER_SAID: Final = ("HTTPValidationError", "ValidationError")


class Application(FastAPI):
    """A FastAPI application whose document says what this server answers."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made once."""
        if self.openapi_schema is None:
            complete(super().openapi())
        return super().openapi()


def complete(document: dict[str, Any]) -> None:
    """Put into FastAPI's document what it does not know."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _NEVER_SAID:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    # Without tokens the server serves its own machine.
    document["security"] = [{"token": []}, {}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            responses.pop("422", None)
            for status, words in _problems_of(path, method).items():
                responses[str(status)] = _response(words, {**_EXAMPLE} if status == 400 else None)
            responses["default"] = _response(_ELSE)
            if path in OPEN_PATHS:
                operation["security"] = []
    add_examples(document)


def _problems_of(path: str, method: str) -> dict[int, str]:
    """Return by status what a route may answer beside what was asked for."""
    if path in OPEN_PATHS:
        return {status: _ALWAYS[status] for status in (400, 503)}
    said = {**_ALWAYS}
    if "{" in path or path.endswith(_NAMING):
        said |= _OF_NAMES
    if path.endswith("/runs"):
        said |= {406: "`Accept` names no type that runs come as; `allowed` are those."}
    if "/proofs/{" in path or path.startswith(("/checkpoint", "/tile/")):
        said |= _OF_LEDGER
    if method == "post":
        said |= _OF_BATCHES if path.endswith("/events") else _OF_ORDERS
    return said


def _response(words: str, example: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if example is not None:
        content["example"] = example
    return {"description": words, "content": {MEDIA_TYPE: content}}
