from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.model.entry import Entry
from runvis_core.model.event import (
    ContextEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    MetricEvent,
    PresumptionEvent,
    SnapshotEvent,
    StateEvent,
    UnknownEvent,
)
from runvis_core.model.fold import apply_event, fold_entries
from runvis_core.model.identity import correction_id
from runvis_core.model.run import Record, Run
from runvis_core.model.state import State, Verdict, Witness
from runvis_core.testing.factories import a_run_id, at, make, recorded
from runvis_core.testing.histories import histories, unfinished_histories

STATE_FIELDS = {"effective_state", "presumed"}
"""Verdicts: they follow later testimony, and are no part of what the freeze guards."""


def meaning(record: Record) -> tuple[Any, ...]:
    """All that must not depend on order: everything but the positions."""
    collected = {known.event.event_id for known in record.collections.values()}
    presumption = record.presumption and (record.presumption.verdict, record.presumption.occurred_at)
    return record.run, record.context, collected, presumption


def run_state(seconds: float, state: State, **more: Any) -> StateEvent:
    return make(StateEvent, seconds=seconds, state=state, **more)


@given(unfinished_histories, st.randoms(use_true_random=False), st.data())
def test_before_the_end_any_order_and_duplication_gives_the_same_run(
    history: list[EventBase], random: Any, data: st.DataObject
) -> None:
    entries = recorded(history)
    shuffled = entries + data.draw(st.lists(st.sampled_from(entries), max_size=5))
    random.shuffle(shuffled)
    assert meaning(fold_entries(None, shuffled)) == meaning(fold_entries(None, entries))
    assert meaning(fold_entries(None, reversed(entries))) == meaning(fold_entries(None, entries))


@given(histories)
def test_folding_one_by_one_equals_folding_all(history: list[EventBase]) -> None:
    entries = recorded(history)
    record: Record | None = None
    for entry in entries:
        record = apply_event(record, entry)
    assert record == fold_entries(None, entries)


@given(histories, histories)
def test_after_the_end_no_field_that_is_set_changes(before: list[EventBase], after: list[EventBase]) -> None:
    entries = recorded([*before, run_state(99, State.SUCCEEDED), *after])
    frozen = fold_entries(None, entries[: len(before) + 1])
    later = fold_entries(frozen, entries[len(before) + 1 :])
    for field in fields(Run):
        known = getattr(frozen.run, field.name)
        if known is not None and field.name not in STATE_FIELDS:
            assert getattr(later.run, field.name) == known, field.name
    for section, keys in frozen.context.items():
        assert later.context[section].items() >= keys.items()
    filled = {fact.field for fact in later.late}
    for field in fields(Run):
        grew = getattr(frozen.run, field.name) is None and getattr(later.run, field.name) is not None
        if grew and field.name not in {*STATE_FIELDS, "clock_suspect"}:
            assert field.name in filled


@given(histories)
def test_the_effective_state_is_the_latest_terminal_word(history: list[EventBase]) -> None:
    record = fold_entries(None, recorded(history))
    if not record.is_frozen:
        return
    latest = max(word.occurred_at for word in record.testimonies)
    assert record.run.effective_state in {word.state for word in record.testimonies if word.occurred_at == latest}
    assert {word.state for word in record.testimonies} == {
        record.run.state,
        *(correction.testimony.state for correction in record.corrections),
    }


@given(histories)
def test_folding_leaves_the_record_it_was_given_as_it_was(history: list[EventBase]) -> None:
    entries = recorded(history)
    first = fold_entries(None, entries[:1])
    again = fold_entries(None, entries[:1])
    fold_entries(first, entries[1:])
    assert first == again


def test_a_late_success_after_a_failure_becomes_a_correction() -> None:
    events = [
        run_state(0, State.RUNNING),
        run_state(5, State.FAILED),
        run_state(9, State.SUCCEEDED, witness=Witness.SCHEDULER),
    ]
    record = fold_entries(None, recorded(events))
    assert (record.run.state, record.run.effective_state) == (State.FAILED, State.SUCCEEDED)
    (correction,) = record.corrections
    assert correction.correction_id == correction_id(a_run_id(), "Succeeded")
    assert (correction.corrects, correction.testimony.witness) == (a_run_id(), Witness.SCHEDULER)


def test_an_earlier_word_that_arrives_late_is_a_correction_but_does_not_prevail() -> None:
    events = [run_state(9, State.FAILED), run_state(5, State.SUCCEEDED, witness=Witness.SCHEDULER)]
    record = fold_entries(None, recorded(events))
    assert (record.run.state, record.run.effective_state) == (State.FAILED, State.FAILED)
    assert len(record.corrections) == 1


def test_two_witnesses_of_the_same_other_end_make_one_correction() -> None:
    events = [run_state(5, State.FAILED)]
    events += [run_state(9, State.SUCCEEDED, witness=witness) for witness in (Witness.SCHEDULER, Witness.FOLLOWER)]
    record = fold_entries(None, recorded(events))
    assert len(record.corrections) == 1
    assert len(record.testimonies) == 3


def test_a_lost_run_that_is_heard_again_is_no_longer_presumed() -> None:
    lost = make(PresumptionEvent, seconds=60, verdict=Verdict.LOST, state=State.FAILED, reason="no sign of life")
    record = fold_entries(None, recorded([run_state(0, State.RUNNING), lost]))
    assert (record.run.state, record.run.effective_state) == (State.RUNNING, State.FAILED)
    assert record.run.presumed is Verdict.LOST
    assert not record.is_frozen

    beating = make(PresumptionEvent, seconds=70, verdict=Verdict.BEATING, reason="it beats")
    record = fold_entries(record, recorded([beating], first=3))
    assert (record.run.effective_state, record.run.presumed) == (State.RUNNING, None)

    record = fold_entries(record, recorded([run_state(80, State.SUCCEEDED)], first=4))
    assert (record.run.state, record.run.effective_state) == (State.SUCCEEDED, State.SUCCEEDED)
    assert record.corrections == ()


def test_a_resume_from_deferral_keeps_the_start() -> None:
    record = fold_entries(None, recorded([run_state(0, State.RUNNING), run_state(30, State.RUNNING)]))
    assert record.run.started_at == at(0)


def test_the_workers_start_is_believed_before_the_schedulers_and_the_schedulers_queue_time_before_all() -> None:
    snapshot = make(
        SnapshotEvent, seconds=9, witness=Witness.SCHEDULER, queued_at=at(1), started_at=at(2), state=State.RUNNING
    )
    follower = make(SnapshotEvent, seconds=9, witness=Witness.FOLLOWER, queued_at=at(0))
    record = fold_entries(None, recorded([snapshot, follower, run_state(3, State.RUNNING)]))
    assert (record.run.queued_at, record.run.started_at) == (at(1), at(3))


def test_a_queue_time_that_comes_after_the_end_is_filled_and_marked_late() -> None:
    snapshot = make(SnapshotEvent, seconds=9, witness=Witness.SCHEDULER, queued_at=at(0), state=State.SUCCEEDED)
    record = fold_entries(None, recorded([run_state(1, State.RUNNING), run_state(2, State.SUCCEEDED), snapshot]))
    assert record.run.queued_at == at(0)
    assert [(fact.field, fact.position) for fact in record.late] == [("queued_at", 3)]


def test_context_merges_key_by_key_and_the_later_report_of_a_witness_is_believed() -> None:
    start = make(ContextEvent, seconds=0, code={"commit": "a1"}, environment={"host": "one"}, tags=("x",))
    end = make(ContextEvent, seconds=9, environment={"host": "two", "pid": 7}, tags=("y",))
    record = fold_entries(None, recorded([end, start]))
    assert record.context["code"] == {"commit": "a1"}
    assert record.context["environment"] == {"host": "two", "pid": 7}
    assert set(record.context["tags"]) == {"x", "y"}


def test_an_attempt_that_will_be_tried_again_has_ended_and_says_when_the_next_is_due() -> None:
    ending = run_state(5, State.FAILED, native_state="up_for_retry", retry_expected_at=at(60))
    record = fold_entries(None, recorded([run_state(0, State.RUNNING), ending]))
    assert (record.run.state, record.run.native_state) == (State.FAILED, "up_for_retry")
    assert record.run.retry_expected_at == at(60)


def test_the_end_of_a_run_is_the_engines_own_end_time_where_a_snapshot_says_it() -> None:
    snapshot = make(SnapshotEvent, seconds=50, witness=Witness.SCHEDULER, ended_at=at(7), state=State.FAILED)
    assert fold_entries(None, recorded([snapshot])).run.ended_at == at(7)


def test_facts_of_a_collection_are_kept_once_and_those_after_the_end_are_marked_late() -> None:
    early, late = make(MetricEvent, name="rows", value=1), make(MetricEvent, seconds=9, name="rows", value=2)
    record = fold_entries(None, recorded([early, early, run_state(5, State.SUCCEEDED), late]))
    assert [(known.event, known.late) for known in record.collections.values()] == [(early, False), (late, True)]


def test_a_waiting_run_names_what_it_became() -> None:
    link = make(LinkEvent, relation="became", target_run_id=a_run_id("started"))
    assert fold_entries(None, recorded([run_state(0, State.QUEUED), link])).run.became_run_id == a_run_id("started")


def test_the_workers_failure_is_told_before_the_schedulers() -> None:
    worker = make(FailureEvent, seconds=1, error_type="ValueError")
    scheduler = make(FailureEvent, seconds=5, error_type="lost worker", witness=Witness.SCHEDULER)
    for events in ([worker, scheduler], [scheduler, worker]):
        assert fold_entries(None, recorded(events)).context["failure"]["error_type"] == "ValueError"


def test_an_unknown_kind_changes_nothing_but_is_no_error() -> None:
    unknown = make(UnknownEvent, kind="telepathy", event_id=a_run_id("event"), run_id=a_run_id())
    record = fold_entries(None, recorded([unknown]))
    assert record.run == Run(a_run_id(), "airflow", "test")


@pytest.mark.parametrize(
    ("ahead", "suspect"), [(timedelta(minutes=4), None), (timedelta(minutes=6), True), (timedelta(days=-31), True)]
)
def test_a_time_far_off_is_taken_and_marked(ahead: timedelta, suspect: bool | None) -> None:
    event = run_state(0, State.RUNNING)
    record = fold_entries(None, [Entry(1, event.occurred_at - ahead, "test", event)])
    assert record.run.clock_suspect is suspect
    assert record.run.started_at == event.occurred_at


def test_an_identity_whose_attempt_is_left_at_its_default_is_the_first_attempt() -> None:
    identity = make(IdentityEvent, definition="d", definition_kind="dag", native_key="d/1", native_id="d/1")
    assert fold_entries(None, recorded([identity])).run.attempt == 1
