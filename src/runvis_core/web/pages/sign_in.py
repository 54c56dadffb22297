"""Signing in, and out: a token becomes a cookie, and is not kept."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runvis_core.api.access import BearerTokens
from runvis_core.api.state import principal_of, state_of
from runvis_core.model.decision import Scope
from runvis_core.services.sessions import LIFETIME, close_session, find_session, open_session
from runvis_core.services.tokens import token_digest
from runvis_core.web.door import SIGN_IN, SIGN_OUT, cookie_of, is_same_origin
from runvis_core.web.page import store_of
from runvis_core.web.rendering import COOKIE, redirect, render

_LONGEST_FORM: Final = 8192
_SECONDS: Final = int(LIFETIME.total_seconds())


def sign_in_routes(bearers: BearerTokens) -> list[Route]:
    """Return the routes of signing in and out."""

    async def show(request: Request) -> Response:
        return _form(request, _within(request.query_params.get("to")))

    async def sign_in(request: Request) -> Response:
        if not is_same_origin(dict(request.scope["headers"])):
            return _form(request, "/", fault="This form was sent from elsewhere. Sign in here.", status=403)
        given = await _read_form(request)
        to = _within(given.get("to"))
        digest = token_digest(given.get("token", "").strip())
        principal = await bearers.find_by_digest(digest)
        if principal is None:
            # That somebody tried is in the server's log and numbers alone: whoever can ask could fill the store's.
            return _form(request, to, fault="The server doesn't take this token. Is it whole?", status=403)
        # The door is open here, so nobody has said yet who asks.
        request.state.principal = principal
        if Scope.READ not in principal.scopes:
            return _form(request, to, fault="This token is not for reading; take one that is.", status=403)
        await _end_earlier(request, bearers)
        opened = partial(open_session, store_of(request), digest, principal=principal.name, now=datetime.now(UTC))
        secret = await run_in_threadpool(opened)
        return _with_cookie(request, to, secret, _SECONDS)

    async def sign_out(request: Request) -> Response:
        # Who comes here with a cookie was let through by the door, which looks where the request comes from.
        secret = cookie_of(dict(request.scope["headers"]))
        if secret is not None:
            who = principal_of(request).name
            await run_in_threadpool(close_session, store_of(request), secret, principal=who)
        return _with_cookie(request, SIGN_IN, "", 0)

    return [
        Route(SIGN_IN, show, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        Route(SIGN_OUT, sign_out, methods=["POST"]),
    ]


async def _end_earlier(request: Request, bearers: BearerTokens) -> None:
    """End the session whose cookie is about to be overwritten: nobody could sign out of it any more."""
    secret = cookie_of(dict(request.scope["headers"]))
    if secret is None:
        return
    digest = await run_in_threadpool(find_session, store_of(request), secret, now=datetime.now(UTC))
    who = await bearers.find_by_digest(digest) if digest is not None else None
    if who is not None:
        await run_in_threadpool(close_session, store_of(request), secret, principal=who.name)


def _form(request: Request, to: str, *, fault: str | None = None, status: int = 200) -> Response:
    return render(request, "sign_in.html", status=status, to=to, fault=fault, hours=_SECONDS // 3600)


async def _read_form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=10))


def _within(to: str | None) -> str:
    """Return a path of ours to go on to: never another site's address."""
    is_ours = to is not None and to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable()
    return to if to is not None and is_ours else "/"


def _with_cookie(request: Request, to: str, value: str, seconds: int) -> Response:
    response = redirect(to)
    public_url = state_of(request).settings.public_url or ""
    is_secure = (
        request.url.scheme == "https"
        or request.headers.get("x-forwarded-proto") == "https"
        or public_url.startswith("https://")
    )
    response.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=is_secure, httponly=True, samesite="strict")
    return response
