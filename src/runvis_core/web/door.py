"""How a browser comes in: by a cookie that a token was turned into, or by who a trusted proxy says it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Scope

from runvis_core.api.tokens import Tokens, read_tokens
from runvis_core.errors import SettingsError
from runvis_core.services.sessions import Session, find_session
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.web.assets import ASSETS
from runvis_core.web.rendering import HEADERS

COOKIE: Final = "runvis_session"
SIGN_IN: Final = "/sign-in"
_SAFE_METHODS: Final = ("GET", "HEAD")
_LONGEST_NAME: Final = 200

Headers = Mapping[bytes, bytes]


class BrowserDoor:
    """Finds whom a browser's request comes from.

    A browser sends cookies, and a proxy its header, whoever made it ask: so what is no plain reading must come from a
    page of ours.
    """

    open_paths: frozenset[str] = frozenset({SIGN_IN, *(asset.path for asset in ASSETS.values())})

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._tokens: Tokens = read_tokens(settings)
        self._header = (settings.server.identity_header or "").lower().encode()
        self._proxies = settings.server.trusted_proxies
        if self._header and not self._tokens:
            raise SettingsError(
                "RUNVIS__SERVER__IDENTITY_HEADER is set and no token is: without one the server lets in whoever asks "
                "from this machine, and so the proxy's every caller; set RUNVIS_TOKEN or RUNVIS__SERVER__TOKENS"
            )

    async def find_session_principal(self, scope: Scope) -> str | None:
        """Return whom a request without a bearer token comes from; None if that is nobody, or is not theirs to send."""
        headers = dict(scope.get("headers", ()))
        if scope.get("method") not in _SAFE_METHODS and not is_same_origin(headers):
            return None
        person = self._person_named_by_proxy(scope, headers)
        if person is not None:
            return person
        secret = cookie_of(headers)
        if secret is None:
            return None
        session = await run_in_threadpool(find_session, self._store, secret, now=datetime.now(UTC))
        if session is None or not self._is_still_taken(session):
            return None
        scope.setdefault("state", {})["session"] = session
        return session.principal

    def find_refusal(self, scope: Scope) -> ASGIApp | None:
        """Return what is said to a browser that is refused; None for other callers."""
        headers = dict(scope.get("headers", ()))
        if scope.get("method") not in _SAFE_METHODS or b"text/html" not in headers.get(b"accept", b""):
            return None
        if scope["path"].startswith("/api/"):
            return None
        if cookie_of(headers) is None and headers.get(b"sec-fetch-site") == b"cross-site":
            # A browser sends the cookie with no link that stands elsewhere: asked again from here, it does.
            return Response(_AGAIN, media_type="text/html", headers=HEADERS)
        asked_for = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        return RedirectResponse(f"{SIGN_IN}?to={quote(asked_for, safe='')}", status_code=303, headers=HEADERS)

    def _is_still_taken(self, session: Session) -> bool:
        return self._tokens.find_digest(session.principal) == session.token_digest

    def _person_named_by_proxy(self, scope: Scope, headers: Headers) -> str | None:
        if not self._header or self._header not in headers or not self._comes_from_proxy(scope):
            return None
        name = headers[self._header].decode("latin-1").strip()
        is_name = 0 < len(name) <= _LONGEST_NAME and name.isprintable()
        # No person may pass for a token by their name.
        return f"person:{name}" if is_name else None

    def _comes_from_proxy(self, scope: Scope) -> bool:
        try:
            peer = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(peer in network for network in self._proxies)


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
