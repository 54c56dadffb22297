from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from runvis_core.errors import NotFoundError
from runvis_core.model.event import EventBase
from runvis_core.services.entries import list_entries, list_last_entries, list_run_entries
from runvis_core.store.database import Store
from runvis_core.testing.story import LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def test_the_log_is_read_in_its_order_from_any_position(store: Store, record: Record) -> None:
    record(store, a_story())
    whole = list_entries(store, after=0, limit=1000)
    assert [entry.position for entry in whole.items] == list(range(1, len(a_story()) + 1))
    assert whole.after == len(a_story())
    some = list_entries(store, after=3, limit=2)
    assert [entry.position for entry in some.items] == [4, 5]
    assert some.after == 5
    assert list_entries(store, after=whole.after, limit=10).after == whole.after


def test_an_entry_is_told_as_it_was_hashed_with_the_name_of_its_run(store: Store, record: Record) -> None:
    record(store, a_story())
    last = list_last_entries(store, limit=1).items[0]
    assert last.event["kind"] == "state"
    assert (last.definition, last.native_id, last.principal) == ("child", "child/c1", "test")


def test_the_last_entries_come_in_the_logs_order(store: Store, record: Record) -> None:
    assert list_last_entries(store, limit=5).after == 0
    record(store, a_story())
    end = len(a_story())
    assert [entry.position for entry in list_last_entries(store, limit=3).items] == [end - 2, end - 1, end]
    nothing = list_last_entries(store, limit=0)
    assert (nothing.items, nothing.after) == ([], end)


def test_the_entries_of_a_run_are_only_its_own(store: Store, record: Record) -> None:
    record(store, a_story())
    page = list_run_entries(store, str(LOAD_2), after=0, limit=100)
    assert {entry.event["run_id"] for entry in page.items} == {str(LOAD_2)}
    assert len(page.items) == 9 + 0
    with pytest.raises(NotFoundError):
        list_run_entries(store, "nothing", after=0, limit=1)
