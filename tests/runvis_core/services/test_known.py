from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from runvis_core.model.event import DatasetDeclaredEvent, EventBase, LogEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.services.known import find_known_events, find_run_of_event, find_runs_with
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

Record = Callable[[Store, Iterable[EventBase]], None]


def test_events_are_known_once_they_are_recorded(store: Store, record: Record) -> None:
    event = make(StateEvent, state=State.RUNNING)
    assert find_known_events(store, [event.event_id]) == set()

    record(store, [event])

    assert find_known_events(store, [event.event_id, UUID(int=1)]) == {event.event_id}


def test_an_event_leads_to_its_run(store: Store, record: Record) -> None:
    of_run, of_none = make(StateEvent, state=State.RUNNING), make(DatasetDeclaredEvent, namespace="n", name="d")
    record(store, [of_run, of_none])

    assert find_run_of_event(store, of_run.event_id) == a_run_id()
    assert find_run_of_event(store, of_none.event_id) is None
    assert find_run_of_event(store, UUID(int=1)) is None


def test_a_run_is_known_by_the_kinds_of_its_events(store: Store, record: Record) -> None:
    logged, other = a_run_id("logged"), a_run_id("other")
    record(store, [make(LogEvent, run_id=logged), make(StateEvent, run_id=other, state=State.RUNNING)])

    assert find_runs_with(store, "log", [logged, other, UUID(int=1)]) == {logged}
    assert find_runs_with(store, "log", []) == set()
