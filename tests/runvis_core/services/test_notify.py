"""Notices, with a real receiver."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.runvis_core.services.notices import (
    LONG_AGO,
    SECRET,
    Clock,
    Receiver,
    a_rule,
    ended,
    ids,
    send_all,
    wait_until,
)
from tests.runvis_core.services.test_lineage import chain

from runvis_core.errors import NotFoundError, SettingsError
from runvis_core.model.event import EventBase
from runvis_core.model.state import State
from runvis_core.services.notify import queue
from runvis_core.services.notify.notifier import keep_notifying
from runvis_core.services.notify.rules import get_rule
from runvis_core.services.notify.status import list_rules
from runvis_core.services.steps import STEPS
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.store.liveness import record_beats
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id

Record = Callable[[Store, Iterable[EventBase]], None]


def test_a_rule_tells_once_of_each_run_that_ends_as_it_is_asked_to(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, filter={"state": ["failed", "TimedOut"]})
    record(store, ended("before"))
    queue.begin(store, rule, now=clock())
    record(store, [*ended("one"), *ended("two", State.SUCCEEDED), *ended("three", State.TIMED_OUT)])
    send_all(store, rule, clock)
    queue.begin(store, rule, now=clock())
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one", "three")
    (first, _) = receiver.notices
    assert (first["rule"], first["kind"], first["link"]) == (
        "a-rule",
        "run_ended",
        f"https://runvis.example/runs/{a_run_id('one')}",
    )
    assert first["text"] == f"RunVis: airflow test orders ended Failed {first['link']}"
    assert receiver.posts[0][0]["X-RunVis-Notice"] == first["notice_id"]
    (status,) = list_rules(store).items
    assert (status.sent, status.pending, status.behind, status.error) == (2, 0, 0, None)


def test_a_dead_receiver_neither_loses_nor_blocks(store: Store, record: Record, clock: Clock) -> None:
    receiver = Receiver()
    receiver.close()
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    record(store, [*ended("one"), *ended("two")])
    send_all(store, rule, clock)
    (status,) = list_rules(store).items
    assert status.pending == 2
    assert status.error == f"{rule.public_receiver} can't be reached (ConnectError)"
    # The pause grows, and nothing is tried within it.
    assert status.retry_at == clock.now + timedelta(seconds=1)
    record(store, ended("three"))
    send_all(store, rule, clock)
    assert list_rules(store).items[0].pending == 3
    clock.go_on(seconds=2)
    send_all(store, rule, clock)
    assert list_rules(store).items[0].retry_at == clock.now + timedelta(seconds=2)
    clock.go_on(hours=1)
    alive = Receiver()
    try:
        send_all(store, rule._replace(webhook=alive.url), clock)
        assert alive.run_ids == ids("one", "two", "three")
    finally:
        alive.close()
    assert list_rules(store).items[0].error is None


def test_a_full_queue_waits_in_the_log(
    store: Store, record: Record, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_PENDING", 3)
    receiver.status = 503
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    names = [f"run-{number}" for number in range(10)]
    for name in names:
        record(store, ended(name))
    for _ in range(50):
        queue.gather(store, rule, now=clock())
    (status,) = list_rules(store).items
    assert status.pending == 3
    assert status.behind > 0
    receiver.status = 200
    send_all(store, rule, clock)
    assert sorted(receiver.run_ids) == sorted(ids(*names))


def test_what_a_receiver_refuses_for_good_does_not_stand_in_the_way(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    receiver.status = 404  # Somebody may make the address good again.
    send_all(store, rule, clock)
    assert list_rules(store).items[0].pending == 1
    clock.go_on(hours=1)
    receiver.status = 400
    send_all(store, rule, clock)
    receiver.status = 200
    record(store, ended("two"))
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("two")
    assert list_rules(store).items[0].refused == 1


def test_a_run_that_falls_silent_is_told_of_once_until_it_beats_again(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, on=["silence"], filter={"definition": "orders"})
    queue.begin(store, rule, now=clock())
    for name, definition in (("one", "orders"), ("two", "orders"), ("other", "else")):
        record(store, ended(name, definition=definition)[:2])
        record_beats(store.engine, {a_run_id(name): 60.0}, clock())
    queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
    send_all(store, rule, clock)
    assert receiver.posts == []
    for _ in range(3):
        clock.go_on(minutes=2)
        record_beats(store.engine, {a_run_id("two"): 60.0}, clock())
        queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
        send_all(store, rule, clock)
    assert receiver.run_ids == ids("one")
    assert receiver.notices[0]["kind"] == "silence"
    record_beats(store.engine, {a_run_id("one"): 60.0}, clock())
    clock.go_on(minutes=3, seconds=1)
    queue.gather_silent(store, rule, since=LONG_AGO, now=clock())
    send_all(store, rule, clock)
    assert sorted(receiver.run_ids[1:]) == sorted(ids("one", "two"))


def test_a_loop_is_told_of_when_it_turns_for_the_first_time(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, on=["loop_detected"])
    record(store, chain("old", "old"))
    catch_up(store, STEPS)
    queue.begin(store, rule, now=clock())
    for _ in range(2):
        record(store, chain("a", "b", "a", "b", "a", first=10 if not receiver.posts else 20))
        catch_up(store, STEPS)
        for _ in range(2):
            queue.gather_loops(store, rule, now=clock())
            send_all(store, rule, clock)
    assert receiver.run_ids == ids("12")
    (notice,) = receiver.notices
    assert (notice["kind"], notice["run"]["definition"]) == ("loop_detected", "a")


def test_a_definition_that_fails_all_the_time_is_told_of_now_and_then(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, repeat_after_seconds=3600)
    queue.begin(store, rule, now=clock())
    record(store, [*ended("one"), *ended("two"), *ended("other", definition="else")])
    send_all(store, rule, clock)
    clock.go_on(minutes=50)
    record(store, ended("three"))
    send_all(store, rule, clock)
    clock.go_on(minutes=20)
    record(store, ended("four"))
    send_all(store, rule, clock)
    assert receiver.run_ids == ids("one", "other", "four")
    assert list_rules(store).items[0].quiet == 2


def test_two_that_send_at_once_send_each_notice_once(store: Store, record: Record, receiver: Receiver) -> None:
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=datetime.now(UTC))
    names = [f"run-{number}" for number in range(20)]
    for name in names:
        record(store, ended(name))
    stop = threading.Event()
    notifiers = [threading.Thread(target=keep_notifying, args=(store, rule, None, stop)) for _ in range(2)]
    for notifier in notifiers:
        notifier.start()
    try:
        wait_until(lambda: len(receiver.posts) >= len(names))
    finally:
        stop.set()
        for notifier in notifiers:
            notifier.join(60)
    assert sorted(receiver.run_ids) == sorted(ids(*names))


NOTIFY = """
import sys, threading
from datetime import timedelta
from runvis_core.services.notify import queue
from runvis_core.services.notify.notifier import keep_notifying
from runvis_core.services.notify.rules import read_rules
from runvis_core.settings import load_settings
from runvis_core.store.database import open_store
queue.CLAIM = timedelta(seconds=1)  # or what a killed one had begun waits for a minute
keep_notifying(open_store(sys.argv[1]), read_rules(load_settings())[0], None, threading.Event())
"""


def test_a_killed_notifier_loses_nothing(
    store: Store, record: Record, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNVIS__NOTIFY__RULES", json.dumps([{"name": "a-rule", "webhook": receiver.url}]))
    rule = a_rule(receiver.url)
    queue.begin(store, rule, now=datetime.now(UTC))
    names = [f"run-{number}" for number in range(30)]
    url = store.engine.url.render_as_string(hide_password=False)
    for round_number in range(3):
        for name in names[round_number * 10 : round_number * 10 + 10]:
            record(store, ended(name))
        with subprocess.Popen([sys.executable, "-c", NOTIFY, url]) as notifier:
            before = len(receiver.posts)
            wait_until(lambda before=before: len(receiver.posts) > before + 2)
            os.kill(notifier.pid, signal.SIGKILL)
    # What the killed one had claimed is free when its claim is over.
    later = Clock()
    later.go_on(minutes=5)
    send_all(store, rule, later)
    told = receiver.run_ids
    assert sorted(set(told)) == sorted(ids(*names))
    # Between sending and noting it a kill can only make a notice come twice, under the same id.
    assert len(told) <= len(names) + 3
    assert len({headers["X-RunVis-Notice"] for headers, _ in receiver.posts}) == len(names)


def test_a_template_says_what_is_posted(store: Store, record: Record, receiver: Receiver, clock: Clock) -> None:
    queue_rules = [
        a_rule(receiver.url, template='{"text": {{ (run.definition ~ " " ~ run.effective_state) | tojson }}}'),
        a_rule(receiver.url, template="{{ run.definition }}: {{ text }}", headers={"X-Key": "the key"}),
    ]
    for number, rule in enumerate(queue_rules):
        queue.begin(store, rule, now=clock())
        record(store, ended(f"run-{number}", definition='"quoted"'))
        send_all(store, rule, clock)
    (json_headers, json_body), (text_headers, text_body) = receiver.posts
    assert json.loads(json_body) == {"text": '"quoted" Failed'}
    assert json_headers["Content-Type"] == "application/json"
    assert text_body.startswith(b'"quoted": RunVis: ')
    assert (text_headers["Content-Type"], text_headers["X-Key"]) == ("text/plain; charset=utf-8", "the key")


def test_a_rule_may_say_what_is_posted_in_whatever_letters(
    store: Store, record: Record, receiver: Receiver, clock: Clock
) -> None:
    rule = a_rule(receiver.url, headers={"content-type": "application/vnd.example+json"})
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    send_all(store, rule, clock)
    ((headers, _),) = receiver.posts
    types = [value for name, value in headers.items() if name.lower() == "content-type"]
    assert types == ["application/vnd.example+json"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing.here }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% if run.definition == 'orders' %}{{ run.definition | round(1) }}{% endif %}",
        "{% if run.definition == 'orders' %}{{ 1 / 0 }}{% endif %}",
    ],
)
def test_a_template_that_fails_or_reaches_out_is_given_up_and_said(
    store: Store, record: Record, receiver: Receiver, clock: Clock, template: str
) -> None:
    rule = a_rule(receiver.url, template=template)
    queue.begin(store, rule, now=clock())
    record(store, ended("one"))
    send_all(store, rule, clock)
    assert receiver.posts == []
    (status,) = list_rules(store).items
    assert status.refused == 1
    assert status.refusal is not None
    assert status.refusal.startswith("the template of the rule 'a-rule' can't be filled in: ")
    # It does not stand in the way of a run that the template can be filled in with.
    record(store, ended("two", definition="else"))
    send_all(store, rule, clock)
    assert list_rules(store).items[0].pending == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"template": "{% if %}"}, "the template of the rule 'a-rule'"),
        ({"filter": {"statee": ["Failed"]}}, "a filter may have engine"),
        ({"filter": {"state": ["Broken"]}}, "the filter of the rule 'a-rule' has a fault at state"),
        ({"on": ["everything"]}, "RUNVIS__NOTIFY__RULES"),
        ({"webhook": f"ftp://x/{SECRET}"}, "RUNVIS__NOTIFY__RULES__WEBHOOK is no address of a webhook"),
        ({"webhook": f"http://[bad/{SECRET}"}, "is no address of a webhook"),
        ({"webhook": f"http://user:{SECRET}@host/"}, "is no address of a webhook"),
        ({"webhook": f"http://a\x00b/{SECRET}"}, "is no address of a webhook"),
        ({"webhook": f" https://x/{SECRET}"}, "is no address of a webhook"),
        ({"webhook": f"https://ex ample/{SECRET}"}, "is no address of a webhook"),
        ({"webhook": f"https://-x-.…/{SECRET}"}, "is no address of a webhook"),
        ({"name": "a rule"}, "RUNVIS__NOTIFY__RULES"),
        ({"headers": {"Authorization": f"Bearer {SECRET}\n"}}, "the value of Authorization has a character"),
        ({"headers": {"Authorization": f"{SECRET}\r\nX-More: 1"}}, "the value of Authorization has a character"),
        ({"headers": {"X-Key": f"{SECRET}ü"}}, "the value of X-Key has a character"),
        ({"headers": {"X Key": SECRET}}, "may not have 'X Key'"),
        ({"headers": {"content-length": "5"}}, "may not have 'content-length'"),
        ({"headers": {"X-RunVis-Notice": "1"}}, "may not have 'X-RunVis-Notice'"),
        ({"repeat_after_seconds": float("inf")}, "REPEAT_AFTER_SECONDS is wrong"),
        ({"repeat_after_seconds": 1e20}, "REPEAT_AFTER_SECONDS is wrong"),
        ({"repeat_after_seconds": 31 * 86400}, "REPEAT_AFTER_SECONDS is wrong"),
    ],
)
def test_a_rule_that_can_not_be_followed_is_refused_and_the_fault_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        a_rule(**{"webhook": f"http://x/{SECRET}", **fields})
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_of_several_rules_the_one_at_fault_is_named() -> None:
    rules: list[dict[str, Any]] = [{"name": "one", "webhook": "http://x"}, {"name": "two", "webhok": "http://x"}]
    with pytest.raises(SettingsError, match=r"RULES__WEBHOK is wrong: .* \(number 2 of the list\)"):
        load_settings(notify={"rules": rules})


def test_a_rule_that_is_not_there_is_named_with_those_that_are() -> None:
    settings = load_settings(notify={"rules": [{"name": "a-rule", "webhook": "http://x"}]})
    with pytest.raises(NotFoundError, match="there are a-rule"):
        get_rule(settings, "another")


def test_the_webhooks_secret_is_never_shown(
    sqlite_store: Store, record: Record, clock: Clock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, logger="runvis_core")
    rules = [
        a_rule(f"http://{SECRET.replace('/', '-')}:{SECRET.replace('/', '-')}@127.0.0.1:9/{SECRET}?key={SECRET}"),
        a_rule(f"http://{'a' * 300}.invalid/{SECRET}"),
    ]
    for rule in rules:
        queue.begin(sqlite_store, rule, now=clock())
        record(sqlite_store, ended(f"run-{rules.index(rule)}"))
        clock.go_on(hours=1)
        send_all(sqlite_store, rule, clock)
        shown = [caplog.text, list_rules(sqlite_store).model_dump_json(), rule.public_receiver]
        assert "can't be reached" in shown[0]
        assert [text for text in shown if "secret-of" in text] == []
    sqlite_store.close()
    files = b"".join(path.read_bytes() for path in tmp_path.glob("runvis.db*"))
    assert b"secret-of" not in files
