from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from runvis_core.errors import CursorError
from runvis_core.model.event import EventBase, IdentityEvent, LinkEvent, MetricEvent, StateEvent
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import Relation, State, TriggerKind, Witness
from runvis_core.services.answers import RunSummary
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import ingest_events, record_heartbeats
from runvis_core.services.run_summaries import LIST_ITEMS
from runvis_core.services.runs import list_runs
from runvis_core.services.ways import MAX_WAYS
from runvis_core.store.database import Store, open_store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, TRACE, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def ask(store: Store, **filters: Any) -> list[RunSummary]:
    return list_runs(store, RunFilter(**filters), limit=100, now=datetime.now(UTC)).items


def ids(store: Store, **filters: Any) -> list[UUID]:
    return [run.run_id for run in ask(store, **filters)]


def test_an_empty_store_has_no_runs(store: Store) -> None:
    page = list_runs(store, RunFilter(), limit=10, now=datetime.now(UTC))
    assert page.items == []
    assert page.next_cursor is None


def test_runs_come_newest_first(store: Store, record: Record) -> None:
    record(store, a_story())
    assert ids(store) == [CHILD, LOAD_2, LOAD_1, ETL]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"engine": "airflow"}, [CHILD, LOAD_2, LOAD_1, ETL]),
        ({"engine": "prefect"}, []),
        ({"deployment": DEPLOYMENT}, [CHILD, LOAD_2, LOAD_1, ETL]),
        ({"deployment": "other"}, []),
        ({"definition": "etl.load"}, [LOAD_2, LOAD_1]),
        ({"state": ["Running"]}, [CHILD, LOAD_2, ETL]),
        ({"state": ["running", "SUCCEEDED"]}, [CHILD, LOAD_2, LOAD_1, ETL]),
        ({"state": ["Failed"]}, []),
        ({"native_state": "up_for_retry"}, [LOAD_1]),
        ({"tag": "nightly"}, [ETL]),
        ({"since": at(100)}, [CHILD, LOAD_2]),
        ({"until": at(100)}, [LOAD_1, ETL]),
        ({"since": at(5), "until": at(110)}, [LOAD_2, LOAD_1]),
        ({"trigger": "run"}, [CHILD]),
        ({"trigger": TriggerKind.MANUAL}, [ETL]),
        ({"conflicting": True}, [LOAD_1]),
        ({"unnamed": True}, []),
        ({"correlation": TRACE}, [CHILD, LOAD_2, LOAD_1, ETL]),
        ({"correlation": "f" * 32}, [CHILD]),
        ({"correlation": "0" * 32}, []),
        ({"engine": "airflow", "definition": "etl.load", "state": ["Running"]}, [LOAD_2]),
    ],
)
def test_a_list_is_narrowed(store: Store, record: Record, filters: dict[str, Any], expected: list[UUID]) -> None:
    record(store, a_story())
    assert ids(store, **filters) == expected


def test_what_nobody_named_is_found_by_that(store: Store, record: Record) -> None:
    said = {"run_id": a_run_id("nameless"), "state": State.FAILED}
    record(store, [*a_story(), make(StateEvent, seconds=300, **said)])
    assert ids(store, unnamed=True) == [a_run_id("nameless")]
    assert ids(store, unnamed=True, engine="airflow", state=["Failed"], since=at(300)) == [a_run_id("nameless")]
    assert ids(store, unnamed=True, engine="prefect") == ids(store, unnamed=True, definition="etl") == []
    assert ids(store, unnamed=True, kind="task") == []


@pytest.mark.parametrize("word", ["x' OR 1=1 --", "%", "_", "\\", "é" * 100, "\u202e", '"; DROP TABLE runs; --'])
def test_a_hostile_word_finds_nothing_and_breaks_nothing(store: Store, record: Record, word: str) -> None:
    record(store, a_story())
    for name in ("engine", "deployment", "definition", "native_state", "tag", "correlation"):
        assert ids(store, **{name: word}) == []
    assert len(ids(store)) == 4


@pytest.mark.parametrize(
    "filters",
    [
        {"state": ["Broken"]},
        {"since": "2026-11-24T08:00:00"},
        {"trigger": "whim"},
        {"stat": "Failed"},
        {"engine": ""},
        {"tag": "a\x00b"},
    ],
)
def test_what_a_list_can_not_be_narrowed_by_is_refused(filters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunFilter(**filters)


def test_a_run_is_told_with_all_its_fields(store: Store, record: Record) -> None:
    record(store, a_story())
    run = next(run for run in ask(store) if run.run_id == LOAD_2)
    assert (run.definition, run.kind, run.attempt, run.native_id) == ("etl.load", "task", 2, "etl/r1/load")
    assert (run.parent_run_id, run.root_run_id, run.retry_of) == (ETL, ETL, LOAD_1)
    assert run.correlation_id == TRACE
    assert [(item.namespace, item.name) for item in run.reads] == [("s3://raw", "orders")]
    assert [(item.namespace, item.name) for item in run.writes] == [("s3://lake", "sales")]
    assert [(item.name, item.uri) for item in run.artifacts] == [("report", "s3://lake/report.html")]
    assert [(item.name, item.value) for item in run.metrics] == [("rows", 5.0)]
    assert run.witnesses == [Witness.WORKER]
    assert run.event_count == 9


def test_a_run_tells_its_trigger_inputs_and_tags(store: Store, record: Record) -> None:
    record(store, a_story())
    run = next(run for run in ask(store) if run.run_id == ETL)
    assert run.trigger is not None
    assert (run.trigger.kind, run.trigger.native, run.trigger.actor) == (TriggerKind.MANUAL, "manual", "ann")
    assert run.parameters == {"rows": [1, 2]}
    assert run.context.conf == {"day": 1}
    assert run.context.tags == ["nightly"]
    assert run.context.code == {"commit": "abc"}


def test_a_corrected_run_goes_by_the_later_word_and_says_so(store: Store, record: Record) -> None:
    record(store, a_story())
    run = next(run for run in ask(store) if run.run_id == LOAD_1)
    assert (run.state, run.effective_state, run.corrected) == (State.FAILED, State.SUCCEEDED, True)
    assert run.duration_seconds == 60.0
    assert run.failure is not None
    assert (run.failure.error_type, run.failure.message) == ("ValueError", "no \x1b[31mrows")
    assert run.failure.traceback is None
    assert run.context.owner == "team", "what was filled in after the end is told, too"


def test_a_child_takes_its_cause_and_its_correlation_from_who_started_it(store: Store, record: Record) -> None:
    record(store, a_story())
    child = next(run for run in ask(store) if run.run_id == CHILD)
    assert (child.caused_by_run_id, child.parent_run_id, child.root_run_id) == (LOAD_2, None, CHILD)
    assert child.correlation_id == TRACE


def test_a_link_whose_source_started_later_is_no_cause(store: Store, record: Record) -> None:
    late = a_run_id("late")
    record(
        store,
        [
            *a_story(),
            make(StateEvent, run_id=late, seconds=500, state=State.RUNNING),
            make(LinkEvent, run_id=late, seconds=510, relation=Relation.CAUSED, target_native_key="dag_run/child/c1"),
        ],
    )
    child = next(run for run in ask(store) if run.run_id == CHILD)
    assert child.caused_by_run_id == LOAD_2


def test_a_link_of_another_deployment_is_no_cause(store: Store, record: Record) -> None:
    stranger = a_run_id("stranger")
    link = {"run_id": stranger, "deployment": "other", "relation": Relation.CAUSED}
    record(
        store,
        [
            make(IdentityEvent, definition="d", definition_kind="dag", native_key="k", native_id="k"),
            make(LinkEvent, **link, target_native_key="k"),
        ],
    )
    run = next(run for run in ask(store) if run.run_id == a_run_id())
    assert run.caused_by_run_id is None


def test_the_root_of_a_run_that_nobody_identified_is_unknown(store: Store, record: Record) -> None:
    record(store, [make(StateEvent, state=State.RUNNING)])
    assert [run.root_run_id for run in ask(store)] == [None]


def test_a_loop_of_parents_has_no_root_and_ends(store: Store, record: Record) -> None:
    one, other = a_run_id("one"), a_run_id("other")
    named = {"definition": "d", "definition_kind": "dag"}
    record(
        store,
        [
            make(IdentityEvent, run_id=one, **named, native_key="1", native_id="1", parent_run_id=other),
            make(IdentityEvent, run_id=other, **named, native_key="2", native_id="2", parent_run_id=one),
        ],
    )
    assert [run.root_run_id for run in ask(store)] == [None, None]


def test_a_provisional_run_is_hidden_by_what_it_became(store: Store, record: Record) -> None:
    waiting, started = a_run_id("waiting"), a_run_id("started")
    record(
        store,
        [
            make(StateEvent, run_id=waiting, state=State.QUEUED),
            make(StateEvent, run_id=started, seconds=5, state=State.RUNNING),
            make(LinkEvent, run_id=waiting, seconds=5, relation=Relation.BECAME, target_run_id=started),
        ],
    )
    assert ids(store) == [started]


def test_a_run_that_nobody_named_is_of_its_installation_however_many_there_are(store: Store, record: Record) -> None:
    places = [f"d{number:02}" for number in range(MAX_WAYS + 4)]
    record(store, (make(StateEvent, run_id=a_run_id(place), deployment=place, state=State.RUNNING) for place in places))
    for place in (places[0], places[-1]):
        assert ids(store, deployment=place) == ids(store, engine=ENGINE, deployment=place) == [a_run_id(place)]
    assert len(ids(store, engine=ENGINE)) == len(places)


def test_only_a_live_run_whose_heartbeat_is_overdue_is_silent(store: Store, record: Record) -> None:
    overdue, beating, ended, mute = (a_run_id(name) for name in ("overdue", "beating", "ended", "mute"))
    record(store, [make(StateEvent, run_id=run, state=State.RUNNING) for run in (overdue, beating, ended, mute)])
    for run, interval in ((overdue, 0.001), (beating, 3600), (ended, 0.001)):
        beat = {"engine": ENGINE, "deployment": DEPLOYMENT, "witness": "worker", "occurred_at": at(0)}
        record_heartbeats(store, [Heartbeat(run_id=run, interval_seconds=interval, **beat)])
    record(store, [make(StateEvent, run_id=ended, seconds=9, state=State.SUCCEEDED)])
    later = datetime.now(UTC) + timedelta(seconds=10)
    page = list_runs(store, RunFilter(silent=True), limit=10, now=later)
    assert [run.run_id for run in page.items] == [overdue]


def test_a_list_says_how_much_of_a_run_it_leaves_out(store: Store, record: Record) -> None:
    metrics = [make(MetricEvent, seconds=n, name=f"m{n}", value=n) for n in range(LIST_ITEMS + 7)]
    identity = make(
        IdentityEvent,
        definition="d",
        definition_kind="dag",
        native_key="k",
        native_id="k",
        content={"parameters": "x" * 100_000},
    )
    record(store, [identity, *metrics])
    (run,) = ask(store)
    assert len(run.metrics) == LIST_ITEMS
    assert run.parameters is None
    assert run.cut == {"metrics": 7, "parameters": 100_002}


def test_a_cursor_of_another_list_is_refused(store: Store, record: Record) -> None:
    record(store, a_story())
    page = list_runs(store, RunFilter(), limit=2, now=datetime.now(UTC))
    assert page.next_cursor is not None
    with pytest.raises(CursorError):
        list_runs(store, RunFilter(engine="airflow"), limit=2, cursor=page.next_cursor, now=datetime.now(UTC))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    starts=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    between=st.lists(st.integers(0, 8), max_size=6),
    limit=st.integers(1, 4),
)
def test_who_follows_the_cursors_sees_each_run_once_while_others_come(
    tmp_path_factory: pytest.TempPathFactory, empty_file: Path, starts: list[int], between: list[int], limit: int
) -> None:
    file = shutil.copy(empty_file, tmp_path_factory.mktemp("paging"))
    _follow_cursors(f"sqlite:///{file}", starts, between, limit)


def test_who_follows_the_cursors_on_postgresql_sees_each_run_once_too(postgresql_url: str) -> None:
    _follow_cursors(postgresql_url, [0, 0, 0, 1, 1, 5, 2, 2, 2, 3], [9, 0, 4, 1, 1], 2)


def _follow_cursors(url: str, starts: list[int], between: list[int], limit: int) -> None:
    """List page by page, with one more run recorded between two pages: many begin at the same moment."""
    store = open_store(url)
    try:
        names = iter(range(1000))
        there = {_begin(store, next(names), second) for second in starts}
        come, seen, cursor = iter(between), list[UUID](), None
        while True:
            page = list_runs(store, RunFilter(), limit=limit, cursor=cursor, now=datetime.now(UTC))
            assert len(page.items) <= limit
            seen += [run.run_id for run in page.items]
            if (cursor := page.next_cursor) is None:
                break
            if (second := next(come, None)) is not None:
                _begin(store, next(names), second)
        assert len(seen) == len(set(seen))
        assert there <= set(seen)
    finally:
        store.close()


def _begin(store: Store, name: int, second: int) -> UUID:
    run_id = a_run_id(str(name))
    ingest_events(store, [make(StateEvent, run_id=run_id, seconds=second, state=State.RUNNING)], principal="test")
    return run_id
