"""Which numbers of a producer came, and where a gap opened and closed."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from runvis_core.model.event import ProducerOpenedEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.store import tables as t
from runvis_core.store.database import Store
from runvis_core.store.log import SqlEventLog
from runvis_core.store.producers import (
    Gap,
    Ranges,
    add_numbers,
    count_numbers,
    find_gaps_of,
    find_holes,
    move_gaps,
    without_numbers,
)
from runvis_core.store.rebuild import rebuild_store
from runvis_core.testing.event_log_suite import seal_all
from runvis_core.testing.factories import a_run_id, at, make

numbers = st.lists(st.integers(0, 30), min_size=1, max_size=6)


def spread(ranges: Ranges) -> set[int]:
    return {number for low, high in ranges for number in range(low, high + 1)}


@given(st.lists(numbers, min_size=1, max_size=8))
def test_open_gaps_are_what_is_missing_and_closed_ones_what_came_late(batches: list[list[int]]) -> None:
    ranges: Ranges = []
    gaps: list[Gap] = []
    late: set[int] = set()
    for turn, batch in enumerate(batches):
        missing = spread(find_holes(ranges))
        after = add_numbers(ranges, batch)
        gaps = move_gaps(gaps, ranges, after, at(turn))
        late |= missing & set(batch)
        ranges = after
    still_open = [[gap.low, gap.high] for gap in gaps if gap.closed_at is None]
    closed = [[gap.low, gap.high] for gap in gaps if gap.closed_at is not None]
    assert spread(still_open) == spread(find_holes(ranges))
    assert spread(closed) == late
    assert count_numbers(still_open) == len(spread(still_open)), "no number is in two gaps"
    assert all(gap.noticed_at < gap.closed_at for gap in gaps if gap.closed_at is not None)


@given(numbers, numbers)
def test_numbers_are_taken_out_of_others(some: list[int], taken: list[int]) -> None:
    left = without_numbers(add_numbers([], some), add_numbers([], taken))
    assert spread(left) == set(some) - set(taken)


def test_what_was_refused_is_no_gap_and_an_untold_tail_is_one() -> None:
    text = orjson.dumps([[3, 5, "2026-11-24T08:00:00.000000Z", None]]).decode()
    found = find_gaps_of(text, [[3, 3], [5, 5], [9, 9]])
    assert [(gap.low, gap.high, bool(gap.noticed_at)) for gap in found] == [
        (3, 3, True),
        (5, 5, True),
        (9, 9, False),
    ]


def states(*told: int) -> list[Any]:
    return seal_all(
        make(StateEvent, producer=a_run_id("p"), sequence=number, state=State.RUNNING, seconds=number)
        for number in told
    )


def producer_row(store: Store) -> Any:
    with store.engine.connect() as connection:
        return connection.execute(select(t.producers)).one()


def test_a_gap_is_noticed_when_a_later_number_comes_and_closes_when_its_own_do(store: Store) -> None:
    clock = iter([at(0), at(60), at(3600), at(7200)])
    log = SqlEventLog(store.engine, clock=lambda: next(clock))
    log.append(states(0, 1), principal="test")
    log.append(states(5), principal="test")
    assert [gap[:2] for gap in orjson.loads(producer_row(store).gaps)] == [[2, 4]]
    log.append(states(3), principal="test")
    log.append(states(2, 4), principal="test")
    row = producer_row(store)
    gaps = [Gap(*gap) for gap in orjson.loads(row.gaps)]
    assert sorted((gap.low, gap.high, gap.noticed_at[11:16], (gap.closed_at or "")[11:16]) for gap in gaps) == [
        (2, 2, "08:01", "10:00"),
        (3, 3, "08:01", "09:00"),
        (4, 4, "08:01", "10:00"),
    ]
    assert row.last_heard_at == at(7200)
    rebuild_store(store)
    assert producer_row(store) == row


def test_a_producer_whose_numbers_come_in_order_has_no_gap(store: Store) -> None:
    opened = make(ProducerOpenedEvent, producer=a_run_id("p"), sequence=0, component="task")
    store.log.append([*seal_all([opened]), *states(1, 2)], principal="test")
    store.log.append(states(3), principal="test")
    assert producer_row(store).gaps is None
