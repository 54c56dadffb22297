"""The one serialised form of an event, its bodies and its entry; and the leaf hash over exactly those bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel

from runvis_core.errors import BodyMismatchError
from runvis_core.model.event import EventBase, parse_event
from runvis_core.model.identity import NIL, timestamp
from runvis_core.model.state import Relation, State, TriggerKind, Witness

MAX_ENTRY_BYTES: Final = 60 * 1024
"""The most that an entry may have, so that others' log formats, with their 16 bit lengths, can hold it."""
MAX_EVENT_BYTES: Final = MAX_ENTRY_BYTES - 1024
"""The most that a sealed event may have: the envelope needs the rest."""
SALT_BYTES: Final = 16

_SORTED: Final = orjson.OPT_SORT_KEYS
_NIL: Final = str(NIL)
_PLAIN: Final = frozenset({str, UUID, dict, tuple, int, float, bool, State, Witness, TriggerKind, Relation})
"""Classes that orjson encodes as we want them."""


class Body(NamedTuple):
    """A large or personal part of an event, kept beside the log."""

    digest: bytes
    salt: bytes
    content: bytes
    """The JSON text of the part, UTF-8."""


class SealedEvent(NamedTuple):
    """An event in its one serialised form, and the bodies whose digests it holds."""

    event: EventBase
    data: bytes
    bodies: tuple[Body, ...]


def random_salt() -> bytes:
    """Return a salt for one body."""
    return os.urandom(SALT_BYTES)


def body_digest(salt: bytes, content: bytes) -> bytes:
    """Return the salted digest by which an entry holds a body."""
    return hashlib.sha256(salt + content).digest()


def encode(value: Any) -> bytes:
    """Return the bytes of a JSON value: keys sorted, no white space. Lone surrogates become `?`."""
    try:
        return orjson.dumps(value, _json_default, _SORTED)
    except TypeError:
        return orjson.dumps(_without_surrogates(value), _json_default, _SORTED)


def _json_default(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_without_surrogates(str(key)): _without_surrogates(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return [_without_surrogates(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def event_fields(event: EventBase) -> dict[str, Any]:
    """Return what an event says, as `encode` takes it: without what it leaves at its default, and without content."""
    fields: dict[str, Any] = {"kind": event.kind, "event_id": event.event_id}
    values = event.__dict__
    for name in event.model_fields_set:
        if name != "content" and name != "event_id":
            value = values[name]
            # An engine's process seals on its own time: what is plain already, and most is, is told apart by its class.
            fields[name] = value if value.__class__ in _PLAIN else _plain(value)
    if "bodies" in fields:
        fields["bodies"] = {name: _plain(ref) for name, ref in event.bodies.items()}
    return fields


def _plain(value: Any) -> Any:
    # Also pendulum's times and asyncpg's ids, which orjson does not know.
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, BaseModel):
        return {name: _plain(item) for name, item in value.__dict__.items() if item is not None}
    return value


def seal(event: EventBase, *, salt: Callable[[], bytes] = random_salt, **stamp: Any) -> SealedEvent:
    """Move an event's content into bodies, and return its one serialised form.

    `stamp` overrides fields of the envelope (`producer`, `sequence`).
    """
    fields = event_fields(event)
    fields.update(stamp)
    bodies = tuple(_seal_content(fields, event.content, salt)) if event.content else ()
    return SealedEvent(event, encode(fields), bodies)


def _seal_content(fields: dict[str, Any], content: Mapping[str, Any], salt: Callable[[], bytes]) -> list[Body]:
    refs: dict[str, Any] = dict(fields.get("bodies", {}))
    bodies: list[Body] = []
    for name, value in sorted(content.items()):
        data, grain = encode(value), salt()
        body = Body(body_digest(grain, data), grain, data)
        refs[name] = {"digest": body.digest.hex(), "size": len(data)}
        bodies.append(body)
    fields["bodies"] = refs
    return bodies


def wire_item(sealed: SealedEvent) -> bytes:
    """Return a sealed event as the spool and the server's door have it: `{"event": …, "bodies": {digest: …}}`."""
    if not sealed.bodies:
        return b'{"event":' + sealed.data + b"}"
    bodies = {
        body.digest.hex(): {"content": body.content.decode("utf-8"), "salt": body.salt.hex()} for body in sealed.bodies
    }
    return b'{"bodies":' + orjson.dumps(bodies, option=_SORTED) + b',"event":' + sealed.data + b"}"


def read_item(item: Mapping[str, Any]) -> SealedEvent:
    """Return the sealed event that a wire item says; the inverse of `wire_item`.

    Fields that this version does not know stay in the bytes. Content that came inline is sealed here. Raises pydantic's
    `ValidationError` for what is no event, and `BodyMismatchError` for a body that its digest does not hold.
    """
    raw: Any = item.get("event")
    event = parse_event(raw)
    bodies = _attached_bodies(event, item.get("bodies") or {}) if event.bodies else []
    if _is_plain_id(raw.get("event_id")) and "content" not in raw:
        return SealedEvent(event, encode(raw), tuple(bodies))
    fields: dict[str, Any] = {**raw}
    fields["event_id"] = str(event.event_id)
    if fields.pop("content", None):
        bodies += _seal_content(fields, event.content, random_salt)
    return SealedEvent(event, encode(fields), tuple(bodies))


def _is_plain_id(given: Any) -> bool:
    """Return whether what was read as an id is written as entries have it: only that form has 36 characters."""
    return isinstance(given, str) and len(given) == 36 and given == given.lower() and given != _NIL


def _attached_bodies(event: EventBase, attached: Mapping[str, Any]) -> list[Body]:
    bodies: list[Body] = []
    for name, ref in sorted(event.bodies.items()):
        try:
            given = attached[ref.digest]
            content, salt = given["content"].encode("utf-8"), bytes.fromhex(given["salt"])
        except (KeyError, TypeError, AttributeError, ValueError):
            raise BodyMismatchError(name, "is not attached as {digest: {content, salt}}") from None
        digest = body_digest(salt, content)
        if digest.hex() != ref.digest or len(content) != ref.size:
            raise BodyMismatchError(name, "does not have the digest and size that the event holds")
        bodies.append(Body(digest, salt, content))
    return bodies


def entry_bytes(data: bytes, *, recorded_at: str, principal: bytes, schema_version: int) -> bytes:
    """Return the hashed envelope around an event's bytes.

    `recorded_at` is a `timestamp`, `principal` a JSON string with its quotes.
    """
    return b'{"event":%b,"principal":%b,"recorded_at":"%b","schema":%d}' % (
        data,
        principal,
        recorded_at.encode(),
        schema_version,
    )


def leaf_hash(entry: bytes) -> bytes:
    """Return the RFC 6962 leaf hash of an entry's bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()
