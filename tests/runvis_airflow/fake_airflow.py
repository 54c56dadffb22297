"""A small server that answers like Airflow's REST API, from what a real one said, and that can be made to fail."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

STORY = Path(__file__).parents[1] / "fixtures" / "airflow_rest" / "story.json"
LISTS = {
    "/dags/~/dagRuns": "dag_runs",
    "/dags/~/dagRuns/~/taskInstances": "task_instances",
    "/eventLogs": "event_logs",
}

Fault = Callable[["_Handler"], None]


class FakeAirflow:
    """Serves the story's rows; `faults` are what it does, in turn, in place of answering a list or an object."""

    def __init__(self, *, now: datetime) -> None:
        self.story: dict[str, Any] = deepcopy(json.loads(STORY.read_text()))
        self.now = now
        self.page_size = 10
        self.token = "first"
        self.tokens_given = 0
        self.has_cursors = True
        self.paused: list[str] = []
        self.faults: deque[Fault | None] = deque()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def answer(self, path: str, params: dict[str, str]) -> Any:
        """Return what Airflow answers; None where there is nothing."""
        if path == "/version":
            return {"version": "3.3.2"}
        if path == "/dags" and params["paused"] == "true":
            dags = [{"dag_id": dag_id, "is_paused": True} for dag_id in self.paused]
            start = int(params.get("offset", 0))
            return {"dags": dags[start : start + int(params["limit"])], "total_entries": len(dags)}
        if path in LISTS:
            return self._page(LISTS[path], params)
        match [unquote(step) for step in path.split("/")[1:]]:
            case ["dags", dag_id, "details"]:
                return self.story["details"].get(dag_id, {"dag_id": dag_id, "dag_run_timeout": None})
            case ["dags", dag_id, "tasks"]:
                return {"tasks": self.story["tasks"].get(dag_id, [])}
            case ["dags", dag_id, "dagRuns", run_id]:
                rows = self.story["dag_runs"]
                return next((row for row in rows if (row["dag_id"], row["dag_run_id"]) == (dag_id, run_id)), None)
            case ["dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, *_, "tries"]:
                return {"task_instances": self.story["tries"].get(f"{dag_id}/{run_id}/{task_id}", [])}
        return None

    def _page(self, key: str, params: dict[str, str]) -> dict[str, Any]:
        rows = [row for row in self.story[key] if _is_wanted(row, params)]
        cursors = self.has_cursors and key != "event_logs"
        start = int((params.get("cursor") if cursors else params.get("offset")) or 0)
        size = self.page_size if cursors else int(params["limit"])
        page: dict[str, Any] = {key: rows[start : start + size], "total_entries": len(rows)}
        if cursors:
            page["next_cursor"] = str(start + size) if start + size < len(rows) else None
        return page


def _is_wanted(row: dict[str, Any], params: dict[str, str]) -> bool:
    if "when" not in row:
        return True
    return (
        params.get("dag_id") in (None, row["dag_id"])
        and row["when"] > params.get("after", "")
        and row["when"] < params.get("before", "9")
    )


class _Handler(BaseHTTPRequestHandler):
    fake: FakeAirflow
    protocol_version = "HTTP/1.1"
    # Head and body go in two writes, and the second would wait for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if where.path == "/auth/token":
            self.fake.tokens_given += 1
            self.send(201, {"access_token": self.fake.token})
            return
        if self.headers["Authorization"] != f"Bearer {self.fake.token}":
            self.send(401, {"detail": "Invalid JWT token"})
            return
        path = where.path.removeprefix("/api/v2")
        params = {name: values[0] for name, values in parse_qs(where.query, keep_blank_values=True).items()}
        self.fake.asked.append((path, params))
        fault = self.fake.faults.popleft() if self.fake.faults else None
        if fault is not None:
            fault(self)
            return
        found = self.fake.answer(path, params)
        self.send(404, {"detail": "not found"}) if found is None else self.send(200, found)

    def send(self, status: int, body: Any) -> None:
        self.send_raw(status, json.dumps(body).encode())

    def send_raw(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(self.fake.now, usegmt=True)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        return


def fails(handler: _Handler) -> None:
    handler.send(500, {"detail": "Internal Server Error"})


def talks_nonsense(handler: _Handler) -> None:
    handler.send_raw(200, b"<html>a login page</html>")


def has_another_form(handler: _Handler) -> None:
    handler.send(200, {"runs": []})


def cuts_the_line(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"dag_runs": [')
    handler.close_connection = True


def hangs(handler: _Handler) -> None:
    time.sleep(10)
    handler.close_connection = True


def forgets_the_token(handler: _Handler) -> None:
    handler.fake.token = "second"
    handler.send(401, {"detail": "Invalid JWT token"})
