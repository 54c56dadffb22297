from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runvis_core.errors import CursorError
from runvis_core.model.state import State
from runvis_core.services.cursors import one_form, read_cursor, read_moment, read_name, read_position, write_cursor
from runvis_core.services.filters import DefinitionFilter, RunFilter

PLACES = st.lists(st.text(), min_size=1, max_size=4)


@given(PLACES)
def test_a_cursor_gives_back_the_place_it_was_made_of(place: list[str]) -> None:
    try:
        cursor = write_cursor(place, of="runs", filters=RunFilter())
    except UnicodeError:
        pytest.fail("any text may be the name that a page ends with")
    assert read_cursor(cursor, of="runs", filters=RunFilter(), kinds=[str] * len(place)) == [
        part.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass") for part in place
    ]


@given(st.text(max_size=200))
def test_what_no_list_made_is_refused_and_never_breaks(text: str) -> None:
    with pytest.raises(CursorError, match="not made by this list"):
        read_cursor(text, of="runs", filters=RunFilter(), kinds=[str])


@given(PLACES, st.data())
def test_a_cursor_that_was_changed_anywhere_is_refused(place: list[str], data: st.DataObject) -> None:
    cursor = write_cursor(place, of="runs", filters=RunFilter())
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_=+/ "))
    changed = cursor[:at] + other + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(CursorError):
            read_cursor(changed, of="runs", filters=RunFilter(), kinds=[str] * len(place))


def test_a_cursor_belongs_to_its_list_and_its_filters() -> None:
    cursor = write_cursor(["1"], of="runs", filters=RunFilter(engine="airflow"))
    with pytest.raises(CursorError):
        read_cursor(cursor, of="runs", filters=RunFilter(engine="prefect"), kinds=[str])
    with pytest.raises(CursorError):
        read_cursor(cursor, of="definitions", filters=DefinitionFilter(engine="airflow"), kinds=[str])


def test_a_very_long_cursor_is_refused_before_it_is_read() -> None:
    with pytest.raises(CursorError):
        read_cursor("A" * 100_000, of="runs", filters=RunFilter(), kinds=[str])


def forged(data: bytes) -> str:
    """Return a cursor with the check that belongs to it: no secret is needed for that."""
    check = hashlib.sha256(b"\x00".join((b"runs", one_form(RunFilter()).encode(), data))).digest()[:12]
    return base64.urlsafe_b64encode(check + data).decode().rstrip("=")


NEAR = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["2026-11-24T08:00:00+00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
                       "9" * 5000, "-1", "9223372036854775808", "\x00", "00000000-0000-0000-0000-000000000000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
KINDS = st.lists(st.sampled_from([read_moment, read_position, read_name, UUID]), max_size=3)


@given(
    st.one_of(
        st.binary(max_size=60),
        NEAR.map(lambda said: json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")),
    ),
    KINDS,
)
@example(b"[" * 6000, [read_moment])
@example(b'{"a":' * 1000, [read_name])
@example(b'["9999-12-31T23:59:59-14:00"]', [read_moment])
@example(b'["' + b"9" * 5000 + b'"]', [read_position])
@example(b"[1]", [read_position])
@example(b"[[]]", [read_name])
def test_a_forged_cursor_is_a_place_of_the_list_s_kinds_or_refused(data: bytes, kinds: list[Any]) -> None:
    try:
        place = read_cursor(forged(data), of="runs", filters=RunFilter(), kinds=kinds)
    except CursorError:
        return
    assert len(place) == len(kinds)
    for part, kind in zip(place, kinds, strict=True):
        assert isinstance(part, {read_moment: datetime, read_position: int, read_name: str, UUID: UUID}[kind])


def test_a_cursor_is_good_for_the_same_question_written_otherwise() -> None:
    moment = datetime(2026, 11, 24, 8, tzinfo=UTC)
    one = RunFilter(state=[State.FAILED, State.RUNNING], since=moment)
    same = RunFilter(
        state=[State.RUNNING, State.FAILED, State.RUNNING], since=moment.astimezone(timezone(timedelta(hours=2)))
    )
    cursor = write_cursor(["a"], of="runs", filters=one)
    assert read_cursor(cursor, of="runs", filters=same, kinds=(str,)) == ["a"]
    with pytest.raises(CursorError):
        read_cursor(cursor, of="runs", filters=RunFilter(state=[State.FAILED], since=moment), kinds=(str,))
