"""A large store that is made quickly is the same store that ordinary ingest makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from benchmarks.big_store import PRINCIPAL, batches, fill_store
from benchmarks.history import CHATTY, FLEET, LEVELS, UNTIL, WIDE, History
from runvis_core.services.run_trees import get_tree
from runvis_core.services.steps import STEPS
from runvis_core.services.verification import verify_store
from runvis_core.store import tables as t
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.steps import catch_up, list_lags

RUNS = 400
BATCH = 700
"""Small enough for several batches."""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with closing(open_store(request.getfixturevalue(f"{request.param}_url"), upgrade=True)) as opened:
        yield opened


def test_a_store_that_was_made_quickly_verifies(store: Store) -> None:
    fill_store(store, History(RUNS), batch=BATCH)
    with store.engine.connect() as connection:
        assert {lag.entries for lag in list_lags(connection, STEPS)} == {0}
        made = connection.scalar(select(func.count()).select_from(t.runs))
    assert made is not None
    assert made >= RUNS
    assert check_store(store) == []
    assert verify_store(store, keys=[]).problems == []


def test_ordinary_ingest_of_the_same_history_makes_the_same_store(store: Store, tmp_path: Path) -> None:
    fill_store(store, History(RUNS), batch=BATCH)
    now = UNTIL
    with closing(open_store(f"sqlite:///{tmp_path / 'ordinary.db'}", clock=lambda: now)) as ordinary:
        for events in batches(History(RUNS), BATCH):
            now = events[-1].event.occurred_at
            ordinary.log.append(events, principal=PRINCIPAL)
        catch_up(ordinary, STEPS)
        for name in sorted(table.name for table in t.metadata.sorted_tables if table not in t.KEPT):
            assert _rows(store, name) == _rows(ordinary, name), name


def _rows(store: Store, name: str) -> list[tuple[Any, ...]]:
    table = t.metadata.tables[name]
    # Where the first of equal words stands is no matter of meaning, and a database reads rows in its own order.
    with store.engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(select(*table.c))]
    return sorted(rows, key=repr)


def test_a_history_is_the_same_each_time_and_another_with_another_seed() -> None:
    def told(seed: int) -> list[bytes]:
        return [sealed.data for family in History(100, seed=seed).families() for sealed in family]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_a_history_has_what_nobody_expects(store: Store) -> None:
    history = History(RUNS)
    fill_store(store, history)
    with store.engine.connect() as connection:
        count = select(func.count()).select_from(t.runs)
        assert (connection.scalar(count.where(t.runs.c.definition == WIDE)) or 0) >= history.wide
        assert connection.scalar(count.where(t.runs.c.definition.startswith(f"{FLEET}."))) == history.fleet
        chatty = connection.scalar(select(t.runs.c.run_id).where(t.runs.c.definition == CHATTY))
        told = select(func.count()).where(t.entries.c.run_id == chatty)
        assert (connection.scalar(told) or 0) > history.events
        top = connection.scalar(select(t.runs.c.native_id).where(t.runs.c.definition == "nested_0"))
        silent = connection.scalar(select(func.count()).select_from(t.liveness))
    depth, node = 1, get_tree(store, str(top))
    while node.children:
        depth, node = depth + 1, node.children[0]
    assert depth == LEVELS
    assert silent == len(history.live) > 0
