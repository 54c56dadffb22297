"""The door's lock: who asks, and whether they may. Everything is refused but what `scopes` lists for who has the scope.

It wraps the whole application, so that a route, a mount or a page that is added later is closed too, until it is
listed.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from runvis_core.api.problems import problem
from runvis_core.api.rates import RateLimiter
from runvis_core.api.scopes import OPEN_PATHS, ROUTES, Match, RouteTable, name_scopes
from runvis_core.api.tokens import LOCAL_PRINCIPAL, ExpiredTokenError, StoreTokens, Tokens
from runvis_core.errors import UnreachableError
from runvis_core.model.decision import Scope as TokenScope
from runvis_core.services.decisions import record_access
from runvis_core.services.principals import Principal
from runvis_core.services.tokens import is_token
from runvis_core.store.database import Store

_JSON: Final = b"application/json"


class Asked(NamedTuple):
    """What is known of a request before anybody serves it."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    """By lower-case name; of several the last."""
    query: str = ""
    peer: str = ""
    """The address at the other end of the connection."""


class Authenticator(Protocol):
    """One way to say who one is: a bearer token, a session's cookie, being on this machine."""

    async def find_principal(self, asked: Asked) -> Principal | None:
        """Return who asks; None where this way says nothing. Raises `ExpiredTokenError`, `UnreachableError`."""
        ...


class Door(Authenticator, Protocol):
    """How browsers come in, which send no bearer token."""

    open_paths: frozenset[str]
    """Paths beside `OPEN_PATHS` that are open to all, by their whole path."""
    routes: Mapping[tuple[str, str], TokenScope]
    """What the pages' routes need, as in `ROUTES`."""

    def find_refusal(self, asked: Asked, status: int) -> ASGIApp | None:
        """Return what is said to a browser that is refused with a status; None for other callers."""
        ...


class BearerTokens:
    """Who has a token of the settings or of the store. Without any, who asks from this machine.

    Without tokens the server listens on loopback only; then a web page in a browser of this machine is what must be
    kept out: it can't name a loopback host in its requests' Host once its own name is rebound, and it can't send JSON
    unasked.
    """

    def __init__(self, tokens: Tokens, issued: StoreTokens) -> None:
        self._tokens = tokens
        self._issued = issued

    @property
    def are_needed(self) -> bool:
        """Whether nobody is served without a token."""
        return bool(self._tokens) or self._issued.were_issued

    async def find_principal(self, asked: Asked) -> Principal | None:
        """Return who has the request's token."""
        await self._issued.refresh()
        authorization = asked.headers.get(b"authorization", b"").decode("latin-1")
        found = self._find_bearer(authorization)
        if found is None and is_token(authorization.partition(" ")[2].strip()):
            # Another server, or a person at the store, may have issued it just now.
            self._issued.forget()
            await self._issued.refresh()
            found = self._find_bearer(authorization)
        if found is None and not self.are_needed and _is_local(asked):
            return LOCAL_PRINCIPAL
        return found

    async def find_by_digest(self, digest: bytes) -> Principal | None:
        """Return who has the token of that digest, as long as it is valid. Raises `UnreachableError`."""
        await self._issued.refresh()
        found = self._tokens.find_by_digest(digest) or self._issued.find_by_digest(digest, now=datetime.now(UTC))
        if found is None:
            # It may have been issued just now.
            self._issued.forget()
            await self._issued.refresh()
            found = self._issued.find_by_digest(digest, now=datetime.now(UTC))
        return found

    def _find_bearer(self, authorization: str) -> Principal | None:
        found = self._tokens.find_principal(authorization)
        return found or self._issued.find_principal(authorization, now=datetime.now(UTC))


StillMay = Callable[[], Awaitable[bool]]
"""Says whether who was let through would be let through now."""


class AccessControl:
    """Lets a request through with `scope["state"]["principal"]` set to a `Principal`, or refuses it.

    Beside it stand `still_may`, a `StillMay` for what goes on for long, and `route`, the listed path; the latter is
    known of what is refused, too.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        bearers: BearerTokens,
        limiter: RateLimiter,
        door: Door | None = None,
        audited: Store | None = None,
    ) -> None:
        """`audited` is the store whose log is to tell who read what, where that is wanted."""
        self._app = app
        self._bearers = bearers
        self._door = door
        self._authenticators: tuple[Authenticator, ...] = (bearers, door) if door else (bearers,)
        self._open_paths = OPEN_PATHS | (door.open_paths if door else frozenset[str]())
        self._limiter = limiter
        self._routes = RouteTable({**ROUTES, **door.routes} if door else ROUTES)
        self._audited = audited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        is_http = scope["type"] == "http"
        state = scope.setdefault("state", {})
        if is_http and scope["path"] in self._open_paths:
            state["route"] = scope["path"]
            await self._app(scope, receive, send)
            return
        asked = _asked(scope)
        match = self._routes.find(asked.method, asked.path)
        state["route"] = match.route
        answer = await self._authenticate(asked)
        refusal: Response | None
        if isinstance(answer, Principal):
            # Who was refused is known, too.
            state["principal"] = answer
            state["still_may"] = partial(self._still_may, asked, match)
            refusal = await self._authorise(asked, match, answer)
        else:
            refusal = answer
        if refusal is None:
            await self._app(scope, receive, send)
        elif is_http:
            page = self._door.find_refusal(asked, refusal.status_code) if self._door else None
            await (page or refusal)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _authenticate(self, asked: Asked) -> Principal | Response:
        """Return who asks, or the reply that refuses."""
        try:
            principal = await self._find_principal(asked)
        except ExpiredTokenError as error:
            return _unauthorized(f"{error}: use one that is valid (`runvis tokens new`)")
        except UnreachableError as error:
            return _unreachable(error)
        return self._refusal(asked) if principal is None else principal

    async def _still_may(self, asked: Asked, match: Match) -> bool:
        answer = await self._authenticate(asked)
        return isinstance(answer, Principal) and _find_refusal(match, answer) is None

    async def _authorise(self, asked: Asked, match: Match, principal: Principal) -> Response | None:
        """Return the reply that refuses; None for who may go on."""
        if principal is not LOCAL_PRINCIPAL and (wait := self._limiter.take(principal.name)):
            headers = {"Retry-After": str(math.ceil(wait))}
            return problem(429, "too-fast", "this token asks too fast: come again later", headers=headers)
        refusal = _find_refusal(match, principal)
        if refusal is None and self._audited is not None and asked.method in ("GET", "HEAD"):
            try:
                await run_in_threadpool(
                    record_access, self._audited, "read", f"{asked.method} {asked.path}", principal=principal.name
                )
            except UnreachableError as error:
                return _unreachable(error)
        return refusal

    async def _find_principal(self, asked: Asked) -> Principal | None:
        for authenticator in self._authenticators:
            principal = await authenticator.find_principal(asked)
            if principal is not None:
                return principal
        return None

    def _refusal(self, asked: Asked) -> Response:
        if not self._bearers.are_needed:
            match = self._routes.find(asked.method, asked.path)
            if match.scopes is None and is_loopback(_host_of(asked.headers)):
                return _no_route(match)
            return problem(
                403,
                "forbidden",
                "this server takes no tokens, so it serves only requests to a loopback address, and takes only "
                "application/json; to serve others, give it a token",
            )
        missing = b"authorization" not in asked.headers
        return _unauthorized("there is no bearer token" if missing else "the server doesn't take this token")


def _asked(scope: Scope) -> Asked:
    client = scope.get("client")
    return Asked(
        method=scope["method"] if scope["type"] == "http" else "WEBSOCKET",
        path=scope["path"],
        headers=dict(scope.get("headers", ())),
        query=scope.get("query_string", b"").decode("latin-1"),
        peer=client[0] if client else "",
    )


def _unauthorized(detail: str) -> Response:
    return problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def _unreachable(error: UnreachableError) -> Response:
    return problem(503, "store-unreachable", str(error), headers={"Retry-After": "5"})


def _find_refusal(match: Match, principal: Principal) -> Response | None:
    """Return the reply that refuses a principal; None if they may."""
    if match.scopes is None:
        return _no_route(match)
    missing = match.scopes - principal.scopes
    if missing:
        return problem(
            403,
            "no-scope",
            f"this needs a token for {name_scopes(missing)}, and yours is for {name_scopes(principal.scopes)}",
            needed=sorted(missing),
        )
    return None


def _no_route(match: Match) -> Response:
    if not match.methods:
        return problem(404, "no-such-path", "there is nothing at this path")
    allowed = ", ".join(sorted(match.methods))
    return problem(405, "method-not-allowed", f"this path takes {allowed}", headers={"Allow": allowed})


def _is_local(asked: Asked) -> bool:
    if not is_loopback(_host_of(asked.headers)):
        return False
    sends_json = asked.headers.get(b"content-type", b"").split(b";")[0].strip().lower() == _JSON
    return asked.method in ("GET", "HEAD") or sends_json


def _host_of(headers: Mapping[bytes, bytes]) -> str:
    host = headers.get(b"host", b"").decode("latin-1")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address means this machine only."""
    if host.lower() == "localhost":
        return True
    address = find_address(host)
    return address is not None and address.is_loopback


def find_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address as its network knows it; None for what is no address.

    Who comes by IPv4 to a server that listens on `::` is told of as `::ffff:` and the address.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
