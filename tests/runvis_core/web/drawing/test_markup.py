"""Pieces of pages that are written without a template: they say what a template would, as safely."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from runvis_core.model.state import State
from runvis_core.web.drawing.grid import Cell, Head, Mark
from runvis_core.web.drawing.looks import look_of
from runvis_core.web.drawing.markup import fall_row, grid_cells, span
from runvis_core.web.drawing.waterfall import Bar, Row

HOSTILE = '</bdi><script>"&\u202e'
SPELLED = "&lt;/bdi&gt;&lt;script&gt;&#34;&amp;\\u202e"
RUN_ID = UUID(int=7)
LOOK = look_of(State.FAILED)
BAR = Bar("ran", "failed", "0%", "9%", "ran")


NOW = datetime(2026, 11, 24, 22, tzinfo=UTC)


def a_row(**said: object) -> Row:
    row = Row(
        run_id=RUN_ID, label=HOSTILE, engine=HOSTILE, kind=None, depth=1, look=LOOK, attempts=[(1, RUN_ID, LOOK)],
        waited_seconds=None, ran_seconds=2.0, bars=[BAR], after_seconds=None, is_critical=False, is_caused=False,
        crosses=True, clock_suspect=False, folded=0, folded_failed=0, folded_in=None,
    )  # fmt: skip
    return row._replace(**said)  # pyright: ignore[reportArgumentType]


def test_a_range_says_the_days_of_both_its_ends_or_of_none() -> None:
    evening, day_before = NOW - timedelta(hours=1), NOW - timedelta(days=1)
    assert "from 21:00:00 to 22:00:00" in span(evening, NOW, now=NOW).striptags()
    assert "from 23 Nov 22:00:00 to 24 Nov 22:00:00" in span(day_before, NOW, now=NOW).striptags()
    assert "from 24 Nov 21:00:00 to 24 Nov 22:00:00" in span(evening, NOW, now=NOW + timedelta(days=1)).striptags()


def test_names_in_a_row_are_text() -> None:
    drawn = fall_row(a_row(), "?known_at=3&as_of=4")
    assert "<script" not in drawn
    assert drawn.count(SPELLED) == 2
    assert f'href="/runs/{RUN_ID}?known_at=3&amp;as_of=4"' in drawn


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"folded": 4, "folded_failed": 2}, "+4 inside, 2 failed"),
        ({"attempts": [(1, RUN_ID, LOOK), (None, RUN_ID, LOOK)]}, 'aria-label="attempt 2: Failed"'),
        ({"clock_suspect": True}, "A clock was off"),
        ({"is_caused": True}, "started "),
        ({"bars": [], "after_seconds": 61.0}, "1 m 1 s after the end of this"),
        ({"is_critical": True}, 'class="d1 critical crosses"'),
    ],
    ids=["folded", "attempts", "clock", "started", "after", "critical"],
)
def test_a_row_says_what_is_known_of_it(said: dict[str, object], expected: str) -> None:
    assert expected in fall_row(a_row(**said), "")


def test_each_cell_under_a_run_that_is_absent_is_dashed() -> None:
    head = Head(None, None, None, False, None, "0%", "0%", "")
    assert grid_cells([Cell([], False, "", "")] * 2, [head, head], "") == '<td class="absent"></td>' * 2


def test_cells_of_a_step_stand_under_their_heads() -> None:
    head = Head(None, None, None, False, None, "0%", "0%", "")
    cells = [
        Cell([], False, "", ""),
        Cell([], True, HOSTILE, ""),
        Cell([Mark(LOOK, RUN_ID)], False, HOSTILE, "+3"),
    ]
    drawn = grid_cells(cells, [head._replace(is_new_version=True), head, head], "")
    assert "<script" not in drawn
    assert drawn.startswith('<td class="changed"></td><td class="absent" title="')
    assert drawn.count(SPELLED) == 3
    assert '<span class="quiet">+3</span>' in drawn
