"""The door's lock: everything is refused but to who has a token; only the health checks are open."""

from __future__ import annotations

import ipaddress
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from runvis_core.api.problems import problem
from runvis_core.api.tokens import LOCAL_PRINCIPAL, Tokens

OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
_JSON: Final = b"application/json"


class Door(Protocol):
    """How browsers come in, which send no bearer token."""

    open_paths: frozenset[str]
    """Paths beside `OPEN_PATHS` that everybody may ask for, to the letter."""

    async def find_session_principal(self, scope: Scope) -> str | None:
        """Return whom a request without a bearer token comes from; None if that is nobody, or is not theirs to send."""
        ...

    def find_refusal(self, scope: Scope) -> ASGIApp | None:
        """Return what is said to a browser that is refused; None for other callers."""
        ...


class AccessControl:
    """Lets a request through with `scope["state"]["principal"]` set, or refuses it.

    It wraps the whole application, so that a route, a mount or a page that is added later is closed too. Without tokens
    the server listens on loopback only; then a web page in a browser of this machine is what must be kept out: it
    can't name a loopback host in its requests' Host once its own name is rebound, and it can't send JSON unasked.
    """

    def __init__(self, app: ASGIApp, *, tokens: Tokens, door: Door | None = None) -> None:
        self._app = app
        self._tokens = tokens
        self._door = door
        self._open_paths = OPEN_PATHS | (door.open_paths if door else frozenset[str]())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one connection."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._open_paths):
            await self._app(scope, receive, send)
            return
        headers = dict(scope.get("headers", ()))
        principal = await self._principal(scope, headers)
        if principal is not None:
            scope.setdefault("state", {})["principal"] = principal
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._door.find_refusal(scope) if self._door and self._tokens else None
        await (refusal or self._refusal(headers))(scope, receive, send)

    async def _principal(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        if self._tokens:
            if self._door and b"authorization" not in headers:
                return await self._door.find_session_principal(scope)
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
