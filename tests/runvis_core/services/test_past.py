"""The past is told as it was, and with the present as its moment it is today's answer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runvis_core.errors import CursorError, NotFoundError, PastError
from runvis_core.model.event import EventBase, IdentityEvent, LinkEvent, PresumptionEvent, SnapshotEvent, StateEvent
from runvis_core.model.state import Relation, State, Verdict, Witness
from runvis_core.services.answers import RunSummary, TreeNode
from runvis_core.services.filters import RunFilter
from runvis_core.services.past_details import get_past_run_detail
from runvis_core.services.past_feed import find_failed_inside_at
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_runs import list_past_runs
from runvis_core.services.past_trees import get_past_tree
from runvis_core.services.run_details import get_run
from runvis_core.services.run_trees import get_tree
from runvis_core.services.runs import list_runs
from runvis_core.store.database import Store, open_store
from runvis_core.store.log import SqlEventLog
from runvis_core.testing.event_log_suite import append, seal_all
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.histories import histories
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]
NOW = datetime(2999, 1, 1, tzinfo=UTC)
NAMES = ["run", "other", "parent"]


def past_list(store: Store, filters: RunFilter | None = None, **asked: Any) -> list[RunSummary]:
    return list_past_runs(store, filters or RunFilter(), PastFilter(**asked), limit=50, now=NOW).items


def states(store: Store, filters: RunFilter | None = None, **asked: Any) -> dict[UUID, State | None]:
    return {run.run_id: run.effective_state for run in past_list(store, filters, **asked)}


def head_of(store: Store) -> int:
    return store.log.head().position


@st.composite
def worlds(draw: st.DrawFn) -> list[EventBase]:
    """Histories of several runs, told in any order."""
    told: list[EventBase] = []
    for name in NAMES:
        told += [event.model_copy(update=_of(event, name)) for event in draw(histories)]
    return draw(st.permutations(told))


def _of(event: EventBase, name: str) -> dict[str, Any]:
    moved = event.model_copy(update={"run_id": a_run_id(name)})
    return {"run_id": a_run_id(name), "event_id": moved.derived_id()}


def without_today_only(answer: RunSummary) -> dict[str, Any]:
    said = answer.model_dump()
    said["completeness"] = said["liveness"] = None
    said["cut"] = {}
    _sort_caused(said.get("tree"))
    return said


def _sort_caused(node: dict[str, Any] | None) -> None:
    for one in [node] if node else []:
        one["caused"].sort(key=str)
        for child in one["children"]:
            _sort_caused(child)


def check_the_present(store: Store) -> None:
    for asked in (PastFilter(as_of=NOW), PastFilter(known_at=head_of(store)), PastFilter(as_of=NOW, known_at=NOW)):
        for filters in (
            RunFilter(),
            RunFilter(state=[State.SUCCEEDED, State.RUNNING]),
            RunFilter(definition="alpha"),
            RunFilter(conflicting=True),
            RunFilter(unnamed=True),
            RunFilter(since=at(10), until=at(40), engine="airflow"),
        ):
            today = list_runs(store, filters, limit=50, now=NOW)
            past = list_past_runs(store, filters, asked, limit=50, now=NOW)
            assert [without_today_only(run) for run in past.items] == [without_today_only(run) for run in today.items]
        for run in list_runs(store, RunFilter(), limit=50, now=NOW).items:
            name = str(run.run_id)
            now, then = get_run(store, name, now=NOW), get_past_run_detail(store, name, asked, now=NOW)
            assert without_today_only(then) == without_today_only(now)
            trees = [get_past_tree(store, name, asked, now=NOW).model_dump(), get_tree(store, name).model_dump()]
            for tree in trees:
                _sort_caused(tree)
            assert trees[0] == trees[1]


@given(worlds())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_the_present_is_todays_answer_on_sqlite(empty_file: Path, told: list[EventBase]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{shutil.copy(empty_file, folder)}")
        try:
            append(store, *told)
            check_the_present(store)
        finally:
            store.close()


def test_the_present_is_todays_answer_for_a_story(store: Store, record: Record) -> None:
    record(store, a_story())
    check_the_present(store)


@given(told=st.lists(worlds(), min_size=1, max_size=1))
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_present_is_todays_answer_after_each_of_many_histories(store: Store, told: list[list[EventBase]]) -> None:
    for world in told:
        append(store, *world)
        check_the_present(store)


def test_as_of_a_moment_runs_are_in_the_state_that_they_were_in(store: Store, record: Record) -> None:
    record(store, a_story())
    assert states(store, as_of=at(-1)) == {}
    assert states(store, as_of=at(15)) == {ETL: State.RUNNING, LOAD_1: State.RUNNING}
    assert states(store, as_of=at(75)) == {ETL: State.RUNNING, LOAD_1: State.FAILED}
    assert states(store, as_of=at(95)) == {ETL: State.RUNNING, LOAD_1: State.SUCCEEDED}
    assert states(store, as_of=at(7)) == {ETL: State.RUNNING, LOAD_1: None}, (
        "a snapshot without a state told of a queue"
    )
    first = past_list(store, as_of=at(75))[0]
    assert (first.run_id, first.corrected, first.ended_at, first.failure is not None) == (LOAD_1, False, at(70), True)
    assert past_list(store, as_of=at(60))[0].failure is None


def test_known_at_a_position_only_what_had_been_recorded_counts(store: Store, record: Record) -> None:
    story = a_story()
    record(store, story)
    end = next(place for place, event in enumerate(story, 1) if getattr(event, "state", None) is State.FAILED)
    assert states(store, known_at=end - 1)[LOAD_1] is State.RUNNING
    assert states(store, known_at=end)[LOAD_1] is State.FAILED
    assert states(store, known_at=0) == {}
    assert LOAD_2 not in states(store, known_at=end)
    then = get_past_run_detail(store, str(LOAD_1), PastFilter(known_at=end), now=NOW)
    assert (then.corrections, then.effective_state, then.late, then.said) == ([], State.FAILED, [], [])
    assert get_run(store, str(LOAD_1), now=NOW).corrections != []
    tree = get_past_tree(store, str(ETL), PastFilter(known_at=end), now=NOW)
    assert [child.run_id for child in tree.children] == [LOAD_1]


def test_a_late_event_changes_what_was_and_not_what_was_known(store: Store) -> None:
    clock = iter([at(10), at(3600)])
    log = SqlEventLog(store.engine, clock=lambda: next(clock))
    running = make(StateEvent, seconds=5, state=State.RUNNING)
    log.append(seal_all([running]), principal="test")
    log.append(seal_all([make(StateEvent, seconds=8, state=State.FAILED)]), principal="test")
    run_id = a_run_id()
    assert states(store, as_of=at(9)) == {run_id: State.FAILED}
    assert states(store, as_of=at(9), known_at=1) == {run_id: State.RUNNING}
    assert states(store, known_at=at(60)) == {run_id: State.RUNNING}
    assert states(store, known_at=at(3600)) == {run_id: State.FAILED}
    assert states(store, known_at=at(9)) == {}
    assert states(store, as_of=at(20), known_at=at(60)) == {run_id: State.RUNNING}


def test_filters_go_by_what_was_the_case_then(store: Store, record: Record) -> None:
    def named(definition: str, witness: Witness, seconds: float) -> EventBase:
        return make(
            IdentityEvent,
            witness=witness,
            seconds=seconds,
            definition=definition,
            definition_kind="task",
            native_key="k",
            native_id="n",
            parent_run_id=a_run_id(definition),
        )

    record(store, [named("guess", Witness.WORKER, 1), make(StateEvent, seconds=2, state=State.RUNNING)])
    record(store, [named("right", Witness.SCHEDULER, 3), make(StateEvent, seconds=9, state=State.SUCCEEDED)])
    run_id = a_run_id()
    assert states(store, RunFilter(definition="guess"), known_at=2) == {run_id: State.RUNNING}
    assert states(store, RunFilter(definition="guess"), known_at=3) == {}
    assert states(store, RunFilter(definition="right"), known_at=2) == {}
    assert states(store, RunFilter(definition="right"), known_at=3) == {run_id: State.RUNNING}
    assert states(store, RunFilter(state=[State.RUNNING]), as_of=at(5)) == {run_id: State.RUNNING}
    assert states(store, RunFilter(state=[State.RUNNING]), as_of=at(9)) == {}
    assert states(store, RunFilter(engine="prefect"), as_of=at(9)) == {}
    assert states(store, RunFilter(since=at(2)), as_of=at(9)) == {}


@pytest.mark.parametrize("filters", [{"tag": "x"}, {"silent": True}, {"correlation": "f" * 32}])
def test_a_filter_that_has_no_past_is_refused(store: Store, filters: dict[str, Any]) -> None:
    with pytest.raises(PastError, match=next(iter(filters))):
        past_list(store, RunFilter(**filters), as_of=at(0))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"as_of": NOW + timedelta(days=1)}, "future"),
        ({"known_at": NOW + timedelta(days=1)}, "future"),
        ({"known_at": 10_000}, "the log ends at position"),
    ],
)
def test_what_is_not_past_is_refused(store: Store, record: Record, asked: dict[str, Any], said: str) -> None:
    record(store, a_story())
    with pytest.raises(PastError, match=said):
        past_list(store, **asked)


def test_a_run_that_was_not_there_yet_is_not_found(store: Store, record: Record) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError, match="was no run"):
        get_past_run_detail(store, str(CHILD), PastFilter(as_of=at(50)), now=NOW)


def test_a_native_id_means_the_latest_attempt_that_was_there(store: Store, record: Record) -> None:
    record(store, a_story())
    then = get_past_run_detail(store, "etl/r1/load", PastFilter(as_of=at(50)), now=NOW)
    assert then.run_id == LOAD_1
    assert [attempt.run_id for attempt in then.attempts] == [LOAD_1]
    assert get_past_run_detail(store, "etl/r1/load", PastFilter(as_of=at(150)), now=NOW).run_id == LOAD_2


def test_a_run_was_its_provisional_self_before_it_became_another(store: Store, record: Record) -> None:
    waiting, started = a_run_id("waiting"), a_run_id("started")
    record(
        store,
        [
            make(StateEvent, run_id=waiting, seconds=1, state=State.QUEUED),
            make(LinkEvent, run_id=waiting, seconds=10, relation=Relation.BECAME, target_run_id=started),
            make(StateEvent, run_id=started, seconds=10, state=State.RUNNING),
        ],
    )
    assert states(store, as_of=at(5)) == {waiting: State.QUEUED}
    assert states(store, as_of=at(10)) == {started: State.RUNNING}
    assert get_past_run_detail(store, str(started), PastFilter(as_of=at(5)), now=NOW).run_id == waiting


def test_a_run_of_which_it_was_not_known_what_it_becomes_stays_what_it_was(store: Store, record: Record) -> None:
    waiting, started, inside = a_run_id("waiting"), a_run_id("started"), a_run_id("inside")
    record(store, [make(StateEvent, run_id=run, seconds=1, state=State.QUEUED) for run in (waiting, started)])
    named = {"definition": "etl.load", "definition_kind": "task", "native_key": "load", "native_id": "load"}
    record(store, [make(IdentityEvent, run_id=inside, seconds=2, parent_run_id=waiting, **named)])
    known = PastFilter(known_at=head_of(store))
    before = get_past_run_detail(store, str(waiting), known, now=NOW)
    assert before.run_id == waiting
    record(store, [make(LinkEvent, run_id=waiting, seconds=5, relation=Relation.BECAME, target_run_id=started)])
    assert get_past_run_detail(store, str(waiting), known, now=NOW) == before
    assert states(store, RunFilter(parent=str(waiting)), known_at=known.known_at) == {inside: None}
    assert get_past_run_detail(store, str(waiting), PastFilter(known_at=head_of(store)), now=NOW).run_id == started


@pytest.mark.parametrize(
    "said", [{"seconds": 100}, {"seconds": 20}], ids=["told afterwards", "told before its own end"]
)
def test_the_end_that_a_snapshot_tells_of_belongs_to_the_past_from_that_end_on(
    store: Store, record: Record, said: dict[str, Any]
) -> None:
    ended = {"started_at": at(10), "ended_at": at(50), "state": State.FAILED}
    record(store, [make(StateEvent, seconds=10, state=State.RUNNING), make(SnapshotEvent, **ended, **said)])
    for second, state, counted in ((40, State.RUNNING, 1), (50, State.FAILED, 2), (200, State.FAILED, 2)):
        then = get_past_run_detail(store, str(a_run_id()), PastFilter(as_of=at(second)), now=NOW)
        assert (then.state or then.effective_state, then.event_count) == (state, counted)
        assert len(then.testimony) == counted - 1


def test_what_else_leads_to_a_run_takes_no_place_from_what_it_was_before(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runvis_core.services.past_details.MAX_ITEMS", 2)
    waiting, started = a_run_id("waiting"), a_run_id("started")
    linked = {"relation": Relation.CAUSED, "target_run_id": started}
    causes = [make(LinkEvent, run_id=a_run_id(f"cause {number}"), seconds=2, **linked) for number in range(30)]
    record(
        store,
        [
            *causes,
            make(StateEvent, run_id=waiting, seconds=1, state=State.QUEUED),
            make(LinkEvent, run_id=waiting, seconds=10, relation=Relation.BECAME, target_run_id=started),
            make(StateEvent, run_id=started, seconds=10, state=State.RUNNING),
        ],
    )
    then = get_past_run_detail(store, str(started), PastFilter(as_of=at(20)), now=NOW)
    assert then.provisional_run_ids == [waiting]


def test_what_failed_first_inside_is_what_ended_then_not_what_is_presumed_lost(store: Store, record: Record) -> None:
    record(store, a_run("top", begins=0, seconds=60, state=State.FAILED))
    record(store, a_run("silent", begins=1, state=None, kind="task", definition="etl.silent", inside="top"))
    lost = {"verdict": Verdict.LOST, "state": State.FAILED, "reason": "the engine has no word"}
    record(store, [make(PresumptionEvent, run_id=a_run_id("silent"), seconds=20, **lost)])
    bad = {"kind": "task", "definition": "etl.bad", "inside": "top"}
    record(store, a_run("bad", begins=30, state=State.FAILED, **bad))
    for past in (PastFilter(), PastFilter(as_of=at(90))):
        found = find_failed_inside_at(store, a_run_id("top"), past, now=NOW)
        assert found is not None
        assert found.run_id == a_run_id("bad")


def test_pages_of_the_past_hold_each_run_once_and_their_cursors_are_theirs(store: Store, record: Record) -> None:
    record(
        store,
        [make(StateEvent, run_id=a_run_id(f"{n}"), seconds=n % 3, state=State.RUNNING) for n in range(7)],
    )
    asked, seen, cursor = PastFilter(as_of=at(2)), list[UUID](), None
    for _ in range(4):
        page = list_past_runs(store, RunFilter(), asked, limit=2, cursor=cursor, now=NOW)
        seen += [run.run_id for run in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert len(seen) == len(set(seen)) == 7
    first = list_past_runs(store, RunFilter(), asked, limit=2, now=NOW).next_cursor
    with pytest.raises(CursorError):
        list_past_runs(store, RunFilter(), PastFilter(as_of=at(1)), limit=2, cursor=first, now=NOW)


def test_the_tree_of_the_past_has_what_ran_then(store: Store, record: Record) -> None:
    record(store, a_story())

    def below(moment: datetime) -> tuple[list[UUID], list[UUID]]:
        tree: TreeNode = get_past_tree(store, "etl/r1", PastFilter(as_of=moment), now=NOW)
        nodes = [tree, *tree.children]
        return [child.run_id for child in tree.children], [run.run_id for node in nodes for run in node.caused]

    assert below(at(2)) == ([], [])
    assert below(at(50)) == ([LOAD_1], [])
    assert below(at(115)) == ([LOAD_1, LOAD_2], [])
    assert below(at(130)) == ([LOAD_1, LOAD_2], [CHILD])
