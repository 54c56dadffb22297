"""A small server that answers like Prefect's, on HTTP and on the events websocket, and that can be made to fail."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid5

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

NAMES = UUID(int=9)
TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

Fault = Callable[[], Response]


def text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class FakePrefect:
    """Keeps flow runs, task runs and their events; `faults` are what it does, in turn, in place of an answer."""

    def __init__(self, *, now: datetime) -> None:
        self.now = now
        self.flows: dict[str, dict[str, Any]] = {}
        self.flow_runs: dict[str, dict[str, Any]] = {}
        self.task_runs: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self.states: dict[str, list[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.faults: deque[Fault | None] = deque()
        self.asked: list[str] = []
        self.auth_string: str | None = None
        self.drops: Callable[[dict[str, Any]], bool] = lambda _event: False
        """Which events the websocket loses."""
        self.cut_after: int | None = None
        """After how many events the line is cut, each time."""
        self.connections = 0
        self._subscribers: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = []
        self._lock = threading.Lock()
        self._number = 0
        config = uvicorn.Config(
            self._app(),
            host="127.0.0.1",
            port=0,
            log_level="critical",
            ws="websockets-sansio",
            lifespan="off",
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    # --- what happens ---

    def start_flow_run(self, flow: str = "orders", **fields: Any) -> str:
        """Make a flow run, and return its id."""
        flow_id = self.flows.setdefault(flow, {"id": self._id("flow"), "name": flow})["id"]
        native = self._id("flow run")
        self.flow_runs[native] = {
            "id": native,
            "name": f"{flow}-{self._number}",
            "flow_id": flow_id,
            "run_count": 0,
            "parameters": {},
            "labels": {},
            "tags": [],
            "expected_start_time": text(self.now),
            "end_time": None,
            "state": None,
            "state_type": None,
            "empirical_policy": {"resuming": False},
            **fields,
        }
        self.states[native] = []
        return native

    def start_task_run(self, flow_run: str, task: str = "load", **fields: Any) -> str:
        """Make a task run in a flow run, and return its id."""
        native = self._id("task run")
        self.task_runs[native] = {
            "id": native,
            "name": f"{task}-{native[:3]}",
            "flow_run_id": flow_run,
            "flow_run_run_count": 0,
            "run_count": 0,
            "task_key": f"{task}-0a1b2c3d",
            "dynamic_key": native,
            "tags": [],
            "expected_start_time": text(self.now),
            "state": None,
            **fields,
        }
        self.states[native] = []
        return native

    def enter(
        self,
        native: str,
        kind: str,
        name: str | None = None,
        *,
        at: datetime | None = None,
        details: dict[str, Any] | None = None,
        has_event: bool = True,
        message: str | None = None,
    ) -> str:
        """Let a run enter a state, and return the state's id."""
        is_flow = native in self.flow_runs
        row = (self.flow_runs if is_flow else self.task_runs)[native]
        before = row["state"]
        state = {
            "id": self._id("state"),
            "type": kind,
            "name": name or kind.capitalize(),
            "timestamp": text(at or self.now),
            "message": message,
            "state_details": details or {},
        }
        if kind == "RUNNING":
            row["run_count"] += 1
            if not is_flow:
                row["flow_run_run_count"] = self.flow_runs[row["flow_run_id"]]["run_count"]
        row |= {"state": state, "state_type": kind}
        if kind in TERMINAL:
            row["end_time"] = state["timestamp"]
        self.states[native].append(state)
        if has_event:
            self._publish(self._state_event(row, state, before, is_flow=is_flow))
        return state["id"]

    def run(self, flow: str = "orders", *, tasks: int = 1, at: datetime | None = None, **fields: Any) -> str:
        """Let a flow run from its beginning to its end."""
        native = self.start_flow_run(flow, **fields)
        for kind in ("PENDING", "RUNNING"):
            self.enter(native, kind)
        for _ in range(tasks):
            task = self.start_task_run(native)
            for kind in ("PENDING", "RUNNING", "COMPLETED"):
                self.enter(task, kind, at=at)
        self.enter(native, "COMPLETED")
        return native

    def log(self, native: str, message: str, *, level: int = 20) -> None:
        """Let a flow run or a task run log a line."""
        task = self.task_runs.get(native)
        flow_run, task_run = (native, None) if task is None else (task["flow_run_id"], native)
        said = {"name": f"prefect.{'flow' if task is None else 'task'}_runs", "level": level, "message": message}
        self.logs.append({"timestamp": text(self.now), "flow_run_id": flow_run, "task_run_id": task_run, **said})

    def say(self, event: str, resource: dict[str, Any], related: list[dict[str, Any]]) -> None:
        """Publish any other event."""
        said = {"id": self._id("event"), "occurred": text(self.now), "event": event}
        self._publish({**said, "resource": resource, "related": related, "payload": {}})

    def _id(self, what: str) -> str:
        self._number += 1
        return str(uuid5(NAMES, f"{what} {self._number}"))

    def _state_event(
        self, row: dict[str, Any], state: dict[str, Any], before: dict[str, Any] | None, *, is_flow: bool
    ) -> dict[str, Any]:
        kind = "flow-run" if is_flow else "task-run"
        flow_run = row if is_flow else self.flow_runs[row["flow_run_id"]]
        flow = next(flow for flow in self.flows.values() if flow["id"] == flow_run["flow_id"])
        shown = {"type": state["type"], "name": state["name"]}
        payload: dict[str, Any] = {
            "initial_state": before and {"type": before["type"], "name": before["name"]},
            "validated_state": shown if is_flow else {**shown, "state_details": state["state_details"]},
        }
        related = [_related("flow", flow["id"], flow["name"])]
        if not is_flow:
            payload["task_run"] = {name: value for name, value in row.items() if name not in ("id", "state")}
            related.append(_related("flow-run", flow_run["id"], flow_run["name"]))
        return {
            "id": state["id"],
            "occurred": state["timestamp"],
            "event": f"prefect.{kind}.{state['name']}",
            "resource": {
                "prefect.resource.id": f"prefect.{kind}.{row['id']}",
                "prefect.resource.name": row["name"],
                "prefect.run-count": str(row["run_count"]),
                "prefect.state-name": state["name"],
                "prefect.state-type": state["type"],
                "prefect.state-timestamp": state["timestamp"],
                "prefect.state-message": state["message"] or "",
            },
            "related": related,
            "payload": payload,
        }

    def _publish(self, event: dict[str, Any]) -> None:
        with self._lock:
            self.events.append(event)
            subscribers = list(self._subscribers)
        if not self.drops(event):
            for loop, queue in subscribers:
                loop.call_soon_threadsafe(queue.put_nowait, event)

    # --- what it answers ---

    def _app(self) -> Starlette:
        lists = {
            "flows": lambda: self.flows.values(),
            "flow_runs": lambda: self.flow_runs.values(),
            "task_runs": lambda: self.task_runs.values(),
            "deployments": lambda: self.deployments.values(),
            "artifacts": lambda: self.artifacts,
            "logs": lambda: self.logs,
        }
        routes: list[Any] = [
            Route(f"/api/{name}/filter", self._list(name, rows), methods=["POST"]) for name, rows in lists.items()
        ]
        routes += [
            Route("/api/health", self._answering(lambda _request, _body: True)),
            Route("/api/events/filter", self._answering(self._events_page), methods=["POST"]),
            Route("/api/events/filter/next", self._answering(self._events_page)),
            Route("/api/{kind}_run_states/", self._answering(self._history)),
            Route("/api/{kind}_run_states/{state}", self._answering(self._state)),
            WebSocketRoute("/api/events/out", self._stream),
        ]
        return Starlette(routes=routes)

    def _answering(self, answer: Callable[[Request, Any], Any]) -> Any:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            self.asked.append(request.url.path)
            expected = self.auth_string and f"Basic {base64.b64encode(self.auth_string.encode()).decode()}"
            if expected is not None and request.headers.get("authorization") != expected:
                return JSONResponse({"exception_message": "Unauthorized"}, status_code=401)
            fault = self.faults.popleft() if self.faults else None
            if fault is not None:
                return await asyncio.to_thread(fault)
            found = answer(request, json.loads(raw) if raw else {})
            headers = {"date": format_datetime(self.now, usegmt=True)}
            return JSONResponse(found, status_code=404 if found is None else 200, headers=headers)

        return endpoint

    def _list(self, name: str, rows: Callable[[], Any]) -> Any:
        def answer(_request: Request, body: dict[str, Any]) -> Any:
            with self._lock:
                found = [row for row in list(rows()) if self._is_wanted(name, row, body)]
            if body.get("sort") == "TIMESTAMP_DESC":
                found.reverse()
            start = body.get("offset", 0)
            return found[start : start + min(body.get("limit", 200), 200)]

        return self._answering(answer)

    def _is_wanted(self, name: str, row: dict[str, Any], body: dict[str, Any]) -> bool:
        asked = body.get(name, {})
        if name == "logs":
            return _is_wanted_line(row, asked)
        flow_runs = body.get("flow_runs", {}).get("id", {}).get("any_")
        if name == "task_runs" and flow_runs is not None and row["flow_run_id"] not in flow_runs:
            return False
        if "flow_run_id" in asked and row.get("flow_run_id") is not None:
            return False
        ids, types = asked.get("id", {}).get("any_"), asked.get("state", {}).get("type", {}).get("any_")
        return (
            (ids is None or row["id"] in ids)
            and (types is None or (row.get("state") or {}).get("type") in types)
            and ("end_time" not in asked or (row.get("end_time") or "") > asked["end_time"]["after_"])
            and (
                "expected_start_time" not in asked
                or row["expected_start_time"] <= asked["expected_start_time"]["before_"]
            )
        )

    def _events_page(self, request: Request, body: dict[str, Any]) -> Any:
        token = request.query_params.get("page-token")
        asked = json.loads(base64.urlsafe_b64decode(token)) if token else {**body["filter"]["occurred"], "offset": 0}
        with self._lock:
            found = sorted(
                (event for event in self.events if asked["since"] <= event["occurred"] <= asked["until"]),
                key=lambda event: event["occurred"],
            )
        start = asked["offset"]
        following = base64.urlsafe_b64encode(json.dumps({**asked, "offset": start + 50}).encode()).decode()
        more = f"http://elsewhere/api/events/filter/next?page-token={following}" if len(found) > start + 50 else None
        return {"events": found[start : start + 50], "total": len(found), "next_page": more}

    def _history(self, request: Request, _body: Any) -> Any:
        return self.states.get(request.query_params[f"{request.path_params['kind']}_run_id"])

    def _state(self, request: Request, _body: Any) -> Any:
        wanted = request.path_params["state"]
        return next((state for states in self.states.values() for state in states if state["id"] == wanted), None)

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept(subprotocol="prefect")
        self.connections += 1
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        try:
            auth = await socket.receive_json()
            if self.auth_string is not None and auth.get("token") != self.auth_string:
                await socket.close(1002, reason="Auth required but no token provided")
                return
            await socket.send_json({"type": "auth_success"})
            asked = (await socket.receive_json())["filter"]["occurred"]["since"]
            with self._lock:
                late = [event for event in self.events if event["occurred"] >= asked and not self.drops(event)]
                self._subscribers.append((asyncio.get_running_loop(), queue))
            for event in late:
                queue.put_nowait(event)
            sent = 0
            while not self._server.should_exit and (self.cut_after is None or sent < self.cut_after):
                try:
                    event = await asyncio.wait_for(queue.get(), 0.1)
                except TimeoutError:
                    continue
                await socket.send_json({"type": "event", "event": event})
                sent += 1
            await socket.close(1012)
        except WebSocketDisconnect:
            return
        finally:
            with self._lock:
                self._subscribers = [known for known in self._subscribers if known[1] is not queue]


def _is_wanted_line(row: dict[str, Any], asked: dict[str, Any]) -> bool:
    times, task_run = asked.get("timestamp", {}), asked["task_run_id"]
    return (
        ("flow_run_id" not in asked or row["flow_run_id"] in asked["flow_run_id"]["any_"])
        and (row["task_run_id"] is None if task_run.get("is_null_") else row["task_run_id"] in task_run["any_"])
        and times.get("after_", "") <= row["timestamp"] <= times.get("before_", "~")
    )


def _related(role: str, native: str, name: str) -> dict[str, str]:
    return {
        "prefect.resource.id": f"prefect.{role}.{native}",
        "prefect.resource.role": role,
        "prefect.resource.name": name,
    }


def fails() -> Response:
    return JSONResponse({"exception_message": "Internal Server Error"}, status_code=500)


def talks_nonsense() -> Response:
    return Response("<html>a login page</html>", media_type="text/html")


def has_another_form() -> Response:
    return JSONResponse({"runs": []})


def is_slow() -> Response:
    time.sleep(1.5)
    return JSONResponse([])


def hangs() -> Response:
    time.sleep(10)
    return JSONResponse([])


TICK = timedelta(seconds=1)
