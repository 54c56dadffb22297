"""A posted batch: from the bytes on the wire to items for the store, within limits."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple, cast

import orjson
from pydantic import ValidationError
from starlette.requests import Request

from runvis_core.api.problems import ProblemError
from runvis_core.model.decision import Binding
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.services.principals import find_binding_fault
from runvis_core.settings import LimitSettings


class Batch(NamedTuple):
    """What a sender posted. The items are not read yet: that is the store's door."""

    items: list[Any]
    heartbeats: list[tuple[int, Heartbeat]]
    """Each with its place among those that were sent."""
    faults: list[dict[str, Any]]
    """Heartbeats that are none, or not the sender's to tell: index and reason."""

    def of(self, binding: Binding) -> Batch:
        """Return the batch without the heartbeats that are not the sender's to tell."""
        beats: list[tuple[int, Heartbeat]] = []
        faults = list(self.faults)
        for index, beat in self.heartbeats:
            fault = find_binding_fault(binding, deployment=beat.deployment, witness=beat.witness, team=beat.team)
            if fault is None:
                beats.append((index, beat))
            else:
                faults.append({"index": index, "status": "refused", "field": fault[0], "reason": fault[1]})
        return self._replace(heartbeats=beats, faults=sorted(faults, key=lambda fault: fault["index"]))


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body as it came, at most `max_bytes` of it. Raises `ProblemError` for more."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(f"the body has more than {max_bytes} bytes", max_bytes=max_bytes)
        parts.append(part)
    return b"".join(parts)


def parse_batch(body: bytes, encoding: str, *, limits: LimitSettings) -> Batch:
    """Return the batch that the body says. Raises `ProblemError`."""
    try:
        said = orjson.loads(_decoded(body, encoding, limits.decoded_bytes))
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
        if len(given) > limits.batch_items:
            detail = f"the batch has {len(given)} {name}, more than {limits.batch_items}"
            raise _too_large(detail, max_items=limits.batch_items)
    return Batch(items, *_heartbeats(beats))


def _decoded(body: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise ProblemError(
            415, "content-encoding", f"Content-Encoding {encoding!r} is not read here", allowed=["gzip", "identity"]
        )
    reader = zlib.decompressobj(wbits=31)
    try:
        # Bounded, so that a small body can't grow to fill the memory.
        data = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise _no_batch(f"the body is no gzip: {error}") from error
    if len(data) > max_bytes:
        raise _too_large(f"the body has more than {max_bytes} bytes when decoded", max_bytes=max_bytes)
    if not reader.eof:
        raise _no_batch("the gzip body is cut short")
    if reader.unused_data:
        raise _no_batch("something follows the gzip body, and would be lost")
    return data


def _list_of(said: dict[str, Any], name: str) -> list[Any]:
    given = said.get(name, [])
    if not isinstance(given, list):
        raise _no_batch(f"{name} is no list", parameter=name)
    return cast("list[Any]", given)


def _heartbeats(given: list[Any]) -> tuple[list[tuple[int, Heartbeat]], list[dict[str, Any]]]:
    beats: list[tuple[int, Heartbeat]] = []
    faults: list[dict[str, Any]] = []
    for index, raw in enumerate(given):
        try:
            beats.append((index, Heartbeat.model_validate(raw)))
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
