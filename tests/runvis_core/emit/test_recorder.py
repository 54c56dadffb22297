from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest

from runvis_core.emit import outbox as outbox_module
from runvis_core.emit.recorder import Recorder
from runvis_core.emit.spool import SUFFIX
from runvis_core.errors import SettingsError
from runvis_core.model.encoding import MAX_EVENT_BYTES, read_item
from runvis_core.model.event import ContextEvent, MetricEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.testing.factories import a_run_id, make

from .conftest import Door, RecorderFactory, SettingsFactory, spool_files, spooled_items, wait_until

NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""


def metrics(number: int, *, start: int = 0) -> list[MetricEvent]:
    return [make(MetricEvent, name=f"m{i}", value=i) for i in range(start, start + number)]


def numbers(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Sequence numbers by producer, in the order in which they came."""
    found: dict[str, list[int]] = {}
    for event in events:
        found.setdefault(event["producer"], []).append(event["sequence"])
    return found


def test_what_is_recorded_arrives_once_between_an_opening_and_a_closing(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    recorder = make_recorder(url=door.url, versions={"airflow": "3.3.2"})
    running = make(StateEvent, state=State.RUNNING)
    recorder.record([running, make(ContextEvent, content={"parameters": {"a": 1}})])
    recorder.record([make(StateEvent, state=State.SUCCEEDED, seconds=5)])
    recorder.close()

    kinds = [event["kind"] for event in door.events]
    assert kinds == ["producer_opened", "state", "context", "state", "producer_closed"]
    assert [event["sequence"] for event in door.events] == [0, 1, 2, 3, 4]
    assert door.events[0]["versions"].items() >= {"airflow": "3.3.2", "runvis": "0.1.0"}.items()
    sealed = [read_item(item) for item in door.items]
    assert sealed[1].event.event_id == running.event_id
    assert json.loads(sealed[2].bodies[0].content) == {"a": 1}
    assert not spool_files(make_settings()), "what was delivered leaves the spool"


def test_secrets_never_reach_the_spool(make_recorder: RecorderFactory, make_settings: SettingsFactory) -> None:
    recorder = make_recorder(url=NOWHERE)
    recorder.mask(["hunter2"])
    recorder.record(
        [
            make(
                ContextEvent,
                environment={"DB_PASSWORD": "canary-1"},
                engine_context={"said": "hunter2"},
                native_url="https://me:canary-2@example.com/x",
                content={"conf": {"api_key": "canary-3"}, "parameters": {"q": "token=canary-4"}},
            )
        ]
    )
    text = b"".join(path.read_bytes() for path in spool_files(make_settings())).decode()
    assert "canary" not in text
    assert "hunter2" not in text
    assert text.count("[redacted]") == 5


def test_without_an_address_a_recorder_is_dormant_and_leaves_no_trace(
    make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    threads = set(threading.enumerate())
    recorder = make_recorder()
    recorder.record(metrics(3))
    recorder.heartbeat(a_run_id(), interval_seconds=30)
    assert recorder.is_dormant
    assert recorder.flush()
    # Another test's thread may end meanwhile; none may begin.
    assert set(threading.enumerate()) <= threads
    assert not make_settings().spool_dir.exists()


def test_a_disabled_recorder_records_nothing(make_recorder: RecorderFactory, make_settings: SettingsFactory) -> None:
    recorder = make_recorder(settings=make_settings(url=NOWHERE, disabled=True))
    recorder.record(metrics(3))
    assert recorder.is_dormant
    assert not make_settings().spool_dir.exists()


def test_a_file_in_the_spool_stops_recording_and_lets_it_go_on(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    switch = make_settings().spool_dir / "disabled"
    recorder = make_recorder(url=door.url)
    recorder.record(metrics(1))
    assert recorder.flush()
    switch.touch()
    time.sleep(1.05)
    recorder.record(metrics(1, start=1))
    switch.unlink()
    time.sleep(1.05)
    recorder.record(metrics(1, start=2))
    wait_until(lambda: [event.get("name") for event in door.events] == [None, "m0", "m2"])
    assert [event["sequence"] for event in door.events] == [0, 1, 2], "what was not taken has no number"


def test_a_deployment_is_asked_for_where_others_share_the_store(
    make_settings: SettingsFactory, make_recorder: RecorderFactory
) -> None:
    with pytest.raises(SettingsError, match="RUNVIS_DEPLOYMENT is not set"):
        make_recorder(settings=make_settings(url=NOWHERE, deployment=None))
    local = make_recorder(settings=make_settings(url="sqlite:///x.db", deployment=None))
    assert local.deployment == "local"


def test_nothing_that_is_handed_over_makes_it_raise(
    make_recorder: RecorderFactory, make_settings: SettingsFactory, warnings_said: Callable[[], list[str]]
) -> None:
    recorder = make_recorder(url=NOWHERE)
    broken: Any = object()
    recorder.record([broken, *metrics(1), broken])
    recorder.record(broken)
    recorder.record(1 / 0 for _ in "x")  # type: ignore[misc]
    recorder.heartbeat(broken, interval_seconds=-1)
    recorder.mask(broken)
    kept = spooled_items(make_settings())
    assert [item["event"]["kind"] for item in kept] == ["producer_opened", "metric"]
    assert recorder.refused == 6
    assert len(warnings_said()) == 1, "one warning an hour"
    recorder.close(budget_seconds=0)
    assert spooled_items(make_settings())[-1]["event"]["refused"] == 6


def test_what_is_too_large_is_cut_and_says_so(make_recorder: RecorderFactory, make_settings: SettingsFactory) -> None:
    recorder = make_recorder(url=NOWHERE)
    recorder.record(
        [
            make(ContextEvent, engine_context={f"k{i}": "x" * 5_000 for i in range(40)}),
            make(ContextEvent, content={"parameters": {"text": "y" * 3_000_000}, "conf": [{"t": "z" * 1000}] * 5000}),
            make(ContextEvent, tags=[f"tag {i}" for i in range(30_000)]),
        ]
    )
    items = spooled_items(make_settings())[1:]
    assert len(items) == 3
    assert recorder.refused == 0
    for item in items:
        assert "[cut" in json.dumps(item)
        sealed = read_item(item)
        assert len(sealed.data) <= MAX_EVENT_BYTES
        assert all(len(body.content) <= 1024 * 1024 for body in sealed.bodies)


def test_a_dead_server_costs_the_caller_nothing_and_all_is_delivered_once_it_is_back(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory, warnings_said: Callable[[], list[str]]
) -> None:
    door.status = 503
    recorder = make_recorder(url=door.url)
    before = set(threading.enumerate())
    for i in range(200):
        recorder.record(metrics(1, start=i))
    added = set(threading.enumerate()) - before
    assert [thread.name for thread in added if thread.name.startswith("runvis")] == ["runvis-delivery"]
    wait_until(lambda: door.asked)
    assert len(spooled_items(make_settings())) == 201, "all of it waits in the spool"
    assert door.posts == []
    door.status = 200
    wait_until(lambda: len(door.events) == 201)
    assert list(numbers(door.events).values()) == [list(range(201))]
    assert len(warnings_said()) == 1


def test_a_store_that_is_known_to_be_down_is_not_waited_for(
    make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    first = make_recorder(url=NOWHERE)
    first.record(metrics(1))
    wait_until((make_settings().spool_dir / "circuit.json").exists)
    # A later process of this machine: it neither waits nor tries before its time.
    later = make_recorder(url=NOWHERE, opener=mock.Mock(side_effect=AssertionError("it is too early to try")))
    with mock.patch("runvis_core.emit.delivery.Delivery._is_running", side_effect=AssertionError("it waits")):
        later.record(metrics(1))
        assert not later.flush(budget_seconds=30)
    assert later.refused == 0


def test_a_server_that_never_answers_is_waited_for_once(
    make_settings: SettingsFactory, make_recorder: RecorderFactory
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        first = make_recorder(url=url)
        first.record(metrics(1))
        assert not first.flush(budget_seconds=1)
        outage = json.loads((make_settings().spool_dir / "circuit.json").read_text())
        assert outage["reason"] == "no answer within 1 s"
        with mock.patch("runvis_core.emit.delivery.Delivery._is_running", side_effect=AssertionError("it waits")):
            later = make_recorder(url=url)
            later.record(metrics(1))
            assert not later.flush(budget_seconds=30)
        assert len(spooled_items(make_settings())) == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_as_a_producer_of_its_own(door: Door, make_recorder: RecorderFactory) -> None:
    recorder = make_recorder(url=door.url)
    recorder.record(metrics(1))
    assert recorder.flush()
    pid = os.fork()
    if pid == 0:
        try:
            recorder.record(metrics(2, start=10))
            recorder.close(budget_seconds=10)
        finally:
            os._exit(0)
    recorder.record(metrics(1, start=1))
    os.waitpid(pid, 0)
    recorder.close(budget_seconds=10)
    parent, child = sorted(numbers(door.events).values(), key=len)
    assert parent == child == [0, 1, 2, 3]
    assert {event["name"] for event in door.events if event["kind"] == "metric"} == {"m0", "m1", "m10", "m11"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_records_leaves_the_child_able_to_record(
    door: Door, make_recorder: RecorderFactory
) -> None:
    recorder = make_recorder(url=door.url)
    stop = threading.Event()

    def keep_recording() -> None:
        i = 1000
        while not stop.is_set():
            recorder.record(metrics(1, start=i))
            i += 1

    thread = threading.Thread(target=keep_recording)
    thread.start()
    try:
        for i in range(10):
            pid = os.fork()
            if pid == 0:
                try:
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(20)
                    recorder.record(metrics(1, start=i))
                finally:
                    os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
    assert recorder.refused == 0


def test_a_handler_may_record_in_the_middle_of_a_record(
    make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    recorder = make_recorder(url=NOWHERE)

    def interrupt() -> None:
        # A given number of times, since on a slow machine handlers may leave no time for anything else.
        for _ in range(500):
            if over.wait(0.0005):
                return
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handle(*_: object) -> None:
        # Handlers interrupt one another too, but not without end: the stack has one.
        nonlocal depth, by_handlers
        if depth == 5:
            return
        depth += 1
        by_handlers += 1
        recorder.record(metrics(1, start=1_000_000))
        depth -= 1

    depth = by_handlers = 0
    over = threading.Event()
    # Not the alarm: that one ends a test that hangs.
    before = signal.signal(signal.SIGUSR1, handle)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        records = 0
        while records < 1500 or (by_handlers < 20 and thread.is_alive()):
            recorder.record(metrics(1, start=records))
            records += 1
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
        signal.signal(signal.SIGUSR1, before)
    events = [item["event"] for item in spooled_items(make_settings())]
    assert recorder.refused == 0
    assert by_handlers >= 20
    assert len(events) == 1 + records + by_handlers
    assert sorted(event["sequence"] for event in events) == list(range(len(events)))


@pytest.mark.parametrize("ends", ["flush", "close"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_handler_may_record_flush_and_close_at_any_line_of_a_record(
    is_first: bool, ends: str, door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    """A signal's handler runs between two lines of whatever it interrupts, the standard library's locks included."""

    def interrupt_at(line: int, recorder: Recorder, ending: Callable[[], object]) -> int:
        """Record, and again at the given line of it, counted over what may lock; return how many lines there were."""
        lines = itertools.count()
        ran = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal ran
            file = Path(frame.f_code.co_filename)
            if file.parent.name != "emit" and file.name not in ("threading.py", "contextlib.py"):
                return None
            if event == "line":
                ran = next(lines) + 1
                if ran == line + 1:
                    sys.settrace(None)
                    recorder.record(metrics(1, start=2))
                    ending()
            return trace

        event = metrics(1, start=1)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            recorder.record(event)
        finally:
            sys.settrace(before)
        return ran

    for line in itertools.count():
        recorder = make_recorder(url=door.url)
        if not is_first:
            recorder.record(metrics(1))
        ran = interrupt_at(line, recorder, partial(getattr(recorder, ends), budget_seconds=0.001))
        assert recorder.refused == 0
        recorder.close()
        if ran <= line:
            break
    assert line > 50
    # What was being recorded when the handler closed is left in the spool, for whoever drains.
    left = [item["event"] for item in spooled_items(make_settings())]
    kept = {(event["producer"], event["sequence"]): event for event in [*door.events, *left]}
    for found in numbers([*kept.values()]).values():
        assert sorted(found) == list(range(len(found))), "each producer's numbers have no gap"
    recorded = Counter(event["value"] for event in kept.values() if event["kind"] == "metric")
    assert recorded == {1: line + 1, 2: line, **({} if is_first else {0: line + 1})}


def test_an_unwritable_spool_means_memory_and_what_finds_no_room_is_counted(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory, warnings_said: Callable[[], list[str]]
) -> None:
    settings = make_settings(url=door.url)
    settings.spool_dir.write_text("a file where the folder should be")
    door.status = 503
    with mock.patch.object(outbox_module, "MAX_MEMORY_ITEMS", 5):
        recorder = make_recorder(settings=settings)
        recorder.record(metrics(7))
        assert recorder.refused == 0
        door.status = 200
        wait_until(lambda: len(door.events) == 5)
        # The door has them before the recorder knows, and only then is there room for its closing.
        wait_until(lambda: recorder.flush(budget_seconds=60))
        recorder.close()
    assert [event["sequence"] for event in door.events] == [0, 1, 2, 3, 4, 8], "the gap says what is missing"
    assert door.events[-1]["refused"] == 3
    assert len(warnings_said()) == 1
    assert "RUNVIS_SPOOL_DIR" in warnings_said()[0]


def test_a_full_disk_means_memory_until_there_is_room(door: Door, make_recorder: RecorderFactory) -> None:
    door.status = 503
    recorder = make_recorder(url=door.url)
    recorder.record(metrics(1))
    with mock.patch("runvis_core.emit.spool.os.write", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        recorder.record(metrics(1, start=1))
    recorder.record(metrics(1, start=2))
    door.status = 200
    wait_until(lambda: len(door.events) == 4)
    assert sorted(event["sequence"] for event in door.events) == [0, 1, 2, 3]


def test_signs_of_life_go_past_the_spool_and_the_latest_wins(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    recorder = make_recorder(url=door.url)
    other = uuid4()
    for interval in (10, 20, 30):
        recorder.heartbeat(a_run_id(), interval_seconds=interval)
    recorder.heartbeat(other, interval_seconds=5)
    wait_until(lambda: len(door.beats) == 2)
    assert {(beat["run_id"], beat["interval_seconds"]) for beat in door.beats} == {
        (str(a_run_id()), 30),
        (str(other), 5),
    }
    assert spooled_items(make_settings()) == []


def test_a_run_goes_on_showing_life_until_it_ends(door: Door, make_recorder: RecorderFactory) -> None:
    recorder, other = make_recorder(url=door.url), uuid4()
    recorder.show_life(a_run_id(), interval_seconds=0.05)
    recorder.show_life(other, interval_seconds=3600)
    # Also of a process that has always something to deliver.
    recorder.record([make(StateEvent, state=State.RUNNING)])
    wait_until(lambda: len(door.beats) >= 3)
    recorder.record([make(StateEvent, state=State.SUCCEEDED, seconds=5)])
    recorder.end_life(a_run_id())
    recorder.close()
    assert {(beat["run_id"], beat["interval_seconds"]) for beat in door.beats} == {(str(a_run_id()), 0.05)}
    moments = [beat["occurred_at"] for beat in door.beats]
    assert len(set(moments)) == len(moments)


def test_a_run_shows_no_life_in_a_forked_child(door: Door, make_recorder: RecorderFactory) -> None:
    recorder = make_recorder(url=door.url)
    recorder.show_life(a_run_id(), interval_seconds=0.05)
    recorder.record([make(StateEvent, state=State.RUNNING)])
    wait_until(lambda: door.beats)
    pid = os.fork()
    if pid == 0:
        is_silent = recorder._pulse.seconds_left() is None  # pyright: ignore[reportPrivateUsage]
        os._exit(0 if is_silent else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_what_comes_from_a_team_says_so_and_is_the_same_fact(door: Door, make_recorder: RecorderFactory) -> None:
    recorder = make_recorder(url=door.url)
    recorder.speak_for("pay")
    running = make(StateEvent, state=State.RUNNING)
    recorder.record([running])
    recorder.heartbeat(a_run_id(), interval_seconds=10)
    wait_until(lambda: door.beats)
    recorder.speak_for(None)
    recorder.record([make(StateEvent, state=State.SUCCEEDED, seconds=5)])
    recorder.close()
    assert [event.get("team") for event in door.events] == ["pay", "pay", None, None]
    assert door.events[1]["event_id"] == str(running.event_id)
    assert [beat["team"] for beat in door.beats] == ["pay"]


def test_what_is_recorded_after_a_close_comes_from_a_new_producer(door: Door, make_recorder: RecorderFactory) -> None:
    recorder = make_recorder(url=door.url)
    recorder.record(metrics(1))
    recorder.close()
    recorder.record(metrics(1, start=1))
    recorder.close()
    assert list(numbers(door.events).values()) == [[0, 1, 2], [0, 1, 2]]


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from runvis_core.emit.recorder import Recorder
from runvis_core.model.event import StateEvent, MetricEvent
from runvis_core.model.state import State, Witness
from runvis_core.settings import Settings
from uuid import uuid4

settings = Settings(url=sys.argv[1], deployment="test", spool_dir=Path(sys.argv[2]))
recorder = Recorder(settings, component="task", engine="airflow", witness=Witness.WORKER)
run, base = uuid4(), {"engine": "airflow", "deployment": "test", "witness": Witness.WORKER}
for i in range(100_000):
    recorder.record([MetricEvent(**base, run_id=run, occurred_at=datetime.now(UTC), name=f"{i}", value=i)])
    sys.stdout.write(f"{run} {i}\\n")
    sys.stdout.flush()
"""


def test_what_record_returned_for_survives_a_kill_and_is_delivered_once(
    door: Door, make_settings: SettingsFactory, tmp_path: Path
) -> None:
    from runvis_core.emit.drain import drain_spool

    settings = make_settings(url=door.url)
    returned: set[tuple[str, str]] = set()
    for kill in range(30):
        url = door.url if kill % 2 else NOWHERE
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(settings.spool_dir)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for line in writer.stdout:
            returned.add(tuple(line.split()))  # type: ignore[arg-type]
            if len(returned) % 40 == kill % 7 + 20:
                break
        writer.kill()
        # What was already in the pipe had returned as well.
        returned |= {tuple(line.split()) for line in writer.stdout.read().split("\n")[:-1]}  # type: ignore[misc]
        writer.stdout.close()
        writer.wait()
    (settings.spool_dir / "circuit.json").unlink(missing_ok=True)
    report = drain_spool(settings)

    assert report.failure is None
    told = [(event["run_id"], event["name"]) for event in door.events if event["kind"] == "metric"]
    assert returned <= set(told), "nothing that was returned for is missing"
    # A kill between a delivery and its acknowledgement repeats a batch; the event's id is what makes it one.
    by_id = {event["event_id"]: (event["producer"], event["sequence"]) for event in door.events}
    for producer, found in numbers([{"producer": p, "sequence": s} for p, s in by_id.values()]).items():
        assert sorted(found) == list(range(len(found))), f"{producer} has a gap"
    assert not list(settings.spool_dir.glob(f"*/*{SUFFIX}"))
