"""A definition's grid of a past has what was there then; with the present as its moment it is today's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from runvis_core.model.event import DefinitionEvent, EventBase, LinkEvent
from runvis_core.model.identity import definition_version_id
from runvis_core.model.state import Relation, State
from runvis_core.services import grids
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.services.past_grids import get_grid_at
from runvis_core.services.paused import note_paused
from runvis_core.services.stats_answers import Grid
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
HOUR = 3600
NOW = at(9.5 * HOUR)

Shown = tuple[list[UUID | datetime | None], dict[str, list[Any]]]


def shown_of(grid: Grid) -> Shown:
    """Return what a page shows of a grid: its columns, and by step the state of each attempt of each cell."""
    return (
        [column.run.run_id if column.run else column.due_at for column in grid.columns],
        {
            row.step: [
                cell
                and ([(one.run_id, one.effective_state) for one in cell.attempts], [i.count for i in cell.instances])
                for cell in row.cells
            ]
            for row in grid.rows
        },
    )


def ask(store: Store, past: PastFilter = PRESENT, **asked: Any) -> Grid:
    return get_grid_at(store, "etl", DefinitionFilter(), past, now=NOW, **asked)


def a_version(number: int, *, begins: float, tasks: list[str]) -> EventBase:
    return make(
        DefinitionEvent,
        seconds=begins,
        definition="etl",
        definition_kind="dag",
        version=f"v{number}",
        schedule="@hourly",
        content={"structure": {"tasks": [{"id": task} for task in tasks], "edges": []}},
    )


def of_version(number: int) -> dict[str, Any]:
    return {"definition_version_id": definition_version_id(ENGINE, DEPLOYMENT, "etl", f"v{number}")}


@pytest.fixture
def told(store: Store, record: Record) -> Store:
    """Three hours with a run each, the last with tries of one step and instances of another; the third is missed."""
    record(store, [a_version(1, begins=-10, tasks=["load", "price"])])
    for hour in (0, 1, 3):
        record(store, a_run(f"r{hour}", begins=hour * HOUR + 5, seconds=600, said=of_version(1)))
    for attempt, state in enumerate((State.FAILED, State.SUCCEEDED), 1):
        load = {"definition": "etl.load", "kind": "task", "inside": "r3", "key": "r3/load", "attempt": attempt}
        record(store, a_run(f"load {attempt}", begins=3 * HOUR + 100 * attempt, state=state, **load))
    for index, state in enumerate((State.SUCCEEDED, State.FAILED, State.SUCCEEDED)):
        price = {"definition": "etl.price", "kind": "task", "inside": "r3", "key": f"r3/price/{index}"}
        record(store, a_run(f"price {index}", begins=3 * HOUR + 300 + index, state=state, **price))
    return store


def test_with_the_present_as_its_moment_it_is_the_grid_of_now(told: Store) -> None:
    now = ask(told)
    assert len(now.columns) == 9
    for past in (PastFilter(as_of=NOW), PastFilter(known_at=told.log.head().position, as_of=NOW)):
        assert shown_of(ask(told, past)) == shown_of(now)
        assert [column.run for column in ask(told, past).columns] == [column.run for column in now.columns]


def test_it_has_what_was_there_and_what_was_due_until_its_moment(told: Store) -> None:
    then = ask(told, PastFilter(as_of=at(3 * HOUR + 105)))
    assert shown_of(then) == (
        [a_run_id("r0"), a_run_id("r1"), at(2 * HOUR), a_run_id("r3")],
        {
            "load": [([], []), ([], []), None, ([(a_run_id("load 1"), State.RUNNING)], [])],
            "price": [([], [])] * 2 + [None, ([], [])],
        },
    )
    late = ask(told, PastFilter(as_of=at(6.5 * HOUR)))
    assert [column.due_at for column in late.columns][-2:] == [at(4 * HOUR), at(5 * HOUR)]
    # What is paused now says nothing of then.
    note_paused(told, ["etl"], engine=ENGINE, deployment=DEPLOYMENT)
    assert ask(told, PastFilter(as_of=at(6.5 * HOUR))) == late


def test_what_is_recorded_afterwards_changes_nothing_of_what_was_known(told: Store, record: Record) -> None:
    known = PastFilter(known_at=told.log.head().position)
    before = ask(told, known)
    record(told, [a_version(2, begins=4 * HOUR, tasks=["load", "price", "publish"])])
    record(told, a_run("r4", begins=4 * HOUR + 5, said=of_version(2)))
    again = {"definition": "etl.price", "kind": "task", "inside": "r3", "key": "r3/price/1", "attempt": 2}
    record(told, a_run("price 1 again", begins=4 * HOUR, **again))
    assert ask(told, known) == before
    assert ask(told) != before


def test_its_cursors_lead_to_the_runs_before_and_are_those_of_the_present(told: Store) -> None:
    past = PastFilter(as_of=NOW)
    newer = ask(told, past, limit=1)
    assert newer.next_cursor == ask(told, limit=1).next_cursor
    older = ask(told, past, limit=2, cursor=newer.next_cursor)
    assert shown_of(older)[0] == [a_run_id("r0"), a_run_id("r1"), at(2 * HOUR)]
    assert older.next_cursor is None


def test_of_very_many_steps_it_has_those_that_are_asked_for(told: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "MAX_STEPS", 1)
    then = ask(told, PastFilter(as_of=NOW), first_step=1)
    assert ([row.step for row in then.rows], then.step_count) == (["price"], 2)
    assert shown_of(then) == shown_of(ask(told, first_step=1))


def test_it_has_the_tries_that_a_reopened_run_keeps(told: Store, record: Record) -> None:
    record(told, a_run("again", begins=5 * HOUR))
    kept = {"run_id": a_run_id("again"), "seconds": 5 * HOUR + 1, "relation": Relation.CARRIED_OVER}
    record(told, [make(LinkEvent, target_run_id=a_run_id("load 2"), **kept)])
    record(told, [make(LinkEvent, target_native_key="r3/price/0", **kept)])
    then = shown_of(ask(told, PastFilter(as_of=NOW)))
    assert then == shown_of(ask(told))
    column = then[0].index(a_run_id("again"))
    assert then[1]["load"][column] == ([(a_run_id("load 2"), State.SUCCEEDED)], [])
    assert then[1]["price"][column] == ([(a_run_id("price 0"), State.SUCCEEDED)], [])
