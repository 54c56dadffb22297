"""Each lineage row that the log does not support is named, and each that is lacking."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.runvis_core.lineage.tables import an_identity, histories

from runvis_core.lineage import checking
from runvis_core.lineage.step import LineageStep
from runvis_core.model.encoding import seal
from runvis_core.model.event import DatasetEvent, EventBase
from runvis_core.services.verification import verify_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.steps import advance, catch_up
from runvis_core.testing.factories import a_run_id, make

Record = Callable[[Store, Iterable[EventBase]], None]
STEP = LineageStep()


def problems(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return list(STEP.check(connection))


@pytest.fixture
def told(store: Store, record: Record) -> Store:
    """Two definitions that start one another in turn, one of which writes what the other reads."""
    causes = ({"caused_by_run_id": a_run_id(str(number - 1))} if number else {} for number in range(6))
    runs = [an_identity(number, "ab"[number % 2], **cause) for number, cause in enumerate(causes)]
    dataset = {"namespace": "s3://lake", "name": "sales"}
    uses = [
        make(DatasetEvent, run_id=a_run_id(str(number)), direction=direction, **dataset)
        for number, direction in ((0, "write"), (1, "read"), (2, "write"))
    ]
    record(store, [*runs, *uses])
    catch_up(store, [STEP])
    return store


def test_what_the_step_wrote_is_supported_also_where_it_is_behind(told: Store, record: Record) -> None:
    assert problems(told) == []
    record(told, [an_identity(7, "c"), an_identity(8, "d")])
    assert problems(told) == []
    advance(told, STEP, limit=1)
    assert problems(told) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE lineage_nodes SET name = 'x' WHERE name = 'a'", "lineage_nodes: the row number 1 is not what"),
        ("UPDATE lineage_runs SET cause_at = 9 WHERE cause IS NOT NULL", "lineage_runs: the row run_id"),
        ("UPDATE lineage_facts SET seen_at = happened_at", "lineage_facts: the row source"),
        ("DELETE FROM lineage_facts WHERE kind = 'reads'", "lineage_facts: the row source"),
        ("UPDATE lineage_edges SET run_count = 99 WHERE kind = 'triggers'", "lineage_edges: the row source"),
        ("UPDATE lineage_triggers SET target = source", "lineage_triggers: the row thing"),
        ("DELETE FROM lineage_turns", "lineage_turns: the row thing"),
        (
            "INSERT INTO lineage_edges SELECT 3, 3, kind, first_position, first_seen_at, last_position, last_seen_at,"
            " run_count, last_runs FROM lineage_edges WHERE kind = 'reads'",
            "lineage_edges: the row source 3, target 3, kind reads stands there, and the log does not say so",
        ),
    ],
    ids=["node", "run", "fact", "lacking fact", "edge", "trigger", "lacking turns", "added edge"],
)
def test_a_row_that_was_bent_is_named_however_many_are_compared_at_a_time(
    told: Store, statement: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with told.engine.begin() as connection:
        connection.execute(text(statement))
    found = problems(told)
    assert found
    assert all(problem.startswith(named) for problem in found), found
    monkeypatch.setattr(checking, "CHUNK", 1)
    assert problems(told) == found


def test_verify_names_it_and_finds_nothing_where_nothing_is(told: Store) -> None:
    assert not [problem for problem in verify_store(told, keys=[]).problems if "lineage" in problem]
    with told.engine.begin() as connection:
        connection.execute(text("DELETE FROM lineage_edges WHERE kind = 'reads'"))
    (problem,) = [problem for problem in verify_store(told, keys=[]).problems if "lineage" in problem]
    assert problem.startswith("lineage_edges: the row source")
    assert problem.endswith("is not what the log says")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_any_portions_of_any_history_are_supported_on_both_databases(
    store: Store, history: list[EventBase], sizes: list[int]
) -> None:
    # One store for all examples: its log is a longer history of the same kind with each.
    store.log.append([seal(event) for event in history], principal="test")
    place = 0
    while advance(store, STEP, limit=sizes[place % len(sizes)]):
        place += 1
    assert problems(store) == []


def test_nothing_is_written_to_what_is_verified(sqlite_url: str) -> None:
    with closing(open_store(sqlite_url, clock=lambda: datetime.now(UTC))) as store:
        store.log.append([seal(an_identity(1, "a", seconds=1))], principal="test")
        catch_up(store, [STEP])
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            assert list(STEP.check(connection)) == []
