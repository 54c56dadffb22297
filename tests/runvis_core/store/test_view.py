"""What reads for one answer can share one view of the store."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError
from tests.runvis_core.store.test_steps import Listing, append, listed

from runvis_core.errors import UnreachableError
from runvis_core.services.reading import reading
from runvis_core.store.database import Store, open_store
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import head
from runvis_core.store.view import share_view


def end_of(store: Store) -> int:
    with reading(store) as connection:
        return connection.execute(select(head.c.position)).scalar_one()


def test_all_that_is_read_in_a_shared_view_is_of_one_moment(store: Store) -> None:
    append(store, 2)
    with share_view(store):
        assert end_of(store) == 2
        append(store, 1, first=2)
        assert end_of(store) == 2
    assert end_of(store) == 3


def test_it_begins_when_something_is_first_read_in_it(store: Store) -> None:
    with share_view(store):
        append(store, 2)
        assert end_of(store) == 2


def test_another_store_and_another_thread_have_their_own(store: Store, store_url: str) -> None:
    append(store, 1)
    other, seen = open_store(store_url), list[int]()
    with share_view(store):
        assert end_of(store) == 1
        append(store, 1, first=1)
        assert end_of(other) == 2
        thread = threading.Thread(target=lambda: seen.append(end_of(store)))
        thread.start()
        thread.join()
    assert seen == [2]
    other.close()


def test_it_ends_with_an_error_too(store: Store) -> None:
    append(store, 1)
    with pytest.raises((UnreachableError, ProgrammingError)), share_view(store), reading(store) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    append(store, 1, first=1)
    assert end_of(store) == 2


def test_steps_are_brought_to_the_head_before_it_begins_and_not_again(store: Store) -> None:
    step = Listing(store)
    append(store, 2)
    with share_view(store):
        catch_up(store, [step])
        assert listed(store) == [1, 2]
        assert end_of(store) == 2
        append(store, 1, first=2)
        catch_up(store, [step])
        assert listed(store) == [1, 2]
    catch_up(store, [step])
    assert listed(store) == [1, 2, 3]


def test_a_step_that_was_not_brought_there_before_is_an_error(store: Store) -> None:
    step = Listing(store)
    append(store, 1)
    with share_view(store):
        assert end_of(store) == 1
        with pytest.raises(RuntimeError, match="listing: to be caught up before"):
            catch_up(store, [step])
