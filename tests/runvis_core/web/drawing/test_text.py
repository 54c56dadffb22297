from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.web.drawing.text import (
    count_of,
    exact_moment,
    first_line,
    name_age,
    name_duration,
    name_moment,
    safe,
    shorten,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.0349, "35 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (4.21, "4.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 m 0 s"),
        (134.2, "2 m 14 s"),
        (3600, "1 h 0 m"),
        (93_784, "1 d 2 h"),
        (-134, "−2 m 14 s"),
    ],
)
def test_a_duration_is_said_in_two_units(seconds: float | None, said: str) -> None:
    assert name_duration(seconds) == said


@given(st.floats(0, 1e9, allow_nan=False))
def test_a_duration_never_has_more_than_two_units(seconds: float) -> None:
    assert len(name_duration(seconds).split()) in (2, 4)


def test_a_moment_says_no_more_of_its_day_than_it_takes() -> None:
    assert name_moment(NOW - timedelta(hours=3), now=NOW) == "09:00:00"
    assert name_moment(NOW - timedelta(days=3), now=NOW) == "21 Nov 12:00:00"
    assert name_moment(NOW - timedelta(days=365), now=NOW) == "24 Nov 2025 12:00:00"
    assert exact_moment(NOW) == "2026-11-24T12:00:00Z"


def test_an_age_counts_to_either_side() -> None:
    assert name_age(NOW - timedelta(minutes=5), now=NOW) == "5 m 0 s ago"
    assert name_age(NOW + timedelta(minutes=5), now=NOW) == "5 m 0 s ahead of now"
    assert name_age(None, now=NOW) == "never"


def test_numbers_agree_with_their_nouns() -> None:
    assert [count_of(number, "run") for number in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
    assert count_of(2, "entry", "entries") == "2 entries"


def test_the_first_line_is_the_first_that_says_something() -> None:
    assert first_line("\n  \n upstream returned 0 rows \nmore") == "upstream returned 0 rows"
    assert first_line(None) == ""


@given(st.text(st.characters(categories=["L", "N", "Cc", "Cf", "Cs", "P"])))
def test_text_on_a_page_has_nothing_that_reorders_it_or_that_a_page_may_not_hold(text: str) -> None:
    said = safe(text)
    kept = {char for char in said if unicodedata.category(char) in ("Cc", "Cs")}
    assert kept <= {"\t", "\n", "\r"}
    assert not {char for char in said if unicodedata.bidirectional(char) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI")}
    assert said.encode().decode() == said


def test_plain_text_stays_as_it_is() -> None:
    assert safe("Zürich <b> שלום 🙂\n") == "Zürich <b> שלום 🙂\n"
    assert safe("a\u202eb\x00") == "a\\u202eb\\x00"


@given(st.text(max_size=400), st.integers(8, 300))
def test_shortened_text_keeps_its_beginning_and_its_end(text: str, longest: int) -> None:
    said = shorten(text, longest)
    assert len(said) <= max(longest, 1)
    assert said == text or (said[0] == text[0] and said[-1] == text[-1])
