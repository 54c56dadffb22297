"""No answer of the services reads a whole table of runs, entries or counts: read from the databases' own plans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from itertools import combinations, count, islice, product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text

from benchmarks.big_store import fill_store
from benchmarks.history import UNTIL, History
from runvis_core.model.encoding import seal
from runvis_core.model.event import ContextEvent, DatasetEvent, EventBase, FailureEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.services import runs, ways
from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.compare import compare_with_last_success
from runvis_core.services.definitions import get_definition, list_definitions
from runvis_core.services.exports import follow_pages
from runvis_core.services.feed import list_feed
from runvis_core.services.filters import DefinitionFilter, Dimension, RunFilter, StatFilter
from runvis_core.services.grids import get_grid
from runvis_core.services.health import get_health
from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import LineageQuery
from runvis_core.services.names import Within, find_run_id
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_grids import get_grid_at
from runvis_core.services.past_runs import list_past_runs
from runvis_core.services.run_details import get_run
from runvis_core.services.runs import list_runs
from runvis_core.services.search import search
from runvis_core.services.sources import get_heard
from runvis_core.services.stats import get_trend, list_stats
from runvis_core.services.steps import STEPS
from runvis_core.store.database import Store, open_store
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
LARGE = (
    "runs", "entries", "bodies", "rollups", "rollup_runs", "failures", "failure_words", "datasets", "aliases",
    "run_intervals", "lineage_facts",
)  # fmt: skip
NOW = at(86400)
SALES = LineageQuery(node="s3://lake/sales")


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
        "grid of a past": lambda store: get_grid_at(store, "etl", whole, PastFilter(as_of=NOW), now=NOW),
        "health": lambda store: get_health(store, now=NOW),
        "search a word": lambda store: search(store, "upstream rows"),
        "search an id": lambda store: search(store, str(a_run_id("r 3"))[:8]),
        "search an address": lambda store: search(store, "https://engine.example/dags/etl/runs/r1"),
        "search a dataset": lambda store: search(store, "s3://lake/sales"),
        "a run": lambda store: get_run(store, str(a_run_id("r 3")), now=NOW),
        "a run of a deployment": lambda store: find_run_id(store, "r 3/1", Within(engine="airflow", deployment="test")),
        "feed": lambda store: list_feed(store, RunFilter(state=[State.FAILED]), limit=10, now=NOW),
        "definition": lambda store: get_definition(store, "etl", whole),
        "heard": get_heard,
        "definitions": lambda store: list_definitions(store, whole, limit=10),
        "lineage": lambda store: get_lineage(store, SALES, now=NOW),
        "lineage of a past": lambda store: get_lineage(store, SALES, PastFilter(as_of=NOW), now=NOW),
        "loops": lambda store: list_loops(store, limit=10, now=NOW),
        "loops of a past": lambda store: list_loops(store, PastFilter(as_of=NOW), limit=10, now=NOW),
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
        sales = {"run_id": a_run_id(f"t {number}"), "namespace": "s3://lake", "name": "sales"}
        record(
            store, [make(DatasetEvent, seconds=60 * number + 2, direction=way, **sales) for way in ("read", "write")]
        )
    catch_up(store, STEPS)
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    with watched(store) as said:
        asks()[question](store)
    assert said
    found = {name: statement for statement, parameters in said for name in scanned(store, statement, parameters)}
    assert found == {}


def test_a_run_takes_as_few_statements_however_much_is_in_it(store: Store, record: Record) -> None:
    def count_statements(tasks: int) -> int:
        flow = f"of {tasks}"
        record(store, a_run(flow, begins=0))
        for number in range(tasks):
            record(store, a_run(f"{flow} {number}", begins=number, definition="etl.load", kind="task", inside=flow))
        with watched(store) as said:
            assert len(get_run(store, str(a_run_id(flow)), now=NOW).tree.children) == tasks
        return len(said)

    # What was never told of it, and there are eight tables of that, is not asked for.
    assert count_statements(3) == count_statements(40) <= 16


NARROWING: dict[str, tuple[object, ...]] = {
    "engine": ("airflow", "ci", "nothing"),
    "deployment": ("prod", "nowhere"),
    "definition": ("shop_3", "shop_3.load_5"),
    "kind": ("task", "job"),
    "state": ([State.FAILED], [State.SUCCEEDED, State.CANCELLED]),
    "native_state": ("failed", "nothing"),
    "tag": ("prod", "nothing"),
    "trigger": ("schedule", "backfill"),
    "top": (True,),
    "silent": (True,),
    "conflicting": (True,),
    "unnamed": (True,),
    "text": ("rows", "deadlock proc", "nothing"),
    "since": (UNTIL - timedelta(days=50),),
    "until": (UNTIL - timedelta(days=50),),
}


def pairs(*left_out: str) -> Iterator[RunFilter]:
    """Yield each filter with each other one."""
    said = [(name, value) for name, values in NARROWING.items() if name not in left_out for value in values]
    for one, other in combinations(said, 2):
        if one[0] != other[0]:
            yield RunFilter.model_validate(dict([one, other]))


def pairs_with(wanted: str, *values: object) -> Iterator[RunFilter]:
    """Yield each value of one filter with each other filter."""
    said = [(name, value) for name, others in NARROWING.items() if name != wanted for value in others]
    for value, one in product(values, said):
        yield RunFilter.model_validate(dict([(wanted, value), one]))


def unnamed_runs() -> Iterator[EventBase]:
    """Yield runs of which nobody tells what they are of, over the days of the history."""
    for number in range(24):
        said: dict[str, Any] = {"run_id": a_run_id(f"unnamed {number}"), "deployment": "prod"}
        moment = UNTIL - timedelta(days=4 * number, hours=1)
        yield make(StateEvent, state=State.RUNNING, occurred_at=moment, **said)
        yield make(ContextEvent, tags=("prod",), occurred_at=moment, **said)
        told = {"error_type": "ValueError", "content": {"message": f"upstream returned {number} rows"}}
        yield make(FailureEvent, occurred_at=moment, **told, **said)
        ended = {"state": State.FAILED, "native_state": "failed"} if number % 2 else {"state": State.SUCCEEDED}
        yield make(StateEvent, occurred_at=moment + timedelta(minutes=1), **ended, **said)


@pytest.fixture
def history(store: Store) -> Store:
    fill_store(store, History(300))
    store.log.append([seal(event) for event in unnamed_runs()], principal="test")
    catch_up(store, STEPS)
    return store


def test_no_two_filters_read_a_large_table_whole(history: Store) -> None:
    alone = {"runs_sort", "runs_top"}
    looked_at: set[str] = set()
    for filters in pairs():
        with watched(history) as said:
            list_runs(history, filters, limit=10, now=UNTIL)
        for statement, parameters in said:
            if statement in looked_at:
                continue
            looked_at.add(statement)
            assert scanned(history, statement, parameters) == set(), (filters, statement)
            # SQLite follows the index that a statement names.
            if history.engine.dialect.name == "sqlite" and "ORDER BY runs.sort_at" in statement:
                assert "INDEXED BY" in statement, statement
            # In the order of lists alone only so many are passed over: there is an end of it in each such statement.
            if any(f"INDEXED BY {way}" in statement for way in alone):
                assert "LIMIT" in statement


def test_any_two_filters_bring_all_that_they_let_through_however_short_the_walk(
    history: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [(filters, _all_runs(history, filters)) for filters in islice(pairs("unnamed"), 0, None, 9)]
    # Words of an error have ways of another table, and what is unnamed has ways of its own.
    words = [(filters, _all_runs(history, filters)) for filters in pairs_with("text", "d", "rows", "deadlock proc")]
    unnamed = [(filters, _all_runs(history, filters)) for filters in pairs_with("unnamed", True)]
    for whole in (some, words, unnamed):
        assert sum(bool(found) for _, found in whole) > len(whole) // 3
    everything = _all_runs(history, RunFilter())
    monkeypatch.setattr(ways, "FEW", 16)
    monkeypatch.setattr(ways, "MAX_WALKED", 48)
    monkeypatch.setattr(runs, "MAX_GATHERED", 8)
    for filters, expected in (*some, *words, *unnamed):
        assert _all_runs(history, filters) == expected, filters
        assert expected == [one for one in everything if one in set(expected)], filters


@pytest.mark.parametrize("state", [[], [State.FAILED]])
def test_a_text_without_a_word_lets_nothing_through(history: Store, state: list[State]) -> None:
    assert _all_runs(history, RunFilter(state=state))
    assert _all_runs(history, RunFilter(text="?!", state=state)) == []


def test_to_find_nothing_costs_no_more_in_a_longer_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a plan does not say: how much of an index is read.
    monkeypatch.setattr(ways, "FEW", 16)
    monkeypatch.setattr(ways, "MAX_WALKED", 48)
    monkeypatch.setattr(runs, "MAX_GATHERED", 8)
    with ExitStack() as stack:
        short, long = (
            stack.enter_context(closing(open_store(f"sqlite:///{tmp_path / str(length)}.db"))) for length in (300, 3000)
        )
        fill_store(short, History(300))
        fill_store(long, History(3000))
        costs = {
            repr(filters): (_cost_of_list(short, filters), _cost_of_list(long, filters))
            for filters in pairs()
            if not list_runs(long, filters, limit=10, now=UNTIL).items
        }
    assert len(costs) > 20
    assert all(both[0] > 0 for both in costs.values())
    assert {filters: both for filters, both in costs.items() if both[1] > max(2 * both[0], A_WALK)} == {}


INSTRUCTIONS = 10
"""How many instructions of SQLite's machine are counted as one."""
A_WALK = 500
"""As much as a walk of so few runs may cost in the longer history, where the shorter one has fewer to walk."""


def test_a_late_page_of_a_past_costs_no_more_than_its_first(tmp_path: Path) -> None:
    until = UNTIL - timedelta(days=1)
    with closing(open_store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        fill_store(store, History(3000))
        catch_up(store, STEPS)
        for filters in (RunFilter(), RunFilter(until=until)):

            def list_past(cursor: str | None, filters: RunFilter = filters) -> Page[RunSummary]:
                return list_past_runs(store, filters, PastFilter(as_of=UNTIL), limit=10, cursor=cursor, now=UNTIL)

            costs: list[int] = []
            cursor: str | None = None
            for _ in range(150):
                asked_at = cursor
                costs.append(_cost(store, lambda asked_at=asked_at: list_past(asked_at)))
                cursor = list_past(cursor).next_cursor
                assert cursor is not None
            assert max(costs[-10:]) < 2 * max(costs[:10])


def test_to_catch_up_with_a_run_costs_no_more_after_a_longer_history(tmp_path: Path) -> None:
    costs: list[int] = []
    for length in (300, 3000):
        with closing(open_store(f"sqlite:///{tmp_path / str(length)}.db")) as store:
            fill_store(store, History(length))
            catch_up(store, STEPS)
            for news in (1, 2):
                name = f"news {news}"
                wrote = {"run_id": a_run_id(name), "direction": "write", "namespace": "s3://lake", "name": "sales"}
                told = [*a_run(name, begins=news), make(DatasetEvent, seconds=news + 1, **wrote)]
                store.log.append([seal(event) for event in told], principal="test")
                cost = _cost(store, lambda store=store: catch_up(store, STEPS))
            costs.append(cost)
    assert costs[0] > 0
    assert costs[1] < 2 * costs[0]


def _cost_of_list(store: Store, filters: RunFilter) -> int:
    return _cost(store, lambda: list_runs(store, filters, limit=10, now=UNTIL))


def _cost(store: Store, ask: Callable[[], object]) -> int:
    """Return how much SQLite does for an answer, in tens of its machine's instructions."""
    counted = count()

    def note(connection: Any, *_: object) -> None:
        connection.set_progress_handler(lambda: next(counted) and 0, INSTRUCTIONS)

    event.listen(store.engine, "checkout", note)
    try:
        ask()
    finally:
        event.remove(store.engine, "checkout", note)
    return next(counted)


@pytest.mark.parametrize("past", [PastFilter(as_of=UNTIL - timedelta(days=2)), PastFilter(known_at=700)], ids=str)
def test_a_list_of_the_past_is_whole_however_short_the_walk(
    history: Store, monkeypatch: pytest.MonkeyPatch, past: PastFilter
) -> None:
    catch_up(history, STEPS)
    told = ("engine", "deployment", "definition", "state", "native_state", "trigger", "top", "since", "until")
    asked = [
        filters
        for filters in pairs()
        if all(name in told for name in filters.model_fields_set if getattr(filters, name))
    ][::5]
    whole = [_all_past_runs(history, filters, past) for filters in asked]
    assert sum(bool(found) for found in whole) > len(whole) // 3
    monkeypatch.setattr(ways, "FEW", 16)
    monkeypatch.setattr(ways, "MAX_WALKED", 48)
    assert [_all_past_runs(history, filters, past) for filters in asked] == whole


def _all_past_runs(store: Store, filters: RunFilter, past: PastFilter) -> list[UUID]:
    pages = follow_pages(lambda cursor: list_past_runs(store, filters, past, limit=40, cursor=cursor, now=UNTIL), None)
    return [run.run_id for page in pages for run in page.items]


def _all_runs(store: Store, filters: RunFilter) -> list[UUID]:
    pages = follow_pages(lambda cursor: list_runs(store, filters, limit=40, cursor=cursor, now=UNTIL), None)
    return [run.run_id for page in pages for run in page.items]
