from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.cli.output import to_json
from runvis_core.cli.text import clean, name_duration

HARMLESS = set(range(0x20, 0x7F)) | set(range(0xA0, 0x61C))


def unsafe(text: str) -> list[str]:
    return [char for char in text if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u202e\u2066\u200f\u2028"]


@given(st.text())
def test_cleaned_text_gives_no_orders_to_a_terminal(text: str) -> None:
    assert unsafe(clean(text)) == []
    assert set(unsafe(clean(text, keep_lines=True))) <= {"\n", "\t"}
    clean(text).encode()


@given(st.text(alphabet=st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_keeps_its_meaning_and_gives_no_orders_to_a_terminal(value: Any) -> None:
    said = to_json(value)
    assert unsafe(said) == []
    assert json.loads(said) == value


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (3661, "1 h 1 min"),
        (90000, "1 d 1 h"),
        (-2.5, "-2.5 s"),
        (-90, "-1 min 30 s"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float | None, said: str) -> None:
    assert name_duration(seconds) == said
