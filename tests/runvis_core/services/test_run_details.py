from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from runvis_core.errors import NotFoundError
from runvis_core.model.event import (
    AliasEvent,
    EventBase,
    IdentityEvent,
    LinkEvent,
    PresumptionEvent,
    SnapshotEvent,
    StateEvent,
)
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.identity import correction_id
from runvis_core.model.state import Relation, State, Verdict, Witness
from runvis_core.services.answers import RunDetail
from runvis_core.services.ingest import record_heartbeats
from runvis_core.services.names import Within, find_run_id
from runvis_core.services.run_details import get_run
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def ask(store: Store, name: object) -> RunDetail:
    return get_run(store, str(name), now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (str(LOAD_1), LOAD_1),
        (LOAD_1.hex, LOAD_1),
        (str(LOAD_1).upper(), LOAD_1),
        (str(LOAD_1)[:6], LOAD_1),
        (str(LOAD_1)[:13], LOAD_1),
        ("etl/r1", ETL),
        ("etl/r1/load", LOAD_2),
        ("0190aaaa-lineage", LOAD_2),
        (str(correction_id(LOAD_1, State.SUCCEEDED)), LOAD_1),
        (str(correction_id(LOAD_1, State.SUCCEEDED))[:8], LOAD_1),
    ],
)
def test_a_run_is_found_by_any_of_its_names(store: Store, record: Record, name: str, expected: UUID) -> None:
    record(store, a_story())
    found = ask(store, name)
    assert found.run_id == expected
    assert found.asked_for == name


NO_RUN = "530879c3-b5f0-4433-8991-6e590d599332"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "12345",
        "zzz",
        "a\x00b",
        "x" * 5000,
        "' OR 1=1 --",
        "%",
        NO_RUN,
        "etl/r",
        "\ud800",
        "etl/r1/loa%",
    ],
)
def test_what_no_run_is_called_is_not_found(store: Store, record: Record, name: str) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError, match="there is no run"):
        ask(store, name)


def test_an_unknown_name_is_answered_with_those_near_it(store: Store, record: Record) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError, match=str(ETL)):
        ask(store, "etl/r2")
    wrong = str(LOAD_1)[:7] + ("0" if str(LOAD_1)[7] != "0" else "1")
    with pytest.raises(NotFoundError, match=str(LOAD_1)):
        ask(store, wrong)


def test_a_name_that_several_runs_have_names_them_all(store: Store, record: Record) -> None:
    one, other = a_run_id("one"), a_run_id("other")
    named = {"definition": "d", "definition_kind": "flow", "native_id": "same"}
    record(
        store,
        [
            make(IdentityEvent, run_id=one, native_key="1", **named),
            make(IdentityEvent, run_id=other, native_key="2", **named),
        ],
    )
    with pytest.raises(NotFoundError, match="several runs") as caught:
        ask(store, "same")
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)


@pytest.mark.parametrize("named", [IdentityEvent, AliasEvent])
def test_a_name_that_two_deployments_have_means_one_within_each(
    store: Store, record: Record, named: type[EventBase]
) -> None:
    west, east = a_run_id("west"), a_run_id("east")
    said: list[EventBase] = []
    for run, deployment in ((west, "west"), (east, "east")):
        said += [
            make(StateEvent, run_id=run, deployment=deployment, state=State.RUNNING),
            make(
                IdentityEvent,
                run_id=run,
                deployment=deployment,
                definition="d",
                definition_kind="flow",
                native_id="same",
                native_key="same",
            )
            if named is IdentityEvent
            else make(AliasEvent, run_id=run, deployment=deployment, system="other", native_id="same"),
        ]
    record(store, said)
    engine = said[0].engine
    assert find_run_id(store, "same", Within(engine=engine, deployment="west")) == west
    assert find_run_id(store, "same", Within(deployment="east")) == east
    with pytest.raises(NotFoundError, match="several runs"):
        find_run_id(store, "same", Within(engine=engine))
    for within in (Within(deployment="north"), Within(engine="other", deployment="west")):
        with pytest.raises(NotFoundError, match=f"of {within}") as caught:
            find_run_id(store, "same", within)
        assert set(caught.value.near) == {str(west), str(east)}
    with pytest.raises(NotFoundError) as caught:
        find_run_id(store, str(west), Within(deployment="east"))
    assert caught.value.near == [str(west)]


def test_a_provisional_run_is_followed_to_what_it_became(store: Store, record: Record) -> None:
    waiting, started = a_run_id("waiting"), a_run_id("started")
    record(
        store,
        [
            make(StateEvent, run_id=waiting, state=State.QUEUED),
            make(StateEvent, run_id=started, seconds=5, state=State.RUNNING),
            make(LinkEvent, run_id=waiting, seconds=5, relation=Relation.BECAME, target_run_id=started),
        ],
    )
    found = ask(store, waiting)
    assert found.run_id == started
    assert found.provisional_run_ids == [waiting]


def test_the_transitions_tell_who_reported_them_and_how_long_each_state_lasted(store: Store, record: Record) -> None:
    record(store, a_story())
    told = [
        (
            step.state,
            step.native_state,
            step.occurred_at,
            step.duration_seconds,
            [word.witness for word in step.reports],
        )
        for step in ask(store, LOAD_1).transitions
    ]
    worker, scheduler, follower = Witness.WORKER, Witness.SCHEDULER, Witness.FOLLOWER
    assert told == [
        (State.QUEUED, None, at(5), 5.0, [scheduler]),
        (State.RUNNING, "running", at(10), 60.0, [worker, scheduler]),
        (State.FAILED, "up_for_retry", at(70), 20.0, [worker]),
        (State.SUCCEEDED, "success", at(90), None, [follower]),
    ]


def test_a_snapshot_tells_the_transitions_that_nobody_reported(store: Store, record: Record) -> None:
    times = {"queued_at": at(1), "started_at": at(2), "ended_at": at(9)}
    snapshot = make(
        SnapshotEvent, witness=Witness.FOLLOWER, seconds=60, state=State.SUCCEEDED, native_state="success", **times
    )
    record(store, [snapshot])
    told = [(step.state, step.occurred_at, step.duration_seconds) for step in ask(store, a_run_id()).transitions]
    assert told == [(State.QUEUED, at(1), 1.0), (State.RUNNING, at(2), 7.0), (State.SUCCEEDED, at(9), None)]


def test_testimony_and_corrections_name_witness_times_and_position(store: Store, record: Record) -> None:
    record(store, a_story())
    run = ask(store, LOAD_1)
    assert [(word.witness, word.state, word.occurred_at) for word in run.testimony] == [
        (Witness.WORKER, State.FAILED, at(70)),
        (Witness.FOLLOWER, State.SUCCEEDED, at(90)),
    ]
    assert all(word.recorded_at > at(0) and word.position > 0 and word.principal == "test" for word in run.testimony)
    (correction,) = run.corrections
    assert (correction.run_id, correction.corrects) == (correction_id(LOAD_1, State.SUCCEEDED), LOAD_1)
    assert (correction.state, correction.native_state) == (State.SUCCEEDED, "success")
    assert correction.report.position == run.testimony[1].position


def test_a_failure_is_told_whole_with_the_end_of_the_log(store: Store, record: Record) -> None:
    record(store, a_story())
    run = ask(store, LOAD_1)
    assert run.failure is not None
    assert run.failure.traceback == "Traceback\n  in load"
    assert run.log is not None
    assert (run.log.tail, run.log.counts) == ("one\ntwo", {"ERROR": 2})
    assert [(item.kind, item.content) for item in run.said] == [("note", {"text": "again", "author": "ann"})]


def test_what_was_filled_in_after_the_end_is_marked_late(store: Store, record: Record) -> None:
    record(store, a_story())
    run = ask(store, LOAD_1)
    assert [(fact.field, fact.value) for fact in run.late] == [("owner", "team")]
    assert run.frozen_position is not None
    assert run.late[0].position > run.frozen_position


def test_the_attempts_of_one_thing_are_told_in_order(store: Store, record: Record) -> None:
    record(store, a_story())
    for run_id in (LOAD_1, LOAD_2):
        assert [(one.attempt, one.run_id) for one in ask(store, run_id).attempts] == [(1, LOAD_1), (2, LOAD_2)]


def test_links_and_aliases_are_told(store: Store, record: Record) -> None:
    record(store, a_story())
    run = ask(store, LOAD_2)
    assert [(link.relation, link.target_native_key) for link in run.links] == [(Relation.CAUSED, "dag_run/child/c1")]
    assert [(alias.system, alias.native_id) for alias in run.aliases] == [("openlineage", "0190aaaa-lineage")]


def test_a_run_keeps_the_definition_that_it_ran(store: Store, record: Record) -> None:
    record(store, a_story())
    version = ask(store, ETL).definition_version
    assert version is not None
    assert (version.version, version.schedule) == ("c0ffee", "@daily")
    assert version.structure == {"tasks": [{"id": "load", "operator": "PythonOperator"}], "edges": []}


def test_a_presumption_is_told_with_its_evidence(store: Store, record: Record) -> None:
    said = {
        "verdict": Verdict.LOST,
        "state": State.FAILED,
        "reason": "the API has no such run",
        "evidence": {"status": 404},
    }
    record(
        store,
        [
            make(StateEvent, state=State.RUNNING),
            make(PresumptionEvent, witness=Witness.RECONCILER, seconds=9, **said),
        ],
    )
    run = ask(store, a_run_id())
    assert (run.state, run.effective_state, run.presumed) == (State.RUNNING, State.FAILED, Verdict.LOST)
    assert run.presumption is not None
    assert (run.presumption.reason, run.presumption.evidence) == ("the API has no such run", {"status": 404})


def test_the_last_sign_of_life_is_told(store: Store, record: Record) -> None:
    record(store, [make(StateEvent, state=State.RUNNING)])
    assert ask(store, a_run_id()).liveness is None
    beat = Heartbeat(
        run_id=a_run_id(),
        engine=ENGINE,
        deployment=DEPLOYMENT,
        witness=Witness.WORKER,
        occurred_at=at(0),
        interval_seconds=60,
    )
    record_heartbeats(store, [beat])
    alive = get_run(store, str(a_run_id()), now=datetime.now(UTC)).liveness
    assert alive is not None
    assert not alive.silent
    for seconds, silent in ((175, False), (181, True)):
        later = get_run(store, str(a_run_id()), now=datetime.now(UTC) + timedelta(seconds=seconds)).liveness
        assert later is not None
        assert later.silent == silent


def test_the_tree_of_a_run_holds_its_children_and_what_they_started(store: Store, record: Record) -> None:
    record(store, a_story())
    tree = ask(store, ETL).tree
    assert tree.run_id == ETL
    assert [child.run_id for child in tree.children] == [LOAD_1, LOAD_2]
    assert [ref.run_id for ref in tree.children[1].caused] == [CHILD]
    assert tree.cut_children == 0
