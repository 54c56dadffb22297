"""From an event to the bytes that are spooled: redacted, bounded, its large and personal parts sealed into bodies."""

from __future__ import annotations

import os
from typing import Any, Final, NamedTuple

import orjson

from runvis_core.emit.redaction import MAX_ITEMS, Redactor, cut
from runvis_core.emit.structure import MAX_LISTED, fold_structure
from runvis_core.errors import RunVisError
from runvis_core.model.encoding import MAX_EVENT_BYTES, SALT_BYTES, body_digest, encode, event_fields
from runvis_core.model.event import EventBase, SnapshotEvent, StateEvent

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_BODY_TEXT_CHARACTERS: Final = 128 * 1024
"""The most that one text in a body may have: as JSON it is at most six times as many bytes."""
MAX_TEXT_CHARACTERS: Final = 16 * 1024
"""The most that one text among an event's own fields may have; longer ones belong into bodies."""

STRUCTURE: Final = "structure"
"""The body of a definition's tasks and edges, which is put together where others are cut off."""
_STAMP_BYTES: Final = 100
"""What the producer's id and the sequence number add to an event."""
_LIMITS: Final = ((MAX_TEXT_CHARACTERS, 10_000), (1_024, 200), (128, 30))
"""Longest text and most items: the first that makes an event small enough is taken."""


_ENDING_KINDS: Final = (StateEvent, SnapshotEvent)


class EventTooLargeError(RunVisError):
    """An event is too large, and nothing in it can be cut."""


class Parcel(NamedTuple):
    """An event and its bodies, all but its number."""

    before: bytes
    fields: bytes
    """The event's JSON text after its opening brace."""
    is_terminal: bool

    def stamped(self, stamp: bytes, number: int) -> bytes:
        """Return the wire item; `stamp` is the text of the producer's fields up to the number."""
        return b'%b"event":{%b%d,%b}' % (self.before, stamp, number, self.fields)


class Sealer:
    """Seals events by one redactor's rules."""

    def __init__(self, redactor: Redactor) -> None:
        self.team: str | None = None
        """The team that each event says it comes from."""
        self._redactor = redactor

    def seal(self, event: EventBase) -> Parcel:
        """Return an event ready to be numbered and kept. Raises `EventTooLargeError`."""
        fields = event_fields(event)
        # The stamp says them, once the event has its number.
        fields.pop("producer", None)
        fields.pop("sequence", None)
        if self.team is not None:
            fields["team"] = self.team
        content = event.content
        is_clear = self._redactor.clears(content, fields, max_characters=MAX_TEXT_CHARACTERS)
        before = self._seal_content(fields, content, is_clear=is_clear) if content else b"{"
        return Parcel(before, self._encode_fields(fields, is_clear=is_clear)[1:], _ends_a_run(event))

    def _seal_content(self, fields: dict[str, Any], content: dict[str, Any], *, is_clear: bool) -> bytes:
        is_clear = is_clear or self._redactor.clears(content, max_characters=MAX_BODY_TEXT_CHARACTERS)
        refs: dict[str, Any] = {**fields.get("bodies", {})}
        attached: dict[str, dict[str, str]] = {}
        # One draw for all: each asks the system.
        salts = os.urandom(SALT_BYTES * len(content))
        for number, (name, value) in enumerate(content.items()):
            said = value if is_clear else self._redact_body(name, value)
            data = encode(said)
            if len(data) > MAX_BODY_BYTES:
                data = encode(_shortened(name, said, data))
            salt = salts[number * SALT_BYTES : (number + 1) * SALT_BYTES]
            digest = body_digest(salt, data).hex()
            refs[name] = {"digest": digest, "size": len(data)}
            attached[digest] = {"content": data.decode(), "salt": salt.hex()}
        fields["bodies"] = refs
        return b'{"bodies":' + orjson.dumps(attached) + b","

    def _redact_body(self, name: str, value: Any) -> Any:
        most = MAX_LISTED if name == STRUCTURE else MAX_ITEMS
        return self._redactor.redact(value, name=name, max_characters=MAX_BODY_TEXT_CHARACTERS, max_items=most)

    def _encode_fields(self, fields: dict[str, Any], *, is_clear: bool) -> bytes:
        if is_clear or self._redactor.clears({}, fields, max_characters=MAX_TEXT_CHARACTERS):
            data = encode(fields)
            if len(data) <= MAX_EVENT_BYTES - _STAMP_BYTES:
                return data
        data = b""
        for max_characters, max_items in _LIMITS:
            data = encode(self._redactor.redact_fields(fields, max_characters=max_characters, max_items=max_items))
            if len(data) <= MAX_EVENT_BYTES - _STAMP_BYTES:
                return data
        raise EventTooLargeError(f"a {fields['kind']} event has {len(data):,} bytes, more than {MAX_EVENT_BYTES:,}")


def _shortened(name: str, said: Any, data: bytes) -> Any:
    """Return what is kept of a body that is too large."""
    if name == STRUCTURE and (folded := fold_structure(said, MAX_BODY_BYTES)) is not None:
        return folded
    start = cut(data.decode(), MAX_BODY_TEXT_CHARACTERS)
    return {"[cut]": f"{len(data):,} bytes of JSON, more than {MAX_BODY_BYTES:,}", "text": start}


def _ends_a_run(event: EventBase) -> bool:
    return isinstance(event, _ENDING_KINDS) and event.state is not None and event.state.is_terminal
