"""No answer of the services reads a whole table of runs, entries or counts: read from the databases' own plans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from runvis_core.model.event import EventBase
from runvis_core.model.state import State
from runvis_core.services.compare import compare_with_last_success
from runvis_core.services.filters import DefinitionFilter, Dimension, RunFilter, StatFilter
from runvis_core.services.grids import get_grid
from runvis_core.services.health import get_health
from runvis_core.services.runs import list_runs
from runvis_core.services.search import search
from runvis_core.services.stats import get_trend, list_stats
from runvis_core.services.steps import STEPS
from runvis_core.store.database import Store
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, at
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
LARGE = ("runs", "entries", "bodies", "rollups", "rollup_runs", "failures", "failure_words", "datasets", "aliases")
NOW = at(86400)


@contextmanager
def watched(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are run, with their parameters."""
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")) and not many:
            said.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def scanned(store: Store, statement: str, parameters: Any) -> set[str]:
    """Return the large tables that a statement reads whole, by the plan that the database makes of it."""
    on_postgresql = store.engine.dialect.name == "postgresql"
    with store.engine.connect() as connection:
        if on_postgresql:
            # A small table is cheaper to read whole; what is asked here is whether it can be done otherwise.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN " if on_postgresql else "EXPLAIN QUERY PLAN "
        plan = connection.exec_driver_sql(explain + statement, parameters).all()
    lines = [str(row[-1]) for row in plan]
    if on_postgresql:
        return {found[1] for line in lines if (found := re.search(r"Seq Scan on (\w+?)(?:_p\d+)?\b", line))} & set(
            LARGE
        )
    names = [found[1] for line in lines if (found := re.match(r"SCAN (\w+)(?! .*USING)", line.strip()))]
    return set(names) & set(LARGE)


def asks() -> dict[str, Callable[[Store], object]]:
    whole = DefinitionFilter()
    return {
        "stats": lambda store: list_stats(store, StatFilter(by=[Dimension.ENGINE, Dimension.DAY]), now=NOW),
        "stats by hour": lambda store: list_stats(
            store, StatFilter(by=[Dimension.HOUR], definition="etl", engine="airflow"), now=NOW
        ),
        "trend": lambda store: get_trend(store, "etl", whole, now=NOW),
        "grid": lambda store: get_grid(store, "etl", whole, now=NOW),
        "health": lambda store: get_health(store, now=NOW),
        "search a word": lambda store: search(store, "upstream rows"),
        "search an id": lambda store: search(store, str(a_run_id("r 3"))[:8]),
        "search an address": lambda store: search(store, "https://engine.example/dags/etl/runs/r1"),
        "runs": lambda store: list_runs(store, RunFilter(), limit=10, now=NOW),
        "runs of two filters": lambda store: list_runs(
            store, RunFilter(definition="etl", state=[State.FAILED]), limit=10, now=NOW
        ),
        "runs by text": lambda store: list_runs(store, RunFilter(text="upstream rows"), limit=10, now=NOW),
        "runs by parent": lambda store: list_runs(store, RunFilter(parent=str(a_run_id("r 1"))), limit=10, now=NOW),
        "comparison": lambda store: compare_with_last_success(store, str(a_run_id("r 3"))),
    }


@pytest.mark.parametrize("question", list(asks()))
def test_no_answer_reads_a_large_table_whole(store: Store, record: Record, question: str) -> None:
    for number in range(30):
        state = State.FAILED if number % 3 == 0 else State.SUCCEEDED
        record(store, a_run(f"r {number}", begins=60 * number, state=state))
        task = {"definition": "etl.load", "kind": "task", "inside": f"r {number}"}
        record(store, a_run(f"t {number}", begins=60 * number + 1, state=state, **task))
    catch_up(store, STEPS)
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    with watched(store) as said:
        asks()[question](store)
    assert said
    found = {name: statement for statement, parameters in said for name in scanned(store, statement, parameters)}
    assert found == {}
