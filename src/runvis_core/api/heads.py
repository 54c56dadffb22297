"""HEAD: what GET would answer, without its body."""

from __future__ import annotations

from typing import Final

from anyio import CancelScope
from anyio.lowlevel import checkpoint
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_IS_HEAD: Final = "runvis.is_head"


def is_head(request: Request) -> bool:
    """Return whether what is served as a GET was asked for by HEAD: its body goes to nobody."""
    return _IS_HEAD in request.scope


class Heads:
    """Lets a HEAD be served as a GET whose body nobody waits for: a stream's would have no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            # Who looks at the request from here on sees what it was: a server sends no body for it.
            scope["method"] = "HEAD"
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            serving.cancel()
            # Here it ends, before anything more is sent.
            await checkpoint()

        scope["method"] = "GET"
        scope[_IS_HEAD] = True
        try:
            with CancelScope() as serving:
                await self._app(scope, receive, answer)
        finally:
            scope["method"] = "HEAD"
