"""Names in paths: what is encoded in a path belongs to the name, an encoded slash and a line's end too."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote, unquote, unquote_to_bytes

from fastapi import Path
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send

API: Final = "/api/v1"

RunName = Annotated[
    str, Path(description="The run's id or the beginning of it, a native id, an alias, or a correction's id.")
]
DefinitionName = Annotated[str, Path(description="The definition's whole name.")]

_NAMED: Final = tuple(f"{API}/{kind}/" for kind in ("runs", "definitions", "proofs"))
"""Where a name stands in the path."""
_PLAIN: Final = "!$&'()*+,;=:@"
"""What a segment of a path may say as it is (RFC 3986)."""


class NameConvertor(Convertor[str]):
    """A name in a path as `RawNames` leaves it; one with slashes that nobody encoded is taken all the same."""

    regex = ".+"

    def convert(self, value: str) -> str:
        """Return the name."""
        return unquote(value)

    def to_string(self, value: str) -> str:
        """Return the part of a path that says the name."""
        return quote(value, safe="")


register_url_convertor("name", NameConvertor())


class RawNames:
    """Leaves a path encoded where names stand in it, so that routes are told by the slashes that nobody encoded.

    A server decodes a path before anybody sees it; then the run `x/tree` is the tree of the run `x`. Who looks at the
    path after this, the lock too, sees the same.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"].startswith(_NAMED):
            # Not every server says how the path was written.
            raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
            # Each segment in one form: a letter that somebody encoded is that letter.
            segments = (unquote_to_bytes(segment) for segment in raw.partition(b"?")[0].split(b"/"))
            scope["path"] = "/".join(quote(segment, safe=_PLAIN) for segment in segments)
        await self._app(scope, receive, send)
