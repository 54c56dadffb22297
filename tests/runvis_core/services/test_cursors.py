from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.errors import CursorError
from runvis_core.services.cursors import read_cursor, write_cursor
from runvis_core.services.filters import DefinitionFilter, RunFilter

PLACES = st.lists(st.text(), min_size=1, max_size=4)


@given(PLACES)
def test_a_cursor_gives_back_the_place_it_was_made_of(place: list[str]) -> None:
    try:
        cursor = write_cursor(place, of="runs", filters=RunFilter())
    except UnicodeError:
        pytest.fail("any text may be the name that a page ends with")
    assert read_cursor(cursor, of="runs", filters=RunFilter()) == [
        part.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass") for part in place
    ]


@given(st.text(max_size=200))
def test_what_no_list_made_is_refused_and_never_breaks(text: str) -> None:
    with pytest.raises(CursorError, match="not made by this list"):
        read_cursor(text, of="runs", filters=RunFilter())


@given(PLACES, st.data())
def test_a_cursor_that_was_changed_anywhere_is_refused(place: list[str], data: st.DataObject) -> None:
    cursor = write_cursor(place, of="runs", filters=RunFilter())
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_=+/ "))
    changed = cursor[:at] + other + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(CursorError):
            read_cursor(changed, of="runs", filters=RunFilter())


def test_a_cursor_belongs_to_its_list_and_its_filters() -> None:
    cursor = write_cursor(["1"], of="runs", filters=RunFilter(engine="airflow"))
    with pytest.raises(CursorError):
        read_cursor(cursor, of="runs", filters=RunFilter(engine="prefect"))
    with pytest.raises(CursorError):
        read_cursor(cursor, of="definitions", filters=DefinitionFilter(engine="airflow"))


def test_a_very_long_cursor_is_refused_before_it_is_read() -> None:
    with pytest.raises(CursorError):
        read_cursor("A" * 100_000, of="runs", filters=RunFilter())
