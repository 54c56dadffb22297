"""A projection beside the log takes each entry once, in order, whoever drives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from runvis_core.errors import UnreachableError
from runvis_core.model.encoding import seal
from runvis_core.model.event import MetricEvent
from runvis_core.store.database import Store, open_store
from runvis_core.store.log import StoredEntry
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import advance, catch_up, follow_steps, list_lags
from runvis_core.testing.factories import a_run_id, make


class Listing:
    """Writes down the positions that it is given."""

    name = "listing"

    def __init__(self, store: Store, *, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        with store.engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS listed (place INTEGER PRIMARY KEY)"))

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        for entry in entries:
            connection.execute(text("INSERT INTO listed VALUES (:place)"), {"place": entry.position})
            if entry.position == self.fails_at:
                raise RuntimeError("cut off")


def append(store: Store, number: int, *, first: int = 0) -> None:
    events = [make(MetricEvent, run_id=a_run_id(), name=f"m{first + i}", value=1.0) for i in range(number)]
    store.log.append([seal(event) for event in events], principal="test")


def listed(store: Store) -> list[int]:
    with store.engine.connect() as connection:
        return [row[0] for row in connection.execute(text("SELECT place FROM listed ORDER BY place"))]


def lag(store: Store, step: Listing) -> int:
    with store.engine.connect() as connection:
        return list_lags(connection, [step])[0].entries


def test_it_takes_every_entry_once_in_parts_of_any_size(store: Store) -> None:
    step = Listing(store)
    append(store, 7)
    taken = [advance(store, step, limit=3) for _ in range(4)]
    assert taken == [3, 3, 1, 0]
    append(store, 2, first=7)
    assert lag(store, step) == 2
    catch_up(store, [step])
    assert listed(store) == list(range(1, 10))


def test_what_was_cut_off_is_taken_again_whole(store: Store) -> None:
    step = Listing(store, fails_at=4)
    append(store, 5)
    with pytest.raises(RuntimeError):
        advance(store, step)
    assert listed(store) == []
    step.fails_at = None
    catch_up(store, [step])
    assert listed(store) == [1, 2, 3, 4, 5]


def test_several_that_drive_one_step_at_once_take_each_entry_once(store: Store) -> None:
    step = Listing(store)
    append(store, 60)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: [advance(store, step, limit=4) for _ in range(6)], range(4)))
    catch_up(store, [step])
    assert listed(store) == list(range(1, 61))


def test_a_rebuild_lets_it_begin_again(store: Store) -> None:
    step = Listing(store)
    append(store, 3)
    catch_up(store, [step])
    rebuild_store(store)
    assert lag(store, step) == 3


def test_a_thread_keeps_it_at_the_head_until_it_is_told_to_stop(store: Store) -> None:
    step, stop, arrived = Listing(store), threading.Event(), threading.Event()
    take = step.take

    def take_and_tell(connection: Connection, entries: Sequence[StoredEntry]) -> None:
        take(connection, entries)
        arrived.set()

    step.take = take_and_tell  # type: ignore[method-assign]
    thread = threading.Thread(target=follow_steps, args=(store, [step], stop))
    thread.start()
    try:
        append(store, 3)
        assert arrived.wait(60)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    catch_up(store, [step])
    assert listed(store) == [1, 2, 3]


def test_a_store_that_may_not_be_written_to_says_which_step_is_behind(store: Store) -> None:
    step = Listing(store)
    append(store, 1)
    with store.engine.begin() as connection:
        connection.execute(text("DROP TABLE listed"))
    with pytest.raises(UnreachableError, match="'listing' can't be brought up"):
        advance(store, step)


def test_a_step_does_not_hold_up_others_until_the_disk_answers_but_who_is_told_is_told_what_lasts(
    sqlite_url: str,
) -> None:
    store = open_store(sqlite_url)
    step, seen = Listing(store), list[int]()
    take = step.take

    def synced() -> int:
        with store.engine.connect() as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    def take_and_look(connection: Connection, entries: Sequence[StoredEntry]) -> Callable[[], None]:
        take(connection, entries)
        seen.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        return lambda: seen.append(synced())

    step.take = take_and_look  # type: ignore[assignment,method-assign]
    append(store, 2)
    catch_up(store, [step])
    # 1 is NORMAL, 2 is FULL.
    assert seen == [1, 2]
    assert synced() == 2
    assert listed(store) == [1, 2]
    store.close()
