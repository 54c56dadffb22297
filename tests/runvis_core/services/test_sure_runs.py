"""Runs and producers that are counted without a look are those of which a look says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.runvis_core.services.test_completeness import FAR_OFF, LONG_AGO, NOW, a_life, books, numbered, refused

from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import EventBase
from runvis_core.services.completeness import get_completeness
from runvis_core.services.completeness_answers import By, Completeness, CompletenessFilter
from runvis_core.services.heard_hours import get_heard_hours
from runvis_core.services.ingest import ingest_items
from runvis_core.store.account import ACCOUNT
from runvis_core.store.database import Store
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, at

RUNS, DEFINITIONS = ("a", "b", "c", "d"), ("load", "clean")
COUNTED = ("runs", "whole", "open", "incomplete", "lacking", "unknown")
NUMBERED = {"producers", "closed", "sent", "stored", "refused", "missing", "unkept"}
EXAMPLES = count()


class Told(NamedTuple):
    """What one process tells of runs: its numbers that are lost on the way, and those that are refused."""

    by_worker: bool
    runs: list[tuple[str, str, int]]
    """Name, definition, and after how many seconds they are booked to end; a worker tells of the first one."""
    lost: set[int]
    refused: set[int]
    backwards: bool


tellings = st.builds(
    Told,
    by_worker=st.booleans(),
    runs=st.lists(
        st.tuples(st.sampled_from(RUNS), st.sampled_from(DEFINITIONS), st.sampled_from([0, 10])),
        min_size=1,
        max_size=3,
        unique_by=lambda run: run[0],
    ),
    lost=st.sets(st.integers(0, 5), max_size=2),
    refused=st.sets(st.integers(2, 3), max_size=1),
    backwards=st.booleans(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(tellings, min_size=1, max_size=5), taken=st.integers(0, 5))
def test_a_deployments_account_is_the_sum_of_its_runs_whatever_is_lost(
    store: Store, told: list[Told], taken: int
) -> None:
    deployment = f"number {next(EXAMPLES)}"
    for number, one in enumerate(told):
        ingest_items(store, _items(one, number, deployment), principal="test")
        if number < taken:
            catch_up(store, [ACCOUNT])
    assert _counts(_account(store, By.DEPLOYMENT, deployment)) == _counts(_account(store, By.DEFINITION, deployment))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(tellings, min_size=1, max_size=5))
def test_a_deployments_account_is_the_sum_of_its_producers_whatever_is_lost(store: Store, told: list[Told]) -> None:
    deployment = f"summed {next(EXAMPLES)}"
    for number, one in enumerate(told):
        ingest_items(store, _items(one, number, deployment), principal="test")
    account, by_producer = (_account(store, by, deployment) for by in (By.DEPLOYMENT, By.PRODUCER))
    assert _sums(account) == _sums(by_producer)
    assert account.total.model_dump(include=NUMBERED) == by_producer.total.model_dump(include=NUMBERED)
    assert account.gaps == by_producer.gaps
    opened = [row for row in by_producer.items if row.opened_at is not None]
    filters = CompletenessFilter(deployment=deployment, until=at(3600))
    heard = {source.deployment: source for source in get_heard_hours(store, filters, now=NOW).sources}
    source = heard.get(deployment)
    assert (source.expected if source else 0) == sum(row.sent for row in opened)
    assert (source.received if source else 0) == sum(row.stored for row in opened)


def _sums(account: Completeness) -> dict[Any, tuple[Any, ...]]:
    """Return by day what was numbered and what came of it, and when somebody was heard last."""
    found: dict[Any, tuple[Any, ...]] = {}
    for row in account.items:
        if row.producers:
            counted, heard_at = found.get((row.day, row.engine), (Counter[str](), None))
            counted.update({name: getattr(row, name) for name in NUMBERED})
            found[row.day, row.engine] = (counted, max(filter(None, (heard_at, row.last_heard_at)), default=None))
    return found


def _items(told: Told, number: int, deployment: str) -> list[bytes]:
    producer = a_run_id(f"{deployment}: producer {number}")
    name, definition, _ = told.runs[0]
    events: list[EventBase] = []
    if told.by_worker:
        events = numbered(producer, _of(deployment, producer, a_life(name, definition=definition)))
    else:
        books_of = [books(name, ended=20 + after, definition=of) for name, of, after in told.runs]
        events = numbered(producer, _of(deployment, producer, [event for book in books_of for event in book]))
    kept = [event for event in events if event.sequence not in told.lost]
    items = [refused(event) if event.sequence in told.refused else wire_item(seal(event)) for event in kept]
    return items[::-1] if told.backwards else items


def _of(deployment: str, producer: UUID, events: Iterable[EventBase]) -> list[EventBase]:
    """Return the events as those of runs and of a producer that no other example has."""
    made: list[EventBase] = []
    for event in events:
        mine: dict[str, Any] = {"deployment": deployment, "producer": producer}
        if run_id := getattr(event, "run_id", None):
            mine["run_id"] = a_run_id(f"{deployment}: {run_id}")
        copy = event.model_copy(update=mine)
        made.append(copy.model_copy(update={"event_id": copy.derived_id()}))
    return made


def _account(store: Store, by: By, deployment: str) -> Completeness:
    filters = CompletenessFilter(by=by, deployment=deployment, since=LONG_AGO, until=FAR_OFF)
    return get_completeness(store, filters, limit=50, now=NOW)


def _counts(account: Completeness) -> tuple[Counter[Any], list[Any], int]:
    found: Counter[Any] = Counter()
    for row in account.items:
        found.update({(row.day, row.engine, name): getattr(row, name) for name in COUNTED})
    return +found, account.runs, account.cut_runs
