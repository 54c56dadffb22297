"""What a rule does while something hinders it: a receiver that refuses or asks to wait, a filter that names nobody."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sqlalchemy import select, text, update
from tests.runvis_core.services.notices import Clock, Receiver, a_rule, ended, ids, send_all, wait_until

from runvis_core.model.event import EventBase
from runvis_core.services.notify import queue, webhook
from runvis_core.services.notify.notifier import keep_notifying
from runvis_core.services.notify.status import list_rules
from runvis_core.store.database import Store
from runvis_core.store.tables import notices
from runvis_core.testing.factories import a_run_id

Record = Callable[[Store, Iterable[EventBase]], None]


def test_notices_that_a_receiver_keeps_refusing_let_the_others_pass_and_are_not_lost(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    receiver.refused = set(ids("bad", "worse"))
    record(store, [event for name in ("bad", "worse", "one", "two") for event in ended(name)])
    for _ in range(600):
        send_all(store, rule, clock)
        clock.go_on(seconds=1)
    assert receiver.run_ids == ids("one", "two")
    record(store, ended("three"))
    for _ in range(30):
        send_all(store, rule, clock)
        clock.go_on(seconds=1)
    assert receiver.run_ids == ids("one", "two", "three")
    assert list_rules(store).items[0].pending == 2
    receiver.refused = set()
    for _ in range(600):
        send_all(store, rule, clock)
        clock.go_on(seconds=1)
    assert sorted(receiver.run_ids[3:]) == sorted(ids("bad", "worse"))


def test_a_short_trouble_of_the_receiver_leaves_the_order_as_it_is(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    record(store, [*ended("one"), *ended("two")])
    receiver.status = 503
    for _ in range(2):
        send_all(store, rule, clock)
        clock.go_on(seconds=3)
    receiver.status = 200
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one", "two")


def test_what_was_refused_long_ago_is_no_trouble_of_today(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    clock.go_on(days=-31)
    queue.begin(store, rule, now=clock())
    receiver.status = 400
    record(store, ended("one"))
    send_all(store, rule, clock)
    (status,) = list_rules(store).items
    assert (status.refused, status.refusal) == (0, None)
    clock.go_on(days=31)
    record(store, ended("two"))
    send_all(store, rule, clock)
    (status,) = list_rules(store).items
    assert (status.refused, status.refusal) == (1, f"{rule.public_receiver} answered 400")


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("120", 120),
        (format_datetime(datetime.now(UTC) + timedelta(hours=20), usegmt=True), 3600),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 1),
        ("99999999999999999999", 1),
        ("soon", 1),
    ],
    ids=["seconds", "a moment far away", "a moment gone by", "a number without end", "words"],
)
def test_a_receiver_that_asks_for_a_pause_is_left_alone_for_it_within_a_bound(
    sqlite_store: Store, record: Record, receiver: Receiver, clock: Clock, asked: str, seconds: int
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(sqlite_store, rule, now=clock())
    record(sqlite_store, ended("one"))
    receiver.status, receiver.headers = 429, {"Retry-After": asked}
    send_all(sqlite_store, rule, clock)
    assert list_rules(sqlite_store).items[0].retry_at == clock.now + timedelta(seconds=seconds)


def test_a_receiver_that_answers_a_byte_at_a_time_is_given_up_in_time(
    sqlite_store: Store, record: Record, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queue.CLAIM.total_seconds() > webhook.DEADLINE_SECONDS
    monkeypatch.setattr(webhook, "DEADLINE_SECONDS", 0.5)
    done = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            rule = a_rule(f"http://127.0.0.1:{server.getsockname()[1]}/")
            queue.begin(sqlite_store, rule, now=clock())
            record(sqlite_store, ended("one"))
            began = time.monotonic()
            send_all(sqlite_store, rule, clock)
            took = time.monotonic() - began
        finally:
            done.set()
            thread.join()
    assert took < 10
    (status,) = list_rules(sqlite_store).items
    assert (status.pending, status.error) == (1, f"{rule.public_receiver} can't be reached (TimeoutError)")


def test_a_rule_whose_filter_names_a_run_that_there_is_not_says_so_and_waits_for_it(
    store: Store, record: Record, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runvis_core.services.notify.notifier.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("runvis_core.services.notify.notifier.PAUSE_SECONDS", 0.05)
    rule = a_rule(receiver.url, filter={"parent": str(a_run_id("parent"))})
    stop = threading.Event()
    notifier = threading.Thread(target=keep_notifying, args=(store, rule, None, stop))
    queue.begin(store, rule, now=datetime.now(UTC))
    record(store, ended("another"))
    notifier.start()
    try:
        wait_until(lambda: list_rules(store).items[0].error)
        assert f"there is no run {str(a_run_id('parent'))!r}" in (list_rules(store).items[0].error or "")
        inner = ended("inner")
        inner[0] = inner[0].model_copy(update={"parent_run_id": a_run_id("parent")})
        record(store, [*inner, *ended("parent")])
        wait_until(lambda: receiver.posts)
        wait_until(lambda: list_rules(store).items[0].error is None)
    finally:
        stop.set()
        notifier.join(60)
    assert receiver.run_ids == ids("inner")


def test_a_store_of_before_keeps_its_notices_and_tells_nothing_twice(
    store: Store,
    record: Record,
    receiver: Receiver,
    clock: Clock,
    move_schema: Callable[[Store, str, str], None],
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    send_all(store, rule, clock)
    record(store, ended("two"))
    queue.gather(store, rule, now=clock())
    with store.engine.begin() as connection:
        # As they were named then.
        connection.execute(update(notices).where(notices.c.outcome == "sent").values(notice_id=a_run_id("a notice")))
    move_schema(store, "downgrade", "0016")
    with store.engine.connect() as connection:
        columns = connection.execute(text("SELECT * FROM notices")).keys()
        assert "definition" in columns
        assert "state" not in columns
    move_schema(store, "upgrade", "head")
    with store.engine.connect() as connection:
        assert set(connection.scalars(select(notices.c.state))) == {"Failed"}
    queue.begin(store, rule, now=clock())
    record(store, [*ended("three"), *ended("one", definition="else")[:1]])
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one", "two", "three")
