"""A real receiver of notices, a clock that is set by hand, and runs worth a notice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from runvis_core.model.event import EventBase, IdentityEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.services.notify import queue
from runvis_core.services.notify.notifier import send_next
from runvis_core.services.notify.rules import Rule, read_rules
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SECRET = "T0000/B0000/secret-of-the-webhook"


class Receiver:
    """Takes what is posted, or refuses it with `status`."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.refused: set[str] = set()
        """Words: what has one of them is answered with 500."""
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # Its sender was killed on the way.
                    return
                is_refused = any(word.encode() in body for word in receiver.refused)
                status = 500 if is_refused else receiver.status
                if status == 200:
                    receiver.posts.append((dict(self.headers), body))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **receiver.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{SECRET}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.posts]

    @property
    def run_ids(self) -> list[str]:
        return [notice["run"]["run_id"] for notice in self.notices]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Clock:
    """A clock that stands until it is set on."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **by: float) -> None:
        self.now += timedelta(**by)


def a_rule(webhook: str, **fields: Any) -> Rule:
    (rule,) = read_rules(load_settings(notify={"rules": [{"name": "a-rule", "webhook": webhook, **fields}]}))
    return rule


def ended(name: str, state: State = State.FAILED, *, definition: str = "orders") -> list[EventBase]:
    run_id = a_run_id(name)
    return [
        make(
            IdentityEvent,
            run_id=run_id,
            definition=definition,
            definition_kind="workflow",
            native_key=name,
            native_id=name,
        ),
        make(StateEvent, seconds=1, run_id=run_id, state=State.RUNNING),
        make(StateEvent, seconds=2, run_id=run_id, state=state),
    ]


def send_all(store: Store, rule: Rule, clock: Clock) -> None:
    """Gather and send what there is to gather and send now."""
    while queue.gather(store, rule, now=clock()) + send_next(store, rule, "https://runvis.example", now=clock):
        pass


def ids(*names: str) -> list[str]:
    return [str(a_run_id(name)) for name in names]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)
