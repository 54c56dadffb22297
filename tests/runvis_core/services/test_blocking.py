"""What a failing definition holds up, as the overview's answer says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from sqlalchemy import event
from tests.runvis_core.lineage.tables import an_identity

from runvis_core.model.event import DatasetEvent, EventBase, StateEvent
from runvis_core.model.state import State
from runvis_core.services import blocking
from runvis_core.services.health import get_health
from runvis_core.services.stats_answers import DefinitionHealth
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, at, make

Record = Callable[[Store, Iterable[EventBase]], None]
LATER = at(3600)


def a_run(number: int, definition: str, state: State = State.SUCCEEDED, **fields: Any) -> list[EventBase]:
    run = a_run_id(str(number))
    return [
        an_identity(number, definition, seconds=number, **fields),
        make(StateEvent, run_id=run, seconds=number, state=State.RUNNING),
        make(StateEvent, run_id=run, seconds=number + 1, state=state),
    ]


def use(number: int, direction: str, name: str) -> EventBase:
    return make(DatasetEvent, run_id=a_run_id(str(number)), direction=direction, namespace="s3://lake", name=name)


def failing(store: Store) -> dict[str, DefinitionHealth]:
    return {one.definition: one for one in get_health(store, now=LATER).failing}


def names(one: DefinitionHealth) -> list[str]:
    return [node.name for node in one.blocks]


def test_what_reads_what_it_writes_and_what_it_starts_is_blocked_the_nearest_first(
    store: Store, record: Record
) -> None:
    record(store, [*a_run(0, "load", State.FAILED), use(0, "write", "sales")])
    record(store, [*a_run(1, "report"), use(1, "read", "sales"), use(1, "write", "pdf")])
    record(store, [*a_run(2, "mail"), use(2, "read", "pdf")])
    record(store, a_run(3, "audit", caused_by_run_id=a_run_id("0")))
    record(store, a_run(4, "elsewhere", State.FAILED))
    found = failing(store)
    assert names(found["load"]) == ["audit", "report", "mail"]
    assert (found["load"].blocks_count, found["load"].blocks_cut) == (3, False)
    assert (names(found["elsewhere"]), found["elsewhere"].blocks_count) == ([], 0)


def test_neither_a_step_inside_another_nor_the_failing_one_itself_is_told(store: Store, record: Record) -> None:
    record(store, [*a_run(0, "load", State.FAILED), use(0, "write", "sales"), use(0, "read", "sales")])
    record(store, a_run(1, "report"))
    record(store, [*a_run(2, "report.read", definition_kind="task", parent_run_id=a_run_id("1"))])
    record(store, [use(2, "read", "sales")])
    assert names(failing(store)["load"]) == ["report"]


def test_it_is_bounded_and_says_so(store: Store, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "MAX_FOUND", 7)
    record(store, a_run(0, "hub", State.FAILED))
    for number in range(1, 11):
        record(store, a_run(number, f"after {number:02}", caused_by_run_id=a_run_id("0")))
    (hub,) = failing(store).values()
    assert (len(hub.blocks), hub.blocks_count, hub.blocks_cut) == (blocking.SHOWN, 7, True)
    monkeypatch.setattr(blocking, "MAX_FOUND", 100)
    monkeypatch.setattr(blocking, "MAX_READ", 3)
    (hub,) = failing(store).values()
    assert (hub.blocks_count, hub.blocks_cut) == (3, True)


def test_it_costs_as_many_queries_for_many_as_for_one(store: Store, record: Record) -> None:
    queries: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *said: queries.append(said[2]))

    def count() -> int:
        failing(store)
        queries.clear()
        assert all(one.blocks_count for one in failing(store).values())
        return len(queries)

    counts: list[int] = []
    for first in (0, 2, 4, 6, 8):
        record(store, a_run(first, f"cause {first}", State.FAILED))
        record(store, a_run(first + 1, f"after {first}", caused_by_run_id=a_run_id(str(first))))
        counts.append(count())
    assert counts == counts[:1] * 5
