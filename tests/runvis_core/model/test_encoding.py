from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runvis_core.errors import BodyMismatchError
from runvis_core.model.encoding import (
    MAX_ENTRY_BYTES,
    MAX_EVENT_BYTES,
    encode,
    entry_bytes,
    leaf_hash,
    read_item,
    seal,
    wire_item,
)
from runvis_core.model.event import ContextEvent, EventBase, StateEvent
from runvis_core.model.identity import timestamp
from runvis_core.model.state import State
from runvis_core.testing.factories import at, make
from runvis_core.testing.histories import histories

NO_SALT = b"\x00" * 16


@given(histories)
def test_a_sealed_event_comes_back_from_the_wire_byte_for_byte(history: list[EventBase]) -> None:
    for event in history:
        sealed = seal(event)
        back = read_item(orjson.loads(wire_item(sealed)))
        assert (back.data, back.bodies) == (sealed.data, sealed.bodies)
        assert back.event.event_id == event.event_id
        assert seal(back.event).data == sealed.data


def test_content_leaves_the_event_and_stays_as_salted_digest() -> None:
    event = make(ContextEvent, content={"parameters": {"name": "Ada"}})
    sealed = seal(event, salt=lambda: NO_SALT)
    digest = hashlib.sha256(NO_SALT + b'{"name":"Ada"}').hexdigest()
    assert b"Ada" not in sealed.data
    assert orjson.loads(sealed.data)["bodies"] == {"parameters": {"digest": digest, "size": 14}}
    assert sealed.bodies[0].content == b'{"name":"Ada"}'


def test_the_same_content_has_another_digest_each_time() -> None:
    event = make(ContextEvent, content={"parameters": {"name": "Ada"}})
    assert seal(event).bodies[0].digest != seal(event).bodies[0].digest


def test_inline_content_is_sealed_at_the_door() -> None:
    raw = {"kind": "note", "engine": "e", "deployment": "d", "witness": "worker", "occurred_at": "2026-11-24T08:00:00Z"}
    raw |= {"run_id": str(make(StateEvent, state="Running").run_id), "content": {"text": "seen"}}
    sealed = read_item({"event": raw})
    assert b"seen" not in sealed.data
    assert [body.content for body in sealed.bodies] == [b'"seen"']


def test_fields_that_this_version_does_not_know_stay_in_the_bytes() -> None:
    fields = orjson.loads(seal(make(StateEvent, state="Running")).data) | {"mood": "calm"}
    assert orjson.loads(read_item({"event": fields}).data)["mood"] == "calm"


def test_a_kind_that_this_version_does_not_know_is_kept_whole() -> None:
    fields = orjson.loads(seal(make(StateEvent, state="Running")).data) | {"kind": "telepathy", "state": {"any": 1}}
    sealed = read_item({"event": fields})
    assert sealed.event.kind == "telepathy"
    assert orjson.loads(sealed.data) == fields


@pytest.mark.parametrize("change", [{"content": '"other"'}, {"salt": "00" * 16}, {"salt": "not hex"}, {"salt": 7}])
def test_a_body_that_its_digest_does_not_hold_is_refused(change: dict[str, object]) -> None:
    item = orjson.loads(wire_item(seal(make(ContextEvent, content={"parameters": "mine"}))))
    (body,) = item["bodies"].values()
    body.update(change)
    with pytest.raises(BodyMismatchError, match=r"bodies\.parameters"):
        read_item(item)


def test_a_body_that_is_not_attached_is_refused() -> None:
    item = orjson.loads(wire_item(seal(make(ContextEvent, content={"parameters": "mine"}))))
    with pytest.raises(BodyMismatchError, match="not attached"):
        read_item({"event": item["event"]})


@pytest.mark.parametrize("item", [{}, {"event": None}, {"event": 7}, {"event": []}, {"event": {"kind": 7}}])
def test_what_is_no_event_is_refused(item: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        read_item(item)


def test_the_leaf_hash_is_over_exactly_the_bytes_of_the_entry() -> None:
    sealed = seal(make(StateEvent, state="Running"))
    entry = entry_bytes(sealed.data, recorded_at=timestamp(at(1)), principal=b'"me"', schema_version=1)
    assert leaf_hash(entry) == hashlib.sha256(b"\x00" + entry).digest()
    envelope = orjson.loads(entry)
    assert envelope.keys() == {"event", "principal", "recorded_at", "schema"}
    assert encode(envelope) == entry


def test_the_envelope_fits_around_the_largest_event() -> None:
    principal = encode("p" * 250)
    data = b"x" * MAX_EVENT_BYTES
    assert (
        len(entry_bytes(data, recorded_at=timestamp(at(0)), principal=principal, schema_version=1)) <= MAX_ENTRY_BYTES
    )


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5)))
def test_any_json_has_one_form_with_sorted_keys(value: dict[str, object]) -> None:
    assert encode(dict(reversed(value.items()))) == encode(value)


def test_what_json_cannot_say_is_said_as_near_as_possible() -> None:
    assert encode({"a": "\ud800", "b": 2**70}) == b'{"a":"?","b":1.1805916207174113e+21}'


class Moment(datetime):
    """A time of a class of its own, as pendulum's are."""


class Identifier(UUID):
    """An id of a class of its own, as a database driver's are."""


def test_times_and_ids_of_classes_of_their_own_are_said_like_all_others() -> None:
    moment = Moment(2026, 11, 24, 7, 0, tzinfo=timezone(timedelta(hours=1)))
    run_id = UUID(int=7)
    own = make(
        StateEvent, state=State.FAILED, occurred_at=moment, retry_expected_at=moment, run_id=Identifier(run_id.hex)
    )
    plain_moment = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
    plain = make(
        StateEvent, state=State.FAILED, occurred_at=plain_moment, retry_expected_at=plain_moment, run_id=run_id
    )
    assert seal(own).data == seal(plain).data
    assert b'"occurred_at":"2026-11-24T06:00:00.000000Z"' in seal(own).data
