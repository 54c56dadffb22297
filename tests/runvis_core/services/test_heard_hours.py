"""Who was heard in which hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from tests.runvis_core.services.test_completeness import WORKER, a_life, numbered

from runvis_core.model.event import EventBase, StateEvent
from runvis_core.model.state import State
from runvis_core.services.completeness_answers import CompletenessFilter
from runvis_core.services.heard_hours import HOURS, HeardSource, get_heard_hours
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, at, make

Record = Callable[[Store, Iterable[EventBase]], None]


def _total(source: HeardSource, name: str) -> int:
    return sum(getattr(hour, name) for hour in source.hours)


def _only(store: Store, **asked: object) -> HeardSource:
    (source,) = get_heard_hours(store, CompletenessFilter.model_validate(asked), now=datetime.now(UTC)).sources
    return source


def test_what_is_missing_stands_in_the_hour_in_which_it_was_noticed(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    record(store, [*told[:2], *told[4:]])
    source = _only(store)
    assert (_total(source, "missing"), _total(source, "filled")) == (2, 0)
    assert sum(hour.heard for hour in source.hours) in (1, 2), "one hour, or two where it turned meanwhile"


def test_what_came_later_is_no_gap_any_more(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    record(store, [*told[:2], *told[4:]])
    record(store, told[2:4])
    source = _only(store)
    assert (_total(source, "missing"), _total(source, "filled")) == (0, 2)


def test_expected_are_the_numbers_of_those_who_opened_in_these_hours(store: Store, record: Record) -> None:
    told = numbered(WORKER, a_life())
    record(store, [*told[:2], *told[4:]])
    opened = CompletenessFilter(until=at(3600))
    (source,) = get_heard_hours(store, opened, now=datetime.now(UTC)).sources
    assert (source.expected, source.received) == (5, 3)


def test_a_run_counts_in_its_hour_and_says_that_it_has_no_end(store: Store, record: Record) -> None:
    for number, ends in enumerate([True, False, True]):
        run = a_run_id(f"hour {number}")
        fields = {"run_id": run, "seconds": number * 3600}
        record(store, [make(StateEvent, state=State.RUNNING, **fields)])
        if ends:
            record(store, [make(StateEvent, state=State.SUCCEEDED, run_id=run, seconds=number * 3600 + 60)])
    until = at(3 * 3600)
    (source,) = get_heard_hours(store, CompletenessFilter(until=until), now=datetime.now(UTC)).sources
    assert len(source.hours) == HOURS
    assert [hour.runs for hour in source.hours[-3:]] == [1, 1, 1]
    assert [hour.without_end for hour in source.hours[-3:]] == [0, 1, 0]
    assert [hour.heard for hour in source.hours[-4:]] == [False, True, True, True]
    assert source.hours[-1].begins_at == until - timedelta(hours=1)


def test_the_filters_say_of_whom(store: Store, record: Record) -> None:
    record(store, [make(StateEvent, run_id=a_run_id("here"), state=State.RUNNING)])
    record(store, [make(StateEvent, run_id=a_run_id("there"), state=State.RUNNING, engine="prefect")])
    for asked, engines in (({}, ["airflow", "prefect"]), ({"engine": "prefect"}, ["prefect"]), ({"engine": "x"}, [])):
        filters = CompletenessFilter.model_validate({"until": at(3600), **asked})
        found = get_heard_hours(store, filters, now=datetime.now(UTC))
        assert [source.engine for source in found.sources] == engines
