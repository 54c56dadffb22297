"""The files that pages refer to: ours alone, each named by its content, so that a browser may keep it for good."""

from __future__ import annotations

import gzip
from hashlib import sha256
from importlib.resources import files
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PREFIX: Final = "/static/"
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}
FILES: Final = ("runvis.css", "runvis.js", "icon.svg")


class Asset(NamedTuple):
    """A file as it is served."""

    path: str
    media_type: str
    content: bytes
    compressed: bytes


def _read(name: str) -> Asset:
    content = files("runvis_core.web").joinpath("static", name).read_bytes()
    stem, _, suffix = name.rpartition(".")
    path = f"{PREFIX}{stem}.{sha256(content).hexdigest()[:16]}.{suffix}"
    return Asset(path, _TYPES[suffix], content, gzip.compress(content, 9, mtime=0))


ASSETS: Final = {name: _read(name) for name in FILES}


def path_of(name: str) -> str:
    """Return the path of a file, with the digest of its content in it."""
    return ASSETS[name].path


def asset_routes() -> list[Route]:
    """Return a route for each file, and for none that doesn't exist."""
    return [Route(asset.path, _serve(asset), methods=["GET"]) for asset in ASSETS.values()]


def _serve(asset: Asset):
    async def serve(request: Request) -> Response:
        headers = {**_HEADERS}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    return serve
