"""What was going on at any moment, as it was known at any position, is what folding the entries up to there says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import or_, select

from runvis_core.model.event import EventBase, IdentityEvent, StateEvent
from runvis_core.model.past import Summary, find_spans, fold_until, moments_of
from runvis_core.model.state import State, Witness
from runvis_core.store import tables as t
from runvis_core.store.database import Store, open_store
from runvis_core.store.intervals import INTERVALS
from runvis_core.store.log import SqlEventLog
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import advance, catch_up
from runvis_core.testing.event_log_suite import append, entries_of, projections, seal_all
from runvis_core.testing.factories import a_run_id, at, make, recorded
from runvis_core.testing.histories import histories

SECONDS = range(-1, 52, 4)


def rows_at(store: Store, *, moment: Any, position: int) -> list[Any]:
    columns = t.run_intervals.c
    query = select(t.run_intervals).where(
        columns.from_at <= moment,
        or_(columns.to_at.is_(None), columns.to_at > moment),
        columns.known_from <= position,
        or_(columns.known_to.is_(None), columns.known_to > position),
    )
    with store.engine.connect() as connection:
        return list(connection.execute(query))


def check_intervals(store: Store, told: list[EventBase], part: int) -> None:
    append(store, *told)
    while advance(store, INTERVALS, limit=part):
        pass
    runs: dict[Any, list[Any]] = {}
    for entry in entries_of(store):
        runs.setdefault(getattr(entry.event, "run_id", None), []).append(entry)
    for run_id, entries in runs.items():
        for position in sorted({entry.position for entry in entries} | {1}):
            known = [entry for entry in entries if entry.position <= position]
            for seconds in SECONDS:
                record = fold_until(known, at(seconds)) if known else None
                found = [row for row in rows_at(store, moment=at(seconds), position=position) if row.run_id == run_id]
                assert len(found) == (record is not None)
                if record is not None:
                    (row,) = found
                    assert Summary(**{name: getattr(row, name) for name in Summary._fields}) == Summary.of(record)


@given(histories, st.integers(1, 6))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_history_taken_in_any_parts_sqlite(empty_file: Path, told: list[EventBase], part: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{shutil.copy(empty_file, folder)}")
        try:
            check_intervals(store, told, part)
            before = projections(store)
            rebuild_store(store)
            catch_up(store, [INTERVALS])
            assert projections(store)["run_intervals"] == before["run_intervals"]
            assert projections(store)["interval_bounds"] == before["interval_bounds"]
            assert projections(store)["outer_definitions"] == before["outer_definitions"]
        finally:
            store.close()


def test_an_older_store_learns_which_definitions_stood_for_themselves(
    store: Store, move_schema: Callable[[Store, str, str], None]
) -> None:
    flow, task = a_run_id("flow"), a_run_id("task")
    named = {"definition_kind": "task", "native_key": "k", "native_id": "n"}
    append(
        store,
        make(IdentityEvent, run_id=flow, definition="flow", **named),
        # Of which it is the task was told later.
        make(IdentityEvent, run_id=task, definition="task", **named),
        make(IdentityEvent, run_id=task, seconds=1, definition="task", parent_run_id=flow, **named),
        make(IdentityEvent, run_id=a_run_id("inner"), definition="inner", parent_run_id=flow, **named),
        make(StateEvent, run_id=a_run_id("nameless"), state=State.RUNNING),
    )
    catch_up(store, [INTERVALS])
    before = projections(store)["outer_definitions"]
    assert {row[2] for row in before} == {"flow", "task"}
    move_schema(store, "downgrade", "0017")
    move_schema(store, "upgrade", "head")
    assert projections(store)["outer_definitions"] == before


@given(histories)
def test_spans_follow_one_another_and_say_what_the_fold_says(told: list[EventBase]) -> None:
    entries = recorded(told)
    spans = find_spans(entries)
    assert [span.to_at for span in spans[:-1]] == [span.from_at for span in spans[1:]]
    assert spans[-1].to_at is None
    assert all(one.summary != other.summary for one, other in pairwise(spans))
    for moment in sorted({moment for entry in entries for moment in moments_of(entry)}):
        record = fold_until(entries, moment)
        covering = [span for span in spans if span.from_at <= moment and (span.to_at is None or moment < span.to_at)]
        assert [span.summary for span in covering] == ([Summary.of(record)] if record is not None else [])


@given(histories)
def test_a_moment_after_everything_is_today(told: list[EventBase]) -> None:
    entries = recorded(told)
    assert fold_until(entries, at(10_000)) == fold_until(entries, None)


@pytest.mark.parametrize("part", [1, 2, 100])
def test_a_late_word_changes_what_was_but_not_what_was_known(store: Store, part: int) -> None:
    told: list[EventBase] = [
        make(IdentityEvent, definition="load", definition_kind="task", native_key="k", native_id="n"),
        make(StateEvent, seconds=10, state=State.RUNNING),
        make(StateEvent, seconds=30, state=State.FAILED),
        make(StateEvent, seconds=5, state=State.QUEUED, witness=Witness.SCHEDULER),
        make(StateEvent, seconds=40, state=State.SUCCEEDED, witness=Witness.SCHEDULER),
    ]
    append(store, *told)
    while advance(store, INTERVALS, limit=part):
        pass

    def state(seconds: float, position: int) -> Any:
        return [(row.effective_state, row.corrected) for row in rows_at(store, moment=at(seconds), position=position)]

    assert state(7, 3) == [(None, False)]
    assert state(7, 4) == [("Queued", False)]
    assert state(20, 2) == state(20, 5) == [("Running", False)]
    assert state(35, 2) == [("Running", False)]
    assert state(35, 3) == state(35, 5) == [("Failed", False)]
    assert state(50, 4) == [("Failed", False)]
    assert state(50, 5) == [("Succeeded", True)]
    assert state(50, 0) == []


def test_a_clock_that_is_ahead_is_known_from_its_recording(store: Store) -> None:
    log = SqlEventLog(store.engine, clock=lambda: at(10))
    log.append(seal_all([make(StateEvent, seconds=500, state=State.RUNNING)]), principal="test")
    catch_up(store, [INTERVALS])
    assert [row.effective_state for row in rows_at(store, moment=at(10), position=1)] == ["Running"]
    with store.engine.connect() as connection:
        bounds = dict(tuple(row) for row in connection.execute(select(t.interval_bounds)))
    assert bounds == {"early": 490.0, "ahead": 490.0}


def test_a_long_history_in_order_is_taken_entry_by_entry(store: Store) -> None:
    run_id = a_run_id("sensor")
    pokes = [make(StateEvent, run_id=run_id, seconds=second, state=State.RUNNING) for second in range(300)]
    append(store, *pokes[:150])
    catch_up(store, [INTERVALS])
    append(store, *pokes[150:], make(StateEvent, run_id=run_id, seconds=400, state=State.SUCCEEDED))
    catch_up(store, [INTERVALS])
    with store.engine.connect() as connection:
        rows = connection.execute(select(t.run_intervals).where(t.run_intervals.c.known_to.is_(None))).all()
    assert sorted((row.from_at, row.effective_state) for row in rows) == [(at(0), "Running"), (at(400), "Succeeded")]
