"""A posted batch: from the bytes on the wire to items for the store, within limits."""

from __future__ import annotations

import zlib
from typing import Any, Final, NamedTuple, cast

import orjson
from pydantic import ValidationError
from starlette.requests import Request

from runvis_core.api.problems import ProblemError
from runvis_core.model.heartbeat import Heartbeat

MAX_WIRE_BYTES: Final = 1024 * 1024
MAX_BATCH_BYTES: Final = 10 * 1024 * 1024
"""What a gzip body may grow to."""
MAX_ITEMS: Final = 1000


class Batch(NamedTuple):
    """What a sender posted. The items are not read yet: that is the store's door."""

    items: list[Any]
    heartbeats: list[Heartbeat]
    faults: list[dict[str, Any]]
    """Heartbeats that are none: index and reason."""


async def read_body(request: Request) -> bytes:
    """Return the body as it came, at most `MAX_WIRE_BYTES` of it. Raises `ProblemError` for more."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_WIRE_BYTES:
            raise _too_large(f"the body has more than {MAX_WIRE_BYTES} bytes", max_bytes=MAX_WIRE_BYTES)
        parts.append(part)
    return b"".join(parts)


def parse_batch(body: bytes, encoding: str) -> Batch:
    """Return the batch that the body says. Raises `ProblemError`."""
    try:
        said = orjson.loads(_decoded(body, encoding))
    except orjson.JSONDecodeError as error:
        raise _no_batch(f"the body is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise _no_batch("the body is no JSON object")
    said = cast("dict[str, Any]", said)
    if not {"items", "events", "heartbeats"} & said.keys():
        raise _no_batch("the body has neither items nor events nor heartbeats")
    items = [*_list_of(said, "items"), *_list_of(said, "events")]
    beats = _list_of(said, "heartbeats")
    for name, given in (("items", items), ("heartbeats", beats)):
        if len(given) > MAX_ITEMS:
            raise _too_large(f"the batch has {len(given)} {name}, more than {MAX_ITEMS}", max_items=MAX_ITEMS)
    return Batch(items, *_heartbeats(beats))


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise ProblemError(
            415, "content-encoding", f"Content-Encoding {encoding!r} is not read here", allowed=["gzip", "identity"]
        )
    reader = zlib.decompressobj(wbits=31)
    try:
        # Bounded, so that a small body can't grow to fill the memory.
        data = reader.decompress(body, MAX_BATCH_BYTES + 1)
    except zlib.error as error:
        raise _no_batch(f"the body is no gzip: {error}") from error
    if len(data) > MAX_BATCH_BYTES:
        raise _too_large(f"the body has more than {MAX_BATCH_BYTES} bytes when decoded", max_bytes=MAX_BATCH_BYTES)
    if not reader.eof:
        raise _no_batch("the gzip body is cut short")
    return data


def _list_of(said: dict[str, Any], name: str) -> list[Any]:
    given = said.get(name, [])
    if not isinstance(given, list):
        raise _no_batch(f"{name} is no list", parameter=name)
    return cast("list[Any]", given)


def _heartbeats(given: list[Any]) -> tuple[list[Heartbeat], list[dict[str, Any]]]:
    beats: list[Heartbeat] = []
    faults: list[dict[str, Any]] = []
    for index, raw in enumerate(given):
        try:
            beats.append(Heartbeat.model_validate(raw))
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(str(part) for part in fault["loc"])
            faults.append({"index": index, "status": "refused", "field": field, "reason": fault["msg"]})
    return beats, faults


def _no_batch(detail: str, **more: Any) -> ProblemError:
    allowed = '{"items": [{"event": {…}, "bodies": {…}}, …], "heartbeats": […]} or {"events": [{…}, …]}'
    return ProblemError(400, "no-batch", f"{detail}; a batch is {allowed}", **more)


def _too_large(detail: str, **allowed: int) -> ProblemError:
    return ProblemError(413, "too-large", f"{detail}: send less at a time", allowed=allowed)
