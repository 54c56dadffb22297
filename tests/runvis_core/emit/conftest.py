"""A server that speaks the events' door, and settings that lead to it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runvis_core.emit import notice
from runvis_core.emit.recorder import Recorder
from runvis_core.model.state import Witness
from runvis_core.settings import Settings


class Door:
    """What a server's `POST /api/v1/events` took, and how it answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.posts: list[dict[str, Any]] = []
        self.asked = 0
        self.tokens: set[str] | None = None
        self.status = 200
        self.headers: dict[str, str] = {}
        self.paused = False
        self.is_poison: Callable[[dict[str, Any]], bool] = lambda item: False
        self.refuses_whole = False
        """Refuse a batch with poison in it as a whole, without saying which item is at fault."""

    @property
    def items(self) -> list[dict[str, Any]]:
        return [item for post in self.posts for item in post["items"]]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [item["event"] for item in self.items]

    @property
    def beats(self) -> list[dict[str, Any]]:
        return [beat for post in self.posts for beat in post.get("heartbeats", [])]

    def answer(self, token: str | None, post: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked += 1
        if self.tokens is not None and token not in self.tokens:
            return 401, {"title": "Unauthorized"}
        if self.status != 200:
            return self.status, {"title": "not now"}
        if self.paused:
            return 200, {"outcomes": [], "paused": True}
        poison = [item for item in post["items"] if self.is_poison(item)]
        if poison and self.refuses_whole:
            return 400, {"title": "bad batch"}
        self.posts.append({**post, "items": [item for item in post["items"] if item not in poison]})
        outcomes: list[dict[str, Any]] = [
            {"index": index, "status": "refused", "field": "state", "reason": "is poison"}
            if item in poison
            else {"index": index, "status": "stored"}
            for index, item in enumerate(post["items"])
        ]
        return (422 if poison and len(poison) == len(outcomes) else 200), {"outcomes": outcomes, "paused": False}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    door: Door


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        post = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        status, reply = self.server.door.answer(token, post) if self.path == "/api/v1/events" else (404, {})
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in self.server.door.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def door() -> Iterator[Door]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.door = Door(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.door
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def fresh_notices() -> Iterator[None]:
    notice.forget_notices()
    yield
    notice.forget_notices()


@pytest.fixture
def warnings_said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG, logger="runvis")
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


SettingsFactory = Callable[..., Settings]
RecorderFactory = Callable[..., Recorder]


@pytest.fixture
def make_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SettingsFactory:
    """Settings of this test alone: nothing of the machine's own counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def make(**fields: Any) -> Settings:
        return Settings(**{"deployment": "test", "spool_dir": tmp_path / "spool", **fields})

    return make


@pytest.fixture
def make_recorder(make_settings: SettingsFactory) -> Iterator[RecorderFactory]:
    made: list[Recorder] = []

    def make(*, settings: Settings | None = None, url: str | None = None, **options: Any) -> Recorder:
        recorder = Recorder(
            settings or make_settings(url=url),
            **{"component": "task", "engine": "airflow", "witness": Witness.WORKER, **options},
        )
        made.append(recorder)
        return recorder

    yield make
    for recorder in made:
        recorder.close(budget_seconds=0)


def wait_until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until something is so; fail when it doesn't become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)


def spool_files(settings: Settings) -> list[Path]:
    return sorted(settings.spool_dir.glob("*/*.spool"))


def spooled_items(settings: Settings) -> list[dict[str, Any]]:
    """What lies in the spool, whoever's it is."""
    return [json.loads(line[9:]) for path in spool_files(settings) for line in path.read_bytes().splitlines()]
