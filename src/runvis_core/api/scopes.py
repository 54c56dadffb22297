"""What each route is for: the one place where it is said. A route that is not listed here is refused.

A path is matched whole. Where several lines match one path, all their scopes are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from starlette.routing import compile_path

from runvis_core.api.paths import API
from runvis_core.model.decision import Scope

OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
"""Open to all, by their whole path."""

ROUTES: Final[Mapping[tuple[str, str], Scope]] = {
    ("POST", f"{API}/events"): Scope.INGEST,
    ("GET", f"{API}/events"): Scope.READ,
    ("GET", f"{API}/runs"): Scope.READ,
    ("GET", f"{API}/runs/{{name:name}}"): Scope.READ,
    ("GET", f"{API}/runs/{{name:name}}/events"): Scope.READ,
    ("GET", f"{API}/runs/{{name:name}}/tree"): Scope.READ,
    ("GET", f"{API}/runs/{{name:name}}/compare"): Scope.READ,
    ("GET", f"{API}/runs/{{name:name}}/compare/{{other:name}}"): Scope.READ,
    ("GET", f"{API}/definitions"): Scope.READ,
    ("GET", f"{API}/definitions/{{name:name}}"): Scope.READ,
    ("GET", f"{API}/definitions/{{name:name}}/trend"): Scope.READ,
    ("GET", f"{API}/definitions/{{name:name}}/grid"): Scope.READ,
    ("GET", f"{API}/stats"): Scope.READ,
    ("GET", f"{API}/completeness"): Scope.READ,
    ("GET", f"{API}/corrections"): Scope.READ,
    ("GET", f"{API}/health"): Scope.READ,
    ("GET", f"{API}/search"): Scope.READ,
    ("GET", f"{API}/stream"): Scope.READ,
    ("GET", f"{API}/evidence"): Scope.READ,
    ("GET", f"{API}/checkpoints"): Scope.READ,
    ("GET", f"{API}/proofs/{{name:name}}"): Scope.READ,
    ("GET", "/checkpoint"): Scope.READ,
    ("GET", "/tile/{path:path}"): Scope.READ,
    ("GET", f"{API}/lineage"): Scope.READ,
    ("GET", f"{API}/lineage/proofs"): Scope.READ,
    ("GET", f"{API}/loops"): Scope.READ,
    ("GET", f"{API}/loops/{{node_id}}/turns"): Scope.READ,
    ("GET", f"{API}/notices"): Scope.READ,
    ("GET", f"{API}/doctor"): Scope.READ,
    ("GET", f"{API}/openapi.json"): Scope.READ,
    ("GET", "/metrics"): Scope.READ,
    ("GET", f"{API}/audit"): Scope.ADMIN,
    ("GET", f"{API}/tokens"): Scope.ADMIN,
    ("POST", f"{API}/tokens"): Scope.ADMIN,
    ("POST", f"{API}/tokens/{{token_id}}/revocation"): Scope.ADMIN,
    ("GET", f"{API}/holds"): Scope.ADMIN,
    ("POST", f"{API}/holds"): Scope.ADMIN,
    ("POST", f"{API}/holds/{{hold_id}}/release"): Scope.ADMIN,
    ("POST", f"{API}/erasures"): Scope.ADMIN,
}
"""The scope that a request needs, by method and path. HEAD asks as GET does; a web socket's method is WEBSOCKET."""


class Match(NamedTuple):
    """What the table says of a path."""

    scopes: frozenset[Scope] | None
    """The scopes that the method needs there; None where it is not listed."""
    methods: frozenset[str]
    """The methods that are listed for the path; empty for a path that is not."""
    route: str | None
    """The listed path that says most about it, as `/runs/{name}`; None for a path that is not listed."""


class RouteTable:
    """Finds what a request needs."""

    def __init__(self, routes: Mapping[tuple[str, str], Scope] = ROUTES) -> None:
        self._routes: list[tuple[re.Pattern[str], str, str, Scope]] = [
            (*compile_path(path)[:2], method, scope) for (method, path), scope in routes.items()
        ]

    def find(self, method: str, path: str) -> Match:
        """Return what a method needs at a path."""
        said = [(route, listed, scope) for pattern, route, listed, scope in self._routes if pattern.match(path)]
        asked = "GET" if method == "HEAD" else method
        scopes = frozenset(scope for _, method, scope in said if method == asked)
        listed = frozenset(method for _, method, _ in said)
        route = max((route for route, _, _ in said), key=len, default=None)
        return Match(scopes or None, listed | {"HEAD"} if "GET" in listed else listed, route)


def name_scopes(scopes: Iterable[Scope]) -> str:
    """Return scopes as a person reads them."""
    return " and ".join(sorted(scopes)) or "none"
