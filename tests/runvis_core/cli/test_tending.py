from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from click.testing import Result
from sqlalchemy import text

from runvis_core.api.server import serve
from runvis_core.emit.spool import SpoolWriter, encode_line
from runvis_core.hookspecs import hookimpl
from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import EventBase, ProducerOpenedEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.plugins import Plugins
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import make
from runvis_core.testing.story import a_story

Run = Callable[..., Result]
Record = Callable[[Store, Iterable[EventBase]], None]


def leave_spool(tmp_path: Path, events: Iterable[EventBase]) -> None:
    """Leave a spool as a process does that is gone."""
    writer = SpoolWriter.create(tmp_path / "state" / "runvis" / "spool" / "prod", max_bytes=2**20)
    writer.append([encode_line(wire_item(seal(event))) for event in events])
    writer.close()


def test_a_spool_that_a_dead_process_left_is_shown_and_drained(runvis: Run, address: str, tmp_path: Path) -> None:
    assert "nothing waits" in runvis("spool", "status").stdout
    leave_spool(
        tmp_path,
        [make(StateEvent, seconds=900, state=State.RUNNING), make(StateEvent, seconds=901, state=State.FAILED)],
    )
    status = json.loads(runvis("spool", "status", "-o", "json").stdout)
    assert [(file["deployment"], file["pending_events"], file["is_alive"]) for file in status["files"]] == [
        ("prod", 2, False)
    ]
    drained = runvis("spool", "drain", url=address)
    assert drained.exit_code == 0, drained.output
    assert "2 events delivered" in drained.stdout
    assert "nothing waits" in runvis("spool", "status").stdout
    last = runvis("runs", "tail", "--no-follow", "-n", "1", url=address).stdout
    assert "Failed" in last


def test_a_drain_into_nothing_exits_with_4_and_keeps_the_events(runvis: Run, tmp_path: Path) -> None:
    leave_spool(tmp_path, [make(StateEvent, state=State.RUNNING)])
    assert runvis("spool", "drain", url="http://127.0.0.1:9").exit_code == 4
    assert json.loads(runvis("spool", "status", "-o", "json").stdout)["files"][0]["pending_events"] == 1


def test_events_that_a_drain_finds_refused_exit_with_1_and_are_shown(runvis: Run, told: str, tmp_path: Path) -> None:
    writer = SpoolWriter.create(tmp_path / "state" / "runvis" / "spool" / "prod", max_bytes=2**20)
    writer.append([encode_line(b'{"event": {"kind": "state"}}')])
    writer.close()
    drained = runvis("spool", "drain", url=told)
    assert drained.exit_code == 1
    assert "1 refused" in drained.stdout
    status = runvis("spool", "status")
    assert status.exit_code == 1
    assert "1 events were refused" in status.stdout


def test_a_store_is_checked_and_rebuilt(runvis: Run, told: str) -> None:
    before = runvis("runs", "list", "-o", "jsonl", url=told).stdout
    checked = runvis("db", "check", url=told)
    assert checked.exit_code == 0, checked.output
    assert runvis("db", "rebuild", url=told).exit_code == 0
    assert runvis("runs", "list", "-o", "jsonl", url=told).stdout == before


def test_a_check_that_finds_something_exits_with_1(runvis: Run, store: Store, told: str) -> None:
    with store.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in connection.scalars(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'")
            ).all():
                connection.execute(text(f'DROP TRIGGER "{name}"'))
        else:
            connection.execute(text("ALTER TABLE entries_000000 DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE entries SET entry = :entry WHERE position = 3"), {"entry": b"{}"})
    assert runvis("db", "check", url=told).exit_code == 1


def test_the_doctor_finds_a_healthy_place_healthy(runvis: Run, address: str) -> None:
    result = runvis("doctor", "-o", "json", url=address)
    assert result.exit_code == 0, result.output
    checks = json.loads(result.stdout)["items"]
    assert {"settings", "versions", "plugins", "spool", "store", "schema", "triggers", "adapters"} <= {
        check["name"] for check in checks
    }
    if address.startswith("http"):
        assert {"server", "clock"} <= {check["name"] for check in checks}


def test_the_doctor_says_in_which_processes_an_adapter_was_heard(
    runvis: Run, told: str, store: Store, record: Record
) -> None:
    record(store, [make(ProducerOpenedEvent, producer=uuid4(), sequence=0, component="scheduler", seconds=2000)])
    assert "heard in 1 scheduler process(es)" in runvis("doctor", url=told).stdout


def test_the_doctor_hides_secrets(runvis: Run, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS_TOKEN", "the-hidden-token-itself")
    monkeypatch.setenv("RUNVIS__SERVER__TOKENS", '{"prod": "another-hidden-token"}')
    for output in ("table", "json", "jsonl"):
        said = runvis("doctor", "-o", output, url=told).output
        assert "hidden-token" not in said
        assert "RUNVIS_TOKEN=(hidden)" in said
    said = runvis("doctor", url="postgresql://user:hidden-word@127.0.0.1:9/x").output
    assert "hidden-word" not in said


def test_the_doctor_exits_with_1_on_a_problem(runvis: Run, told: str, store: Store, tmp_path: Path) -> None:
    assert runvis("doctor", url="http://127.0.0.1:9").exit_code == 1
    assert runvis("doctor", url=f"sqlite:///{tmp_path / 'none.db'}").exit_code == 1
    dead = tmp_path / "state" / "runvis" / "spool" / "dead"
    dead.mkdir(parents=True)
    (dead / "x.jsonl").write_text("{}\n")
    result = runvis("doctor", url=told)
    assert result.exit_code == 1
    assert "1 events were refused for good" in result.stdout


def test_plugins_are_listed(runvis: Run) -> None:
    assert "runvis_transport" in runvis("plugins").stdout
    assert all(json.loads(line)["name"] for line in runvis("plugins", "-o", "jsonl").stdout.splitlines())


def test_tail_shows_what_comes_and_ends_with_ctrl_c(address: str, told: str, store: Store, record: Record) -> None:
    arguments = [sys.executable, "-u", "-m", "runvis_core.cli", "runs", "tail", "-n", "1", "--url", address]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        try:
            assert tail.stdout is not None
            assert "Running" in tail.stdout.readline()
            record(store, [make(StateEvent, seconds=1000 + n, state=State.RUNNING) for n in range(3)])
            came = [tail.stdout.readline().split()[0] for _ in range(3)]
        finally:
            tail.send_signal(signal.SIGINT)
            _, said = tail.communicate(timeout=20)
    assert came == [str(len(a_story()) + n) for n in (1, 2, 3)]
    assert tail.returncode == 0, said


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_in_order_when_it_is_told_to(sqlite_url: str, end: signal.Signals) -> None:
    arguments = [sys.executable, "-m", "runvis_core.cli", "serve", "--port", "0", "--url", sqlite_url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            assert httpx.get(f"{address}/health/ready").json() == {"status": "ready"}
        finally:
            server.send_signal(end)
            _, said = server.communicate(timeout=20)
    assert server.returncode == 0, said
    assert "Traceback" not in said


class FollowerPlugin:
    """A follower that says when it began, and ends when it is told to."""

    def __init__(self) -> None:
        self.followed: list[str] = []
        self.began = threading.Event()
        self.ended = threading.Event()

    @hookimpl
    def runvis_followers(self) -> Mapping[str, Any]:
        return {"sun": self.follow}

    def follow(self, url: str, *, store: Store, settings: object, stop: threading.Event) -> None:
        self.followed.append(url)
        self.began.set()
        stop.wait(20)
        self.ended.set()


def test_a_follower_runs_beside_the_server_and_ends_with_it(sqlite_store: Store) -> None:
    plugin = FollowerPlugin()
    # Ended as a signal ends it, from another thread.
    ready = threading.Event()

    def interrupt() -> None:
        assert plugin.began.wait(20)
        assert ready.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    settings = load_settings(url="sqlite:///unused")
    followers = {"sun": (plugin.follow, "http://sun")}
    serve(sqlite_store, settings, host="127.0.0.1", port=0, followers=followers, on_ready=lambda _: ready.set())
    thread.join(20)
    assert plugin.followed == ["http://sun"]
    assert plugin.ended.is_set()


def test_a_follower_follows_by_itself(
    runvis: Run, sqlite_store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = FollowerPlugin()
    plugins = Plugins(group=None)
    plugins.register(plugin, name="sun")
    monkeypatch.setattr("runvis_core.services.followers.plugin_manager", lambda: plugins)

    def interrupt() -> None:
        assert plugin.began.wait(20)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = runvis("follow", "sun", "http://sun", url=sqlite_url)
    thread.join(20)
    assert result.exit_code == 0, result.output
    assert plugin.followed == ["http://sun"]
