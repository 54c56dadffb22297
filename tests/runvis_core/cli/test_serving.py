"""`runvis serve` as a process: several workers, and an end that finishes what was begun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runvis_core.api.metrics import MULTIPROCESS_FOLDER
from runvis_core.api.workers import _shared_counters
from runvis_core.model.event import StateEvent
from runvis_core.model.state import State
from runvis_core.store.check import check_store
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

Server = subprocess.Popen[str]


@contextmanager
def serving(store: Store, *arguments: str) -> Iterator[tuple[Server, str]]:
    url = store.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "runvis_core.cli", "serve", "--port", "0", "--url", url, *arguments]
    # Its log goes to a file: a pipe that nobody reads would stop it.
    with (
        Path("server.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith("RunVis serves at "), line
            yield server, line.split()[-1]
        finally:
            server.terminate()
            assert server.wait(120) == 0


def post(client: httpx.Client, number: int) -> httpx.Response:
    event = make(StateEvent, state=State.RUNNING, run_id=a_run_id(str(number)))
    return client.post("/api/v1/events", json={"events": [event.model_dump(mode="json")]})


def numbers_of(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{address}/metrics", timeout=60).text)
        for sample in family.samples
    }


def workers_of(server: Server) -> list[int]:
    """The processes that serve, as the kernel lists them."""
    with Path(f"/proc/{server.pid}/task/{server.pid}/children").open() as children:
        found = [int(pid) for pid in children.read().split()]
    return [pid for pid in found if b"spawn_main" in _command_of(pid)]


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def test_workers_share_a_socket_one_leads_and_a_dead_one_is_replaced(store: Store) -> None:
    with serving(store, "--workers", "2") as (server, address):
        for number in range(20):
            # Each on a connection of its own, which may be any worker's.
            with httpx.Client(base_url=address, timeout=60) as client:
                assert post(client, number).status_code == 200
        wait_until(lambda: numbers_of(address)["runvis_leading", ()] == 1)
        numbers = numbers_of(address)
        assert numbers["runvis_events_total", ("stored",)] == 20
        assert numbers["runvis_request_seconds_count", ("POST", "/api/v1/events", "200")] == 20
        before = workers_of(server)
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(workers_of(server)) - set(before)) == 2)
        with httpx.Client(base_url=address, timeout=120) as client:
            assert post(client, 20).status_code == 200
        wait_until(lambda: numbers_of(address)["runvis_leading", ()] == 1)
        # What the dead ones counted still counts.
        assert numbers_of(address)["runvis_events_total", ("stored",)] == 21
    assert check_store(store) == []


def test_what_a_killed_server_counted_is_removed_by_the_next_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = tmp_path / "runvis-metrics-killed"
    killed.mkdir()
    (killed / "counter_1.db").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runvis-metrics-link").symlink_to(elsewhere)
    with _shared_counters():
        living = Path(os.environ[MULTIPROCESS_FOLDER])
        # It may be another server's that is just being made.
        assert killed.exists()
        for folder in (killed, living, elsewhere):
            os.utime(folder, (0, 0))
        with _shared_counters():
            assert not killed.exists()
            assert living.exists()
        monkeypatch.setenv(MULTIPROCESS_FOLDER, str(living))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["elsewhere", "runvis-metrics-link"]


def test_workers_end_with_their_server(sqlite_store: Store) -> None:
    with serving(sqlite_store, "--workers", "2") as (server, _address):
        workers = workers_of(server)
        assert len(workers) == 2
        os.kill(server.pid, signal.SIGKILL)
        server.wait(60)
        wait_until(lambda: not any(b"spawn_main" in _command_of(pid) for pid in workers))
        server.returncode = 0  # as it was meant


def test_a_server_that_is_ended_finishes_what_it_took(store: Store) -> None:
    answered: list[int] = []

    def send(client: httpx.Client, first: int) -> None:
        for number in range(first, first + 10_000):
            try:
                if post(client, number).status_code != 200:
                    return
            except httpx.HTTPError:
                return
            answered.append(number)

    with serving(store) as (server, address):
        clients = [httpx.Client(base_url=address, timeout=60) for _ in range(4)]
        senders = [threading.Thread(target=send, args=(client, place * 10_000)) for place, client in enumerate(clients)]
        for sender in senders:
            sender.start()
        wait_until(lambda: len(answered) > 50)
        server.terminate()
        for sender in senders:
            sender.join(120)
            assert not sender.is_alive()
        for client in clients:
            client.close()
    stored = {entry.run_id for entry in store.log.read()}
    assert {a_run_id(str(number)) for number in answered} <= stored
    assert check_store(store) == []


def test_a_collector_gets_a_line_of_json_for_each_request(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS__SERVER__LOG_FORMAT", "json")
    with serving(sqlite_store) as (_server, address):
        httpx.get(f"{address}/api/v1/runs", headers={"X-Request-ID": "the-one"}, timeout=60)
    lines = [json.loads(line) for line in Path("server.log").read_text().splitlines()]
    assert [(line["path"], line["status"]) for line in lines if line.get("request_id") == "the-one"] == [
        ("/api/v1/runs", 200)
    ]
