"""How a browser comes in: by a cookie that a token was turned into, or by who a trusted proxy says it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from runvis_core.api.access import Asked, BearerTokens, find_address
from runvis_core.api.tokens import has_bearer, read_tokens
from runvis_core.errors import SettingsError
from runvis_core.model.decision import Scope as TokenScope
from runvis_core.services.principals import PERSON, Principal
from runvis_core.services.sessions import find_session
from runvis_core.services.tokens import last_token_change
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.web.assets import ASSETS
from runvis_core.web.rendering import COOKIE, HEADERS, render

READ_ONLY: Final = frozenset({TokenScope.READ})
SIGN_IN: Final = "/sign-in"
SIGN_OUT: Final = "/sign-out"
_SAFE_METHODS: Final = ("GET", "HEAD")
_LONGEST_NAME: Final = 200

Headers = Mapping[bytes, bytes]


class BrowserDoor:
    """Finds whom a browser's request comes from, by its cookie or by what a trusted proxy says.

    A session may what its token may, a person what the settings say of them, else read. A browser sends cookies, and a
    proxy its header, whoever made it ask: so what is no plain reading must come from a page of ours.
    """

    open_paths: frozenset[str] = frozenset({SIGN_IN, *(asset.path for asset in ASSETS.values())})

    def __init__(
        self, store: Store, settings: Settings, bearers: BearerTokens, routes: Mapping[tuple[str, str], TokenScope]
    ) -> None:
        self.routes = routes
        self._store = store
        self._bearers = bearers
        self._header = (settings.server.identity_header or "").lower().encode()
        self._proxies = settings.server.trusted_proxies
        self._person_scopes = {
            name: frozenset(map(TokenScope, scopes)) for name, scopes in settings.server.person_scopes.items()
        }
        if self._header and not read_tokens(settings) and not last_token_change(store):
            raise SettingsError(
                "RUNVIS__SERVER__IDENTITY_HEADER is set and there is no token: without one the server lets in whoever "
                "asks from this machine, and so the proxy's every caller; issue one (`runvis tokens new`), or set "
                "RUNVIS_TOKEN or RUNVIS__SERVER__TOKENS"
            )

    async def find_principal(self, asked: Asked) -> Principal | None:
        """Return who asks; None if that is nobody, or is not theirs to send, or a bearer token says who it is."""
        if has_bearer(asked.headers) or not _is_theirs(asked):
            return None
        name = self._name_said_by_proxy(asked)
        if name is not None:
            # No person may pass for a token by their name.
            return Principal(f"{PERSON}{name}", self._person_scopes.get(name, READ_ONLY))
        secret = cookie_of(asked.headers)
        if secret is None:
            return None
        digest = await run_in_threadpool(find_session, self._store, secret, now=datetime.now(UTC))
        return await self._bearers.find_by_digest(digest) if digest is not None else None

    def find_refusal(self, asked: Asked, status: int) -> ASGIApp | None:
        """Return what is said to a browser that is refused with a status; None for other callers."""
        if b"text/html" not in asked.headers.get(b"accept", b""):
            return None
        if (asked.method, asked.path, status) == ("POST", SIGN_OUT, 401) and is_same_origin(asked.headers):
            # The session ended before its page was left.
            return RedirectResponse(SIGN_IN, status_code=303, headers=HEADERS)
        if asked.method not in _SAFE_METHODS or asked.path.startswith(("/api/", "/health/", "/metrics")):
            return None
        if status == 404:
            return _no_such_page
        if status != 401:
            return None
        if cookie_of(asked.headers) is None and asked.headers.get(b"sec-fetch-site") == b"cross-site":
            # A browser sends the cookie with no link that stands elsewhere: asked again from here, it does.
            return Response(_AGAIN, media_type="text/html", headers=HEADERS)
        asked_for = asked.path + (f"?{asked.query}" if asked.query else "")
        return RedirectResponse(f"{SIGN_IN}?to={quote(asked_for, safe='')}", status_code=303, headers=HEADERS)

    def _name_said_by_proxy(self, asked: Asked) -> str | None:
        if not self._header or self._header not in asked.headers or not self._comes_from_proxy(asked):
            return None
        name = _text_of(asked.headers[self._header]).strip()
        return name if 0 < len(name) <= _LONGEST_NAME and name.isprintable() else None

    def _comes_from_proxy(self, asked: Asked) -> bool:
        peer = find_address(asked.peer)
        return peer is not None and any(peer in network for network in self._proxies)


def _text_of(value: bytes) -> str:
    """Return what a header says: in UTF-8, which proxies send names in, or as headers were first written."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _is_theirs(asked: Asked) -> bool:
    return asked.method in _SAFE_METHODS or is_same_origin(asked.headers)


async def _no_such_page(scope: Scope, receive: Receive, send: Send) -> None:
    said: dict[str, Any] = {"title": "There is no such page", "detail": "No page has this address."}
    said |= {"parameter": None, "back": None, "near": []}
    await render(Request(scope), "error.html", status=404, **said)(scope, receive, send)


_AGAIN: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>RunVis</title>'
    '<meta http-equiv="refresh" content="0"></head><body><main><h1>RunVis</h1>'
    '<p><a href="">Go on</a></p></main></body></html>'
)


def cookie_of(headers: Headers) -> str | None:
    """Return the secret in a request's cookie, or None."""
    try:
        cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


def is_same_origin(headers: Headers) -> bool:
    """Return whether a browser made this request for a page of ours; browsers say so, and pages can't forge it."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin.decode("latin-1")).netloc == headers.get(b"host", b"").decode(
        "latin-1"
    )
