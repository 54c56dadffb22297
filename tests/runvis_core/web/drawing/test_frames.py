"""What frames enclose, and where their titles stand."""

from __future__ import annotations

from runvis_core.web.drawing.frames import FRAME, TITLE, Rect, enclose, place_titles

NODES = [Rect(100, 100, 200, 132), Rect(300, 100, 400, 132)]
WAY = Rect(200, 60, 300, 60)
PLACE = Rect(100, 100, 500, 200)


def test_a_frame_encloses_the_ways_between_its_nodes() -> None:
    assert enclose(NODES, [WAY], []) == Rect(100 - FRAME, 60 - FRAME, 400 + FRAME, 132 + FRAME)


def test_a_frame_takes_in_no_other_node_for_the_sake_of_a_way() -> None:
    assert enclose(NODES, [WAY], [Rect(210, 50, 290, 82)]) == enclose(NODES, [], [])


def test_a_title_stands_over_its_frame_where_nothing_else_is() -> None:
    (title,) = place_titles([(PLACE, "Loop", 80)], [Rect(0, 0, 90, 300)])
    assert (title.x, title.y) == (108, 95)


def test_a_title_moves_aside_for_a_line_that_comes_into_the_frame() -> None:
    (title,) = place_titles([(PLACE, "Loop", 80)], [Rect(150, 50, 150, 110)])
    assert 150 < title.x <= 500 - 80
    assert title.y == 95


def test_a_title_stands_higher_where_a_line_takes_the_whole_edge() -> None:
    (title,) = place_titles([(PLACE, "Loop", 80)], [Rect(100, 92, 500, 92)])
    assert (title.x, title.y) == (108, 95 - TITLE)


def test_titles_of_frames_at_one_place_stand_over_one_another() -> None:
    narrow = Rect(100, 100, 190, 200)
    first, second = place_titles([(narrow, "Loop", 80), (narrow, "Loop", 80)], [])
    assert (first.y, second.y) == (95, 95 - TITLE)
