"""Of what a rule tells, and that it tells each of it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from tests.runvis_core.services.notices import LONG_AGO, Clock, Receiver, a_rule, ended, ids, send_all
from tests.runvis_core.services.test_lineage import chain

from runvis_core.model.event import EventBase, FailureEvent, NoteEvent, PresumptionEvent, StateEvent
from runvis_core.model.state import State, Verdict, Witness
from runvis_core.services import runs
from runvis_core.services.notify import occasions, queue
from runvis_core.services.notify.status import list_rules
from runvis_core.services.steps import FAILURES, STEPS
from runvis_core.store.database import Store
from runvis_core.store.liveness import record_beats
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, make

Record = Callable[[Store, Iterable[EventBase]], None]


def failed(name: str, message: str) -> list[EventBase]:
    failure = make(FailureEvent, seconds=1.5, run_id=a_run_id(name), content={"message": message})
    return [*ended(name)[:2], failure, *ended(name)[2:]]


def another_word(name: str, state: State, *, seconds: float = 9) -> EventBase:
    return make(StateEvent, seconds=seconds, run_id=a_run_id(name), state=state, witness=Witness.SCHEDULER)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return which runs were told of, and in which state they ended."""
    return [(notice["run"]["run_id"], notice["state"]) for notice in receiver.notices]


def test_a_rule_that_asks_for_words_of_the_failure_waits_until_these_can_be_found(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, filter={"text": "disk"})
    queue.begin(store, rule, now=clock())
    record(store, [*failed("one", "the disk is full"), *failed("two", "the net is down")])
    send_all(store, rule, clock)
    assert list_rules(store).items[0].behind > 0
    catch_up(store, [FAILURES])
    record(store, failed("three", "a disk is gone"))
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one")
    catch_up(store, [FAILURES])
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one", "three")
    assert list_rules(store).items[0].behind == 0


def test_a_loop_waits_for_the_words_of_the_failure_too(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, on=["loop_detected"], filter={"text": "disk"})
    queue.begin(store, rule, now=clock())
    record(store, chain("a", "b", "a"))
    record(store, [make(FailureEvent, run_id=a_run_id("2"), content={"message": "the disk is full"})])
    catch_up(store, [step for step in STEPS if step is not FAILURES])
    queue.gather_loops(store, rule, now=clock())
    catch_up(store, [FAILURES])
    queue.gather_loops(store, rule, now=clock())
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("2")


def test_a_run_that_turns_out_to_have_failed_is_told_of_when_the_log_says_so(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, filter={"state": ["Failed"]})
    queue.begin(store, rule, now=clock())
    record(store, [*ended("corrected", State.SUCCEEDED), *ended("lost")[:2]])
    send_all(store, rule, clock)
    assert receiver.posts == []
    record(store, [another_word("corrected", State.FAILED)])
    lost = {"run_id": a_run_id("lost"), "verdict": Verdict.LOST, "state": State.FAILED, "reason": "it is gone"}
    record(store, [make(PresumptionEvent, seconds=60, witness=Witness.RECONCILER, **lost)])
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("corrected", "lost")
    assert {notice["state"] for notice in receiver.notices} == {"Failed"}
    # What was presumed comes true: that is no news.
    record(store, [*ended("lost")[2:], another_word("corrected", State.FAILED, seconds=10)])
    send_all(store, rule, clock)
    assert len(receiver.posts) == 2


def test_each_state_in_which_a_run_ended_is_told_once(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    record(store, ended("one", State.SUCCEEDED))
    queue.gather(store, rule, now=clock())
    for seconds, state in ((10, State.FAILED), (11, State.SUCCEEDED), (12, State.FAILED)):
        record(store, [another_word("one", state, seconds=seconds)])
        queue.gather(store, rule, now=clock())
        clock.go_on(seconds=1)
    send_all(store, rule, clock)
    assert told(receiver) == [(run_id, state) for run_id in ids("one") for state in ("Succeeded", "Failed")]
    # Each says what it was made for, whatever became of the run since.
    assert ["ended Succeeded" in notice["text"] for notice in receiver.notices] == [True, False]


def test_a_run_is_told_of_when_what_the_rule_asks_for_comes_after_its_end(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, filter={"definition": "orders", "state": ["Failed"]})
    queue.begin(store, rule, now=clock())
    for name in ("one", "two"):
        record(store, ended(name)[2:])
        send_all(store, rule, clock)
    assert receiver.posts == []
    record(store, [*ended("one")[:1], make(NoteEvent, run_id=a_run_id("one"), content={"text": "a note"})])
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one")
    record(store, [make(NoteEvent, seconds=3, run_id=a_run_id("one"), content={"text": "another"})])
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one")


def test_a_run_that_ended_before_its_rule_began_is_told_of_only_if_it_ends_otherwise(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    record(store, [*ended("before", State.SUCCEEDED), *ended("too", State.SUCCEEDED)])
    queue.begin(store, rule, now=clock())
    for name in ("before", "too"):
        record(store, [make(NoteEvent, run_id=a_run_id(name), content={"text": "a note"})])
    send_all(store, rule, clock)
    assert receiver.posts == []
    record(store, [another_word("too", State.FAILED)])
    send_all(store, rule, clock)
    assert told(receiver) == [(*ids("too"), "Failed")]


def test_a_run_is_not_told_of_again_when_its_notice_is_forgotten(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    send_all(store, rule, clock)
    clock.go_on(days=31)
    record(store, ended("two"))
    send_all(store, rule, clock)
    assert list_rules(store).items[0].sent == 1
    record(store, [make(NoteEvent, run_id=a_run_id("one"), content={"text": "a note"})])
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one", "two")


def test_a_rule_stays_quiet_about_one_definition_and_not_about_another_of_its_name(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, repeat_after_seconds=3600)
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    for name, changed in (
        ("elsewhere", {"deployment": "staging"}),
        ("another engine", {"engine": "prefect"}),
        ("another kind", {}),
    ):
        events = [event.model_copy(update=changed) for event in ended(name)]
        if not changed:
            events[0] = events[0].model_copy(update={"definition_kind": "task"})
        record(store, events)
    # Two of which nobody said what they are have nothing in common.
    record(store, [*ended("nameless")[1:], *ended("nameless too")[1:]])
    record(store, ended("two"))
    send_all(store, rule, clock)
    expected = ids("one", "elsewhere", "another engine", "another kind", "nameless", "nameless too")
    assert receiver.run_ids == expected
    clock.go_on(minutes=30)
    # What is said of a run that was told of long ago is no occasion, and makes nobody quiet.
    record(store, [make(NoteEvent, run_id=a_run_id("one"), content={"text": "a note"})])
    clock.go_on(minutes=31)
    record(store, [make(NoteEvent, seconds=1, run_id=a_run_id("one"), content={"text": "more"}), *ended("three")])
    send_all(store, rule, clock)
    assert receiver.run_ids == [*expected, *ids("three")]


def test_loops_and_silent_runs_wait_for_room_and_are_not_lost(
    store: Store, record: Record, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_PENDING", 2)
    rule = a_rule(receiver.url, on=["loop_detected", "silence"])
    queue.begin(store, rule, now=clock())
    names = ["one", "two", "three"]
    for name in names:
        record(store, ended(name)[:2])
        record_beats(store.engine, {a_run_id(name): 60.0}, clock())
        clock.go_on(seconds=1)
    for number in range(5):
        record(store, chain(f"a{number}", f"b{number}", f"a{number}", first=10 * number + 10))
    catch_up(store, STEPS)
    clock.go_on(minutes=4)
    most = 0
    for _ in range(20):
        queue.gather_loops(store, rule, now=clock())
        queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
        most = max(most, list_rules(store).items[0].pending)
        send_all(store, rule, clock)
    assert most == 2
    assert sorted(receiver.run_ids) == sorted(ids(*names, *(str(10 * number + 12) for number in range(5))))


def test_more_silent_runs_than_a_list_shows_do_not_hide_a_new_one(
    store: Store, record: Record, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_SILENT", 2)
    monkeypatch.setattr(occasions, "CHUNK", 2)
    rule = a_rule(receiver.url, on=["silence"])
    queue.begin(store, rule, now=clock())
    for name in ("one", "two", "three"):
        record(store, ended(name)[:2])
        record_beats(store.engine, {a_run_id(name): 60.0}, clock())
        clock.go_on(seconds=1)
    clock.go_on(minutes=4)
    for _ in range(2):
        queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
        send_all(store, rule, clock)
        clock.go_on(seconds=10)
    assert sorted(receiver.run_ids) == sorted(ids("one", "two", "three"))


def test_a_run_that_is_silent_for_months_is_told_of_once(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, on=["silence", "run_ended"])
    queue.begin(store, rule, now=clock())
    record(store, ended("one")[:2])
    record_beats(store.engine, {a_run_id("one"): 60.0}, clock())
    for days in (1, 31):
        clock.go_on(days=days)
        record(store, ended(f"{days} days"))
        queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
        send_all(store, rule, clock)
    queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
    send_all(store, rule, clock)
    assert receiver.run_ids.count(*ids("one")) == 1


def test_a_rule_that_tells_of_no_ends_is_behind_nothing_and_begins_with_them_at_the_head(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, on=["silence"])
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    assert list_rules(store).items[0].behind == 0
    changed = a_rule(receiver.url, on=["silence", "run_ended"])
    queue.begin(store, changed, now=clock())
    record(store, ended("two"))
    assert list_rules(store).items[0].behind > 0
    send_all(store, changed, clock)
    assert receiver.run_ids == ids("two")
    queue.begin(store, changed, now=clock() + timedelta(days=1))
    record(store, ended("three"))
    send_all(store, changed, clock)
    assert receiver.run_ids == ids("two", "three")


def test_after_a_server_was_down_its_runs_have_time_to_say_that_they_live(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, on=["silence"])
    queue.begin(store, rule, now=clock())
    for name in ("dead", "alive"):
        record(store, ended(name)[:2])
        record_beats(store.engine, {a_run_id(name): 60.0}, clock())
    clock.go_on(hours=1)
    heard_again_at = clock()
    for seconds in (10, 100, 69):
        clock.go_on(seconds=seconds)
        queue.gather_silent(store, rule, since=heard_again_at, now=clock())
        record_beats(store.engine, {a_run_id("alive"): 60.0}, clock())
    send_all(store, rule, clock)
    assert receiver.posts == []
    clock.go_on(seconds=2)
    queue.gather_silent(store, rule, since=heard_again_at, now=clock())
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("dead")
