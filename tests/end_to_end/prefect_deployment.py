"""A real Prefect for a test: which environment has it, and the few calls to its server that tests make."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from runvis_core.cli.demo.engines import EngineError

PYTHON_VARIABLE = "RUNVIS_TEST_PREFECT_PYTHON"
FLOWS = Path(__file__).parent / "prefect_flows"


def prefect_python() -> Path:
    """Return the Python of the environment that has Prefect; raise when none is named."""
    named = os.environ.get(PYTHON_VARIABLE)
    if not named:
        raise EngineError(f"{PYTHON_VARIABLE} is not set: name the Python of Prefect's environment, or use `make test`")
    return Path(named).absolute()


@contextmanager
def held_port() -> Iterator[int]:
    """A port that no other process is given, also while the server that belongs there is down."""
    with socket.socket() as held:
        # The server takes an address over by the same option; this socket never listens.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class PrefectClient:
    """The REST API of a Prefect server."""

    def __init__(self, api_url: str) -> None:
        self._http = httpx.Client(base_url=api_url, timeout=30, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Return what the server answers; asked again while it is too busy, as Prefect's own client does."""
        deadline = time.monotonic() + 60
        while (answer := self._http.request(method, path, **options)).is_server_error and time.monotonic() < deadline:
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def has_deployment(self, name: str) -> bool:
        return self._http.get(f"/deployments/name/{name}").is_success

    def start_deployment(self, name: str, **fields: Any) -> str:
        """Ask for a run of a deployment (`flow/deployment`) and return the flow run's id."""
        deployment = self.call("GET", f"/deployments/name/{name}")
        return str(self.call("POST", f"/deployments/{deployment['id']}/create_flow_run", json=fields)["id"])

    def make_deployment(self, flow: str, name: str, *, entrypoint: str, pool: str, **fields: Any) -> None:
        """Make a deployment of a flow in the folder of flows, for a work pool."""
        flow_id = self.call("POST", "/flows/", json={"name": flow})["id"]
        where = {"path": str(FLOWS), "entrypoint": entrypoint, "work_pool_name": pool}
        self.call("POST", "/deployments/", json={"flow_id": flow_id, "name": name, **where, **fields})

    def act_out(self, flow: str, *states: str) -> str:
        """Let a run of a flow go through states, with no process of its own, and return the flow run's id."""
        flow_id = self.call("POST", "/flows/", json={"name": flow})["id"]
        first = {"state": {"type": states[0]}}
        flow_run_id = str(self.call("POST", "/flow_runs/", json={"flow_id": flow_id, **first})["id"])
        for state in states[1:]:
            self.enter(flow_run_id, state)
        return flow_run_id

    def enter(self, flow_run_id: str, state: str) -> None:
        """Let a flow run enter a state."""
        self.call("POST", f"/flow_runs/{flow_run_id}/set_state", json={"state": {"type": state}})

    def resume(self, flow_run_id: str) -> None:
        self.call("POST", f"/flow_runs/{flow_run_id}/resume")

    def flow_runs(self, **filters: Any) -> list[dict[str, Any]]:
        return self.call("POST", "/flow_runs/filter", json=filters)

    def state_name(self, flow_run_id: str) -> str:
        return str(self.flow_run(flow_run_id)["state_name"])

    def cancel(self, flow_run_id: str) -> None:
        self.enter(flow_run_id, "CANCELLING")

    def flow_run(self, flow_run_id: str) -> dict[str, Any]:
        return self.call("GET", f"/flow_runs/{flow_run_id}")

    def task_run_states(self, task_run_id: str) -> list[dict[str, Any]]:
        return self.call("GET", "/task_run_states/", params={"task_run_id": task_run_id})

    def flow_run_states(self, flow_run_id: str) -> list[dict[str, Any]]:
        return self.call("GET", "/flow_run_states/", params={"flow_run_id": flow_run_id})
