"""The door's lock: everything is refused but to who has a token; only the health checks are open."""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from runvis_core.api.problems import problem
from runvis_core.api.tokens import LOCAL_PRINCIPAL, Tokens

OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
_JSON: Final = b"application/json"


class AccessControl:
    """Lets a request through with `scope["state"]["principal"]` set, or refuses it.

    It wraps the whole application, so that a route, a mount or a page that is added later is closed too. Without tokens
    the server listens on loopback only; then a web page in a browser of this machine is what must be kept out: it
    can't name a loopback host in its requests' Host once its own name is rebound, and it can't send JSON unasked.
    """

    def __init__(self, app: ASGIApp, *, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one connection."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self._app(scope, receive, send)
            return
        headers = dict(scope.get("headers", ()))
        principal = self._principal(scope, headers)
        if principal is not None:
            scope.setdefault("state", {})["principal"] = principal
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._refusal(headers)(scope, receive, send)

    def _principal(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        if self._tokens:
            return self._tokens.find_principal(headers.get(b"authorization", b"").decode("latin-1"))
        if not is_loopback(_host_of(headers)):
            return None
        sends_json = headers.get(b"content-type", b"").split(b";")[0].strip().lower() == _JSON
        is_reading = scope.get("method") in ("GET", "HEAD")
        return LOCAL_PRINCIPAL if is_reading or sends_json else None

    def _refusal(self, headers: dict[bytes, bytes]) -> ASGIApp:
        if not self._tokens:
            return problem(
                403,
                "forbidden",
                "this server takes no tokens, so it serves only requests to a loopback address, and takes only "
                "application/json; to serve others, give it a token",
            )
        missing = b"authorization" not in headers
        detail = "there is no bearer token" if missing else "the server doesn't take this token"
        return problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def _host_of(headers: dict[bytes, bytes]) -> str:
    host = headers.get(b"host", b"").decode("latin-1")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
