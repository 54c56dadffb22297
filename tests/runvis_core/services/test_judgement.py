"""Who said what of a run's end, and which rule decided what counts, is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings

from runvis_core.errors import CursorError
from runvis_core.model.event import EventBase, PresumptionEvent, StateEvent
from runvis_core.model.fold import fold_entries
from runvis_core.model.state import State, Verdict, Witness
from runvis_core.services.answers import Rule, TestimonyView
from runvis_core.services.correction_answers import CorrectionFilter
from runvis_core.services.corrections import list_corrections
from runvis_core.services.judgement import judge_state
from runvis_core.services.run_details import get_run
from runvis_core.store.database import Store
from runvis_core.testing.event_log_suite import append
from runvis_core.testing.factories import a_run_id, at, make, recorded
from runvis_core.testing.histories import histories
from runvis_core.testing.story import LOAD_1, a_story

Record = Callable[[Store, Iterable[EventBase]], None]
NOW = at(3600)


def test_the_word_that_counts_is_named_with_the_rule(store: Store, record: Record) -> None:
    record(store, a_story())
    run = get_run(store, str(LOAD_1), now=NOW)
    assert run.judgement is not None
    assert run.judgement.rule is Rule.LATEST_TESTIMONY
    assert run.judgement.decided_by is not None
    assert run.judgement.decided_by.witness is Witness.FOLLOWER
    assert run.judgement.decided_by.position == run.corrections[0].report.position
    for words in ("disagree", "frozen as Failed", "worker told first", "Succeeded by follower"):
        assert words in run.judgement.reason
    assert [(word.kind, word.event_id is not None) for word in run.testimony] == [("state", True)] * 2


def test_a_presumption_decides_until_somebody_tells_the_end(store: Store, record: Record) -> None:
    silent = make(PresumptionEvent, seconds=5, verdict=Verdict.SILENT, reason="no beat", evidence={"last": 1})
    lost = make(PresumptionEvent, seconds=9, verdict=Verdict.LOST, state=State.FAILED, reason="the engine has no word")
    running = make(StateEvent, seconds=1, state=State.RUNNING)
    record(store, [running, silent])
    run = get_run(store, str(a_run_id()), now=NOW)
    assert run.judgement is not None
    assert (run.judgement.rule, run.effective_state) == (Rule.LATEST_STATE, State.RUNNING)
    record(store, [lost])
    run = get_run(store, str(a_run_id()), now=NOW)
    assert run.judgement is not None
    assert (run.judgement.rule, run.effective_state) == (Rule.PRESUMPTION, State.FAILED)
    assert "the engine has no word" in run.judgement.reason
    assert [one.verdict for one in run.presumptions] == [Verdict.SILENT, Verdict.LOST]
    assert run.presumption == run.presumptions[1]
    record(store, [make(StateEvent, seconds=20, state=State.SUCCEEDED)])
    run = get_run(store, str(a_run_id()), now=NOW)
    assert run.judgement is not None
    assert (run.judgement.rule, run.effective_state) == (Rule.ALL_AGREE, State.SUCCEEDED)
    assert len(run.presumptions) == 2, "a verdict that was overtaken stays told"


def test_attestations_and_conflicting_reports_are_told_with_what_they_are_about(store: Store) -> None:
    native = a_run_id("the engine's own id of the transition")
    said = make(StateEvent, event_id=native, state=State.FAILED, seconds=5)
    append(store, said, principal="one")
    append(store, make(StateEvent, event_id=native, state=State.FAILED, seconds=5, witness=Witness.FOLLOWER))
    append(store, make(StateEvent, event_id=native, state=State.SUCCEEDED, seconds=5), principal="two")
    run = get_run(store, str(a_run_id()), now=NOW)
    (attested,) = run.attestations
    assert (attested.attested_by, attested.attested_position, attested.report.position) == (Witness.FOLLOWER, 1, 2)
    (conflict,) = run.conflicts
    assert (conflict.conflicting_position, conflict.said["state"], conflict.report.principal) == (1, "Succeeded", "two")
    assert run.effective_state is State.FAILED
    assert run.judgement is not None
    assert run.judgement.rule is Rule.ALL_AGREE


def test_a_run_of_whose_state_nobody_told_is_judged_by_nobody(store: Store, record: Record) -> None:
    record(store, a_story()[:2])
    run = get_run(store, "etl/r1", now=NOW)
    assert run.judgement is not None
    assert (run.judgement.rule, run.judgement.decided_by) == (Rule.NOBODY, None)


@given(histories)
def test_the_word_that_is_named_is_the_one_by_which_the_fold_decides(told: list[EventBase]) -> None:
    record = fold_entries(None, recorded(told))
    words = [
        TestimonyView(
            witness=word.witness,
            occurred_at=word.occurred_at,
            recorded_at=word.occurred_at,
            position=word.position,
            principal="test",
            state=word.state,
            native_state=word.native_state,
        )
        for word in record.testimonies
    ]
    if not words:
        return
    found = judge_state(
        record.run.state,
        frozen_position=record.run.frozen_position,
        testimony=words,
        presumption=None,
        transitions=[],
    )
    assert found.decided_by is not None
    decided = next(word for word in words if word.position == found.decided_by.position)
    assert decided.state is record.run.effective_state
    assert (found.rule is Rule.ALL_AGREE) == (not record.corrections)


@given(told=histories)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_every_run_with_a_state_has_a_rule_that_decided_it(store: Store, told: list[EventBase]) -> None:
    append(store, *told)
    run = get_run(store, str(a_run_id()), now=NOW)
    assert run.judgement is not None
    assert (run.judgement.rule is Rule.NOBODY) == (run.effective_state is None)


def test_corrections_are_listed_narrowed_and_paged(store: Store, record: Record) -> None:
    record(store, a_story())
    other = a_run_id("another")
    record(
        store,
        [
            make(StateEvent, run_id=other, seconds=900, state=State.SUCCEEDED),
            make(StateEvent, run_id=other, seconds=910, state=State.CANCELLED, witness=Witness.SCHEDULER),
        ],
    )
    first = list_corrections(store, CorrectionFilter(), limit=1)
    (newest,) = first.items
    assert (newest.corrects, newest.frozen_state, newest.state) == (other, State.SUCCEEDED, State.CANCELLED)
    rest = list_corrections(store, CorrectionFilter(), limit=1, cursor=first.next_cursor)
    assert [(item.corrects, item.effective_state) for item in rest.items] == [(LOAD_1, State.SUCCEEDED)]
    assert rest.next_cursor is None
    for narrowed, expected in (
        ({"definition": "etl.load"}, [LOAD_1]),
        ({"engine": "prefect"}, []),
        ({"since": at(800)}, [other]),
        ({"until": at(800)}, [LOAD_1]),
    ):
        found = list_corrections(store, CorrectionFilter(**narrowed), limit=9)
        assert [item.corrects for item in found.items] == expected
    with pytest.raises(CursorError):
        list_corrections(store, CorrectionFilter(engine="airflow"), limit=1, cursor=first.next_cursor)
