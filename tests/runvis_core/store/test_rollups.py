"""Counts of runs say what the runs' rows say, whatever the batches and whatever came later."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from runvis_core.model.encoding import seal
from runvis_core.model.event import (
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    PresumptionEvent,
    SnapshotEvent,
    StateEvent,
)
from runvis_core.model.state import Relation, State, Verdict, Witness
from runvis_core.store import tables as t
from runvis_core.store.database import Store, open_store
from runvis_core.store.failures import Failures, forget_failures
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.rollups import Rollups
from runvis_core.store.sketches import Quantiles, add_to, find_bin, read_sketch, write_sketch
from runvis_core.store.steps import advance, catch_up
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.histories import histories
from runvis_core.testing.story import a_story

KEPT = (t.rollups, t.rollup_runs, t.definition_health, t.failures, t.failure_words)


def append(store: Store, events: Iterable[EventBase]) -> None:
    store.log.append([seal(event) for event in events], principal="test")


def rows(store: Store, table: Any) -> list[tuple[Any, ...]]:
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def kept(store: Store) -> list[list[tuple[Any, ...]]]:
    return [rows(store, table) for table in KEPT]


def counts(store: Store, span: str = "hour") -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    with store.engine.connect() as connection:
        for row in connection.execute(select(t.rollups).where(t.rollups.c.span == span)):
            key = (row.definition, row.state)
            found[key] = found.get(key, 0) + row.runs
    return found


def from_runs(store: Store) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    with store.engine.connect() as connection:
        for row in connection.execute(select(t.runs).where(t.runs.c.became_run_id.is_(None))):
            key = (row.definition or "", row.effective_state or "")
            found[key] = found.get(key, 0) + 1
    return found


def run_of(name: str, *events: EventBase, definition: str = "etl") -> list[EventBase]:
    identity = make(IdentityEvent, definition=definition, definition_kind="dag", native_key=name, native_id=name)
    return [event.model_copy(update={"run_id": a_run_id(name), "event_id": named(name, event)})
            for event in (identity, *events)]  # fmt: skip


def named(name: str, event: EventBase) -> Any:
    return event.model_copy(update={"run_id": a_run_id(name)}).derived_id()


def test_a_run_is_counted_by_hour_by_day_and_by_day_of_its_kind(store: Store) -> None:
    append(store, run_of("one", make(StateEvent, seconds=5400, state=State.RUNNING)))
    catch_up(store, [Rollups()])
    assert [row[:7] for row in rows(store, t.rollups)] == [
        ("day", at(-8 * 3600), "airflow", "test", "etl", "dag", "Running"),
        ("hour", at(0), "airflow", "test", "etl", "dag", "Running"),
        ("kind", at(-8 * 3600), "airflow", "test", "", "dag", "Running"),
    ]


def test_a_run_moves_with_its_end_its_correction_and_a_presumption(store: Store) -> None:
    step = Rollups()
    append(store, run_of("one", make(StateEvent, state=State.RUNNING)))
    catch_up(store, [step])
    assert counts(store) == {("etl", "Running"): 1}
    lost = {"verdict": Verdict.LOST, "state": State.FAILED, "reason": "silent"}
    append(store, run_of("one", make(PresumptionEvent, seconds=10, witness=Witness.RECONCILER, **lost)))
    catch_up(store, [step])
    assert counts(store) == {("etl", "Failed"): 1}
    append(store, run_of("one", make(StateEvent, seconds=20, state=State.FAILED)))
    append(store, run_of("one", make(StateEvent, seconds=30, witness=Witness.FOLLOWER, state=State.SUCCEEDED)))
    catch_up(store, [step])
    assert counts(store) == {("etl", "Succeeded"): 1}


def test_a_provisional_run_is_counted_as_what_it_became_only(store: Store) -> None:
    append(store, run_of("waiting", make(StateEvent, state=State.QUEUED)))
    catch_up(store, [Rollups()])
    link = make(LinkEvent, seconds=5, relation=Relation.BECAME, target_run_id=a_run_id("started"))
    append(store, [*run_of("waiting", link), *run_of("started", make(StateEvent, seconds=5, state=State.RUNNING))])
    catch_up(store, [Rollups()])
    assert counts(store) == {("etl", "Running"): 1}


def test_times_are_kept_as_a_sketch_within_a_hundredth(store: Store) -> None:
    for number in range(1, 101):
        run = make(SnapshotEvent, seconds=0, queued_at=at(0), started_at=at(number), state=State.RUNNING)
        end = make(StateEvent, seconds=3 * number, state=State.SUCCEEDED)
        append(store, run_of(f"r{number}", run, end))
    catch_up(store, [Rollups()])
    (row,) = [row for row in rows(store, t.rollups) if row[0] == "hour"]
    durations, queues = Quantiles(read_sketch(row[8])), Quantiles(read_sketch(row[9]))
    assert (row[7], durations.count, queues.count) == (100, 100, 100)
    assert durations.at(0.5) == pytest.approx(100, rel=0.02)
    assert queues.at(0.95) == pytest.approx(95, rel=0.02)


def test_a_definition_stands_by_its_last_run_that_went_well_or_badly(store: Store) -> None:
    states = [State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED]
    for day, state in enumerate(states):
        append(store, run_of(f"r{day}", make(StateEvent, seconds=9, state=state)))
    # All of them begin at once, as far as lists go: what was first heard of a run is its identity.
    catch_up(store, [Rollups()])
    (row,) = rows(store, t.definition_health)
    assert row[5] is False
    for day, state in enumerate(states):
        events = run_of(f"d{day}", make(StateEvent, seconds=9, state=state), definition="daily")
        append(
            store,
            [event.model_copy(update={"occurred_at": event.occurred_at + timedelta(days=day)}) for event in events],
        )
    catch_up(store, [Rollups()])
    (health,) = [row for row in rows(store, t.definition_health) if row[2] == "daily"]
    begun = [at(0) + timedelta(days=day) for day in range(4)]
    assert health[6:] == (
        begun[3], a_run_id("d2"), "TimedOut", begun[2], a_run_id("d0"), begun[0], begun[1],
    )  # fmt: skip


def test_a_schedule_is_known_before_the_first_run(store: Store) -> None:
    append(store, [make(DefinitionEvent, definition="d", definition_kind="dag", version="1", schedule="@daily")])
    catch_up(store, [Rollups()])
    assert [row[:5] for row in rows(store, t.definition_health)] == [("airflow", "test", "d", "dag", "@daily")]


def test_a_failure_is_known_by_its_first_line_and_its_words(store: Store) -> None:
    message = "\n  Upstream returned 0 rows\nand more"
    append(store, run_of("one", make(FailureEvent, error_type="shop.RowsError", content={"message": message})))
    catch_up(store, [Failures()])
    assert [row[2:] for row in rows(store, t.failures)] == [("shop.RowsError", "Upstream returned 0 rows")]
    words = ["0", "returned", "rows", "rowserror", "shop", "upstream"]
    assert [row[0] for row in rows(store, t.failure_words)] == words
    with store.engine.begin() as connection:
        forget_failures(connection, [a_run_id("one")])
    assert (rows(store, t.failures), rows(store, t.failure_words)) == ([], [])


def test_a_rebuild_counts_the_same(store: Store) -> None:
    append(store, a_story())
    steps = [Rollups(), Failures()]
    catch_up(store, steps)
    before = kept(store)
    assert all(before)
    rebuild_store(store)
    assert not any(kept(store))
    catch_up(store, steps)
    assert kept(store) == before


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(histories, min_size=1, max_size=4), sizes=st.lists(st.integers(1, 5), min_size=1), data=st.data())
def test_any_batching_counts_the_same_and_what_the_runs_say(
    tmp_path_factory: pytest.TempPathFactory,
    empty_file: Path,
    told: list[list[EventBase]],
    sizes: Sequence[int],
    data: st.DataObject,
) -> None:
    events = [event.model_copy(update={"run_id": a_run_id(str(n)), "event_id": named(str(n), event)})
              for n, history in enumerate(told) for event in history]  # fmt: skip
    file = shutil.copy(empty_file, tmp_path_factory.mktemp("rollups"))
    _count_in_batches(f"sqlite:///{file}", data.draw(st.permutations(events)), sizes)


def test_any_batching_counts_the_same_on_postgresql_too(postgresql_url: str) -> None:
    _count_in_batches(postgresql_url, a_story(), [1, 3, 2])


def _count_in_batches(url: str, events: list[EventBase], sizes: Sequence[int]) -> None:
    """Append and take in parts; then compare with what is taken at once, and with the runs' rows."""
    store = open_store(url)
    try:
        steps = (Rollups(), Failures())
        for number, event in enumerate(events):
            append(store, [event])
            size = sizes[number % len(sizes)]
            if size > 1:
                for step in steps:
                    advance(store, step, limit=size)
        catch_up(store, steps)
        in_parts = kept(store)
        for span in ("hour", "day"):
            assert counts(store, span) == from_runs(store)
        rebuild_store(store)
        catch_up(store, steps)
        assert kept(store) == in_parts
    finally:
        store.close()


@given(st.lists(st.integers(-10, 10**15), max_size=60), st.integers(0, 60))
def test_sketches_add_up_and_subtract(values: list[int], split: int) -> None:
    def of(some: list[int]) -> dict[int, int]:
        sketch: dict[int, int] = {}
        for value in some:
            add_to(sketch, {find_bin(value): 1})
        return sketch

    whole, one, other = of(values), of(values[:split]), of(values[split:])
    assert read_sketch(write_sketch(whole)) == whole
    merged = dict(one)
    add_to(merged, other)
    assert merged == whole
    add_to(merged, other, times=-1)
    assert merged == one
    ordered = sorted(max(value, 0) for value in values)
    quantiles = Quantiles(whole)
    for part in (0.0, 0.5, 1.0):
        found = quantiles.at(part)
        expected = ordered[int(part * (len(ordered) - 1))] / 1e6 if ordered else None
        assert found == (None if expected is None else pytest.approx(expected, rel=0.0101))
