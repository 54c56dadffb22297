"""Each request has an id, which its reply and the log lines about it say."""

from __future__ import annotations

import logging
import re
import time
from typing import Final
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runvis_core.services import logs

REQUEST_ID: Final = "X-Request-ID"
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

_log = logging.getLogger(logs.REQUESTS)


class RequestLog:
    """Gives each request an id, the caller's own if it has one, says it in the reply, and logs what became of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or uuid4().hex
        token = logs.request_id.set(request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        # As it was asked for, whatever becomes of it inside.
        path = scope["path"]
        status = 500
        began = time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            said = {
                "method": scope["method"],
                "path": path,
                "status": status,
                "seconds": round(time.perf_counter() - began, 6),
                "principal": getattr(scope.get("state", {}).get("principal"), "name", None),
            }
            level = logging.WARNING if status >= 500 else logging.INFO
            escaped = path.encode("unicode_escape").decode()
            _log.log(level, "%s %s %d", scope["method"], escaped, status, extra=said)
            logs.request_id.reset(token)


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if _GIVEN_ID.fullmatch(text) else None
    return None
