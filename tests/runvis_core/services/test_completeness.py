"""What is missing from the record is known, wherever it was lost, and nothing else is called missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import (
    EventBase,
    IdentityEvent,
    ProducerClosedEvent,
    ProducerOpenedEvent,
    SnapshotEvent,
    StateEvent,
)
from runvis_core.model.state import State, Witness
from runvis_core.services.answers import RunCompleteness, Wholeness
from runvis_core.services.completeness import check_completeness, get_completeness
from runvis_core.services.completeness_answers import AccountRow, By, Completeness, CompletenessFilter
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import ingest_items
from runvis_core.services.run_details import get_run
from runvis_core.services.runs import list_runs
from runvis_core.store.account import ACCOUNT
from runvis_core.store.database import Store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, at, make

Record = Callable[[Store, Iterable[EventBase]], None]
NOW = at(3600)
LONG_AGO, FAR_OFF = datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
"""Wide enough for whatever the clock says by which the store records."""
WORKER = a_run_id("the worker's process")
SCHEDULER = a_run_id("the scheduler's process")


def numbered(producer: UUID, events: Iterable[EventBase], *, first: int = 0) -> list[EventBase]:
    return [
        event.model_copy(update={"producer": producer, "sequence": number})
        for number, event in enumerate(events, first)
    ]


def identity(
    name: str, witness: Witness = Witness.WORKER, *, definition: str = "load", seconds: float = 1
) -> EventBase:
    return make(
        IdentityEvent,
        witness=witness,
        run_id=a_run_id(name),
        seconds=seconds,
        definition=definition,
        definition_kind="task",
        native_key=name,
        native_id=name,
    )


def a_life(name: str = "run", *, end: State = State.SUCCEEDED, **said: Any) -> list[EventBase]:
    """Return what a worker's process says from its opening to its closing: numbers 0 to 4."""
    run_id = a_run_id(name)
    return [
        make(ProducerOpenedEvent, component="task", host="h1", pid=7, producer=WORKER),
        identity(name, **said),
        make(StateEvent, run_id=run_id, seconds=2, state=State.RUNNING),
        make(StateEvent, run_id=run_id, seconds=9, state=end),
        make(ProducerClosedEvent, seconds=10, producer=WORKER),
    ]


def books(name: str, *, started: float = 20, ended: float = 30, definition: str = "load") -> list[EventBase]:
    """Return what a scheduler's books say of a run."""
    return [
        identity(name, Witness.SCHEDULER, definition=definition, seconds=started),
        make(
            SnapshotEvent,
            witness=Witness.SCHEDULER,
            run_id=a_run_id(name),
            seconds=ended,
            started_at=at(started),
            ended_at=at(ended),
            state=State.FAILED,
        ),
    ]


def account(store: Store, by: By = By.DEPLOYMENT, **asked: Any) -> Completeness:
    filters = CompletenessFilter(by=by, since=LONG_AGO, until=FAR_OFF, **asked)
    return get_completeness(store, filters, limit=50, now=NOW)


def only_row(store: Store, by: By = By.DEPLOYMENT) -> AccountRow:
    (row,) = account(store, by).items
    return row


def of_run(store: Store, name: str = "run") -> RunCompleteness:
    found = get_run(store, str(a_run_id(name)), now=NOW).completeness
    listed = {run.run_id: run.completeness for run in list_runs(store, RunFilter(), limit=50, now=NOW).items}
    assert found is not None
    assert listed[a_run_id(name)] == found, "a list and a run's page say the same"
    return found


def test_a_life_told_from_opening_to_closing_is_whole(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life()))
    assert of_run(store) == RunCompleteness(outcome=Wholeness.WHOLE, whole=True)
    row = only_row(store)
    assert (row.sent, row.stored, row.missing, row.refused, row.producers, row.closed) == (5, 5, 0, 0, 1, 1)
    assert (row.runs, row.whole) == (1, 1)
    assert account(store).whole is True


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_any_number_that_did_not_come_is_missing_from_the_run(store: Store, record: Record, lost: int) -> None:
    told = numbered(WORKER, a_life())
    record(store, [event for number, event in enumerate(told) if number != lost])
    row = only_row(store, By.PRODUCER)
    assert (row.sent, row.stored, row.missing, row.component, row.host) == (
        5,
        4,
        1,
        None if lost == 0 else "task",
        None if lost == 0 else "h1",
    )
    (gap,) = account(store, By.PRODUCER).gaps
    assert (gap.producer, gap.low, gap.high, gap.closed_at) == (WORKER, lost, lost, None)
    found = of_run(store)
    assert (found.outcome, found.whole, found.missing) == (Wholeness.MISSING, False, 1)
    assert str(WORKER) in found.reasons[0]


def test_a_lost_tail_is_known_from_the_closing(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    record(store, [*told[:2], told[4]])
    assert only_row(store, By.PRODUCER).missing == 2
    (gap,) = account(store).gaps
    assert (gap.low, gap.high) == (2, 3)


def test_a_gap_closes_when_the_spool_arrives_and_the_account_says_so(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    record(store, [*told[:2], *told[4:]])
    assert account(store).whole is False
    record(store, told[2:4])
    found = account(store)
    assert found.whole is True
    (gap,) = found.gaps
    assert gap.closed_at is not None
    assert gap.noticed_at is not None
    assert gap.late_seconds == (gap.closed_at - gap.noticed_at).total_seconds() > 0
    assert of_run(store).whole is True


def test_a_tail_nobody_told_of_is_not_known_to_be_missing_nor_to_be_whole(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life()[:3]))
    assert of_run(store).outcome is Wholeness.OPEN
    record(store, numbered(SCHEDULER, books("run")))
    found = of_run(store)
    assert (found.outcome, found.whole) == (Wholeness.UNCLOSED, None)
    assert "number 2" in found.reasons[0]
    record(store, numbered(WORKER, a_life()[3:], first=3))
    assert of_run(store).whole is True


def refused(event: EventBase) -> bytes:
    raw = orjson.loads(wire_item(seal(event)))
    raw["event"]["state"] = "Nonsense"
    return orjson.dumps(raw)


def test_what_the_door_refused_is_refused_and_not_missing(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    record(store, told[:2])
    outcomes = ingest_items(store, [refused(told[2])], principal="test")
    assert [outcome.status for outcome in outcomes] == ["refused"]
    record(store, told[3:])
    row = only_row(store, By.PRODUCER)
    assert (row.sent, row.stored, row.refused, row.missing) == (5, 4, 1, 0)
    assert account(store).gaps == []
    found = of_run(store)
    assert (found.outcome, found.whole, found.refused, found.missing) == (Wholeness.REFUSED, False, 1, 0)


def test_what_was_refused_and_taken_later_is_stored(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    ingest_items(store, [refused(told[2]), refused(told[2])], principal="test")
    record(store, told)
    row = only_row(store, By.PRODUCER)
    assert (row.stored, row.refused, row.missing) == (5, 0, 0)
    assert of_run(store).whole is True


def test_a_producer_of_whom_all_was_refused_is_in_the_account(store: Store) -> None:
    told = numbered(WORKER, a_life())
    ingest_items(store, [refused(told[2])], principal="test")
    filters = CompletenessFilter(by=By.PRODUCER)
    found = get_completeness(store, filters, limit=10, now=store.clock() + timedelta(seconds=1))
    (row,) = found.items
    assert (row.producer, row.engine, row.refused, row.stored) == (WORKER, "airflow", 1, 0)
    assert row.missing == 2, "it gave numbers 0 and 1 before that"


@pytest.mark.parametrize("item", [b"{", b"[]", b'{"event": {"producer": "x", "sequence": 1}}', b'{"event": 5}'])
def test_what_nobody_numbered_is_refused_without_a_trace_in_the_account(store: Store, item: bytes) -> None:
    assert [one.status for one in ingest_items(store, [item], principal="test")] == ["refused"]
    assert account(store).items == []


def test_a_run_that_only_the_scheduler_knows_lacks_its_workers_word(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life("heard")))
    record(store, numbered(SCHEDULER, books("unheard")))
    found = of_run(store, "unheard")
    assert (found.outcome, found.whole, found.lacking) == (Wholeness.LACKING, False, [Witness.WORKER])
    assert of_run(store, "heard").whole is True
    by_definition = account(store, By.DEFINITION)
    (row,) = by_definition.items
    assert (row.definition, row.runs, row.whole, row.lacking) == ("load", 2, 1, 1)
    assert [run.run_id for run in by_definition.runs] == [a_run_id("unheard")]
    assert check_completeness(store, now=at(60)).outcome == "warning"


def test_where_no_worker_speaks_none_is_expected(store: Store, record: Record) -> None:
    record(store, numbered(SCHEDULER, books("run")))
    assert of_run(store).whole is True


def test_a_definition_of_which_no_worker_was_heard_is_not_known_to_be_whole(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life("heard")))
    record(store, numbered(SCHEDULER, books("server only", definition="elsewhere")))
    found = of_run(store, "server only")
    assert (found.outcome, found.whole, found.lacking) == (Wholeness.UNHEARD, None, [])


@pytest.mark.parametrize(("started", "ended"), [(-50, -40), (20, 20)])
def test_a_run_before_the_first_word_or_that_nobody_worked_on_expects_no_worker(
    store: Store, record: Record, started: float, ended: float
) -> None:
    record(store, numbered(WORKER, a_life("heard")))
    record(store, numbered(SCHEDULER, books("booked", started=started, ended=ended)))
    assert of_run(store, "booked").whole is True


def test_a_gap_of_a_scheduler_counts_for_the_runs_that_it_may_have_told_of(store: Store, record: Record) -> None:
    for name, first in (("early", 0), ("between", 6), ("late", 8)):
        record(store, numbered(SCHEDULER, books(name), first=first))
    assert of_run(store, "early").whole is True, "its end was told before the gap"
    assert of_run(store, "between").missing == 4, "the gap stands right before its first number"
    assert of_run(store, "late").whole is True, "another run was told of since the gap"
    going_on = [identity("going on", Witness.SCHEDULER), make(StateEvent, run_id=a_run_id("going on"), state="Running")]
    record(store, numbered(a_run_id("another"), going_on))
    record(store, numbered(a_run_id("another"), books("going on")[1:], first=5))
    found = of_run(store, "going on")
    assert (found.outcome, found.missing) == (Wholeness.MISSING, 3)


def test_the_account_is_the_same_before_and_after_the_projection_takes_it_up(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life())[:3])
    catch_up(store, [ACCOUNT])
    record(store, [*numbered(WORKER, a_life())[4:], *numbered(SCHEDULER, books("other"))])
    before = (of_run(store), of_run(store, "other"), account(store, By.DEFINITION))
    catch_up(store, [ACCOUNT])
    assert (of_run(store), of_run(store, "other"), account(store, By.DEFINITION)) == before
    rebuild_store(store)
    assert (of_run(store), of_run(store, "other"), account(store, By.DEFINITION)) == before
    catch_up(store, [ACCOUNT])
    assert (of_run(store), of_run(store, "other"), account(store, By.DEFINITION)) == before


def test_the_account_is_narrowed_and_tells_what_it_leaves_out(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life()))
    record(store, numbered(SCHEDULER, books("other", definition="other")))
    assert account(store, deployment="elsewhere").items == []
    assert [row.definition for row in account(store, definition="other").items] == ["other"]
    filters = CompletenessFilter(by=By.PRODUCER, since=LONG_AGO, until=FAR_OFF)
    found = get_completeness(store, filters, limit=1, now=NOW)
    assert (len(found.items), found.cut) == (1, 1)
    assert get_completeness(store, CompletenessFilter(until=LONG_AGO), limit=1, now=NOW).items == []


def test_one_missing_number_is_one_however_the_account_is_kept(store: Store, record: Record) -> None:
    told: list[EventBase] = [make(ProducerOpenedEvent, component="scheduler", producer=SCHEDULER)]
    for name in ("a", "b", "c"):
        told += [identity(name, definition=name), make(StateEvent, run_id=a_run_id(name), state=State.RUNNING)]
    told += [make(StateEvent, run_id=a_run_id("a"), seconds=second, state=State.FINALIZING) for second in (3, 4)]
    record(store, [event for event in numbered(SCHEDULER, told) if event.sequence != 7])
    found = {by: account(store, by) for by in By}
    assert {by: (one.total.missing, one.total.runs, one.whole) for by, one in found.items()} == dict.fromkeys(
        By, (1, 3, False)
    )
    assert {one.gaps[0].run_count for one in found.values()} == {3}
    assert (found[By.DEFINITION].total.sent, found[By.PRODUCER].total.sent) == (8, 9)
    assert len(found[By.DEFINITION].items) == 3


def test_what_is_left_out_counts_all_the_same_and_each_gap_names_its_runs(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runvis_core.services.completeness.MAX_RUNS", 2)
    for number in range(4):
        producer = a_run_id(f"process {number}")
        life = [event for event in numbered(producer, a_life(f"run {number}")) if event.sequence != 2]
        record(store, [event.model_copy(update={"event_id": event.derived_id()}) for event in life])
    filters = CompletenessFilter(by=By.PRODUCER, since=LONG_AGO, until=FAR_OFF)
    found = get_completeness(store, filters, limit=1, now=NOW)
    assert (found.total.missing, found.total.sent, found.total.runs, found.cut) == (4, 20, 4, 3)
    assert {run.run_id for gap in found.gaps for run in gap.runs} == {a_run_id(f"run {number}") for number in range(4)}
    assert [gap.run_count for gap in found.gaps] == [1, 1, 1, 1]
    assert (len(found.runs), found.cut_runs) == (2, 2)


def test_by_definition_what_is_whole_is_called_so(store: Store, record: Record) -> None:
    record(store, numbered(WORKER, a_life()))
    assert account(store, By.DEFINITION).whole is True


def test_what_a_process_could_not_keep_is_said_though_all_that_it_numbered_came(store: Store, record: Record) -> None:
    *told, closing = a_life()
    record(store, numbered(WORKER, [*told, closing.model_copy(update={"refused": 3})]))
    for by in (By.DEPLOYMENT, By.PRODUCER):
        assert (only_row(store, by).missing, only_row(store, by).unkept, account(store, by).whole) == (0, 3, False)


def test_a_gap_of_a_process_that_opened_long_ago_is_in_the_account(store: Store, record: Record) -> None:
    opened = make(ProducerOpenedEvent, seconds=-30 * 86400, component="scheduler", producer=SCHEDULER)
    told = numbered(SCHEDULER, [opened, *books("early"), *books("late")])
    record(store, told[:3])
    now = store.clock() + timedelta(seconds=1)
    asked = CompletenessFilter(by=By.PRODUCER)
    before = get_completeness(store, asked, limit=10, now=now)
    record(store, told[4:])
    now = store.clock() + timedelta(seconds=1)
    found = get_completeness(store, asked, limit=10, now=now)
    assert (before.total.missing, found.total.missing, len(found.gaps), found.whole) == (0, 1, 1, False)
    earlier = CompletenessFilter(by=By.PRODUCER, since=at(-86400), until=at(-3600))
    assert get_completeness(store, earlier, limit=10, now=now).gaps == []


def test_the_doctor_calls_missing_events_a_problem(store: Store, record: Record) -> None:
    assert check_completeness(store, now=NOW).outcome == "ok"
    record(store, numbered(WORKER, a_life())[:1] + numbered(WORKER, a_life())[2:])
    found = check_completeness(store, now=NOW)
    assert found.outcome == "problem"
    assert "1 missing" in found.detail
