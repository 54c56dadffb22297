"""One Prefect, and what happens in it: the cases of the tables in the tests, acted out once for each database."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tests.end_to_end.history import History
from tests.end_to_end.prefect_deployment import FLOWS, PrefectClient, prefect_python
from tests.end_to_end.waiting import until

from runvis_core.cli.demo.engines import EngineProcess, PrefectEngine
from runvis_core.model.cause import Cause
from runvis_core.services.answers import RunDetail
from runvis_core.services.attempts import find_attempts
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_prefect import follower

DEPLOYMENT = "followed"
WAIT_SECONDS = 120
HANDED = Cause(UUID(int=7), "0af7651916cd43dd8448eb211c80319c")
"""What was handed to a run in its labels, as another engine does."""
SERVER = {
    # How long a write waits for the one before it, on a machine that is busy.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
}
RUNNER = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_PLUGINS_ENABLED": "1", "RECORDING": "none"}


@contextmanager
def following(url: str, store: Store) -> Iterator[None]:
    """Follow a Prefect server as long as this lasts."""
    stop = threading.Event()
    settings = load_settings(deployment=DEPLOYMENT, prefect={"interval_seconds": 3})
    arguments = {"store": store, "settings": settings, "stop": stop}
    thread = threading.Thread(target=follower.follow, args=(url,), kwargs=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@dataclass
class Followed:
    """A Prefect; what its hooks and the follower recorded together, and what the follower did alone."""

    prefect: PrefectEngine
    api: PrefectClient
    folder: Path
    together: History
    alone: History
    native: dict[str, str] = field(default_factory=dict[str, str])
    """Prefect's ids of the flow runs, by what happens in them."""
    seen: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def attempts(self, history: History, name: str) -> list[RunDetail]:
        """Return the attempts of a flow run of the story."""
        return self.attempts_of(history, self.native[name])

    def attempts_of(self, history: History, native_id: str) -> list[RunDetail]:
        """Return all attempts of what Prefect calls by this id."""
        known = find_attempts(history.store, [native_id], engine="prefect", deployment=DEPLOYMENT).get(native_id, [])
        return sorted((history.run(said.run_id) for said in known), key=lambda run: run.attempt or 0)

    def the(self, history: History, name: str) -> RunDetail:
        """Return the only attempt of a flow run of the story."""
        [run] = self.attempts(history, name)
        return run

    def states(self, history: History, name: str) -> list[str]:
        """Return the native states that a flow run of the story was in, as they were told."""
        told = [
            (entry.event["occurred_at"], entry.event["native_state"])
            for run in self.attempts(history, name)
            for entry in history.entries(run.run_id)
            if entry.event["kind"] == "state"
        ]
        return [state for _, state in sorted(told)]

    def await_native(self, name: str, state: str) -> None:
        """Wait until a flow run is in a state by Prefect's own word."""
        native_id = self.native[name]
        until(f"{name} to be {state}", lambda: self.api.state_name(native_id) == state, seconds=WAIT_SECONDS)

    def holding_pid(self, name: str) -> int:
        """Return the process that a flow run which holds is in."""
        file = self.folder / "ready" / self.native[name]
        return int(until(f"the pid of {name}", lambda: file.exists() and file.read_text(), seconds=WAIT_SECONDS))


@contextmanager
def acted(folder: Path, *, server: dict[str, str]) -> Iterator[Followed]:
    """Act the story out, and give what was recorded of it."""
    (folder / "ready").mkdir(parents=True)
    with ExitStack() as stack:
        together, alone = (stack.enter_context(History(folder / name)) for name in ("together", "alone"))
        prefect = stack.enter_context(
            PrefectEngine(prefect_python(), folder / "prefect", server_variables=SERVER | server)
        )
        assert prefect.api_url is not None
        api = PrefectClient(prefect.api_url)
        stack.callback(api.close)
        told = Followed(prefect, api, folder, together, alone)
        for history in (together, alone):
            stack.enter_context(following(prefect.api_url, history.store))
        _act(told, stack)
        yield told


def _act(told: Followed, stack: ExitStack) -> None:
    prefect, api = told.prefect, told.api
    run_cli(told, "work-pool", "create", "pool", "--type", "process")
    api.make_deployment(
        "echo",
        "pooled",
        entrypoint="deployed.py:echo",
        pool="pool",
        version="3",
        tags=["pooled"],
        parameters={"word": "hello"},
    )
    captured = told.together.engine_env(DEPLOYMENT)
    variables = {"READY_DIR": str(told.folder / "ready"), "TICKS_IN_SECONDS": "25"}
    story = stack.enter_context(prefect.start_flow(FLOWS / "story.py", RECORDING="install", **captured))
    assert story.wait(timeout_seconds=WAIT_SECONDS) == 0, story.log_tail()
    runner = stack.enter_context(prefect.start_flow(FLOWS / "deployed.py", **variables, **RUNNER, **captured))
    ready = {"READY_FILE": str(told.folder / "ready" / "alone")}
    killed = stack.enter_context(prefect.start_flow(FLOWS / "waiting.py", RECORDING="install", **ready, **captured))
    runner.wait_until(lambda: api.has_deployment("reacting/served"), what="deployments", timeout_seconds=WAIT_SECONDS)
    told.native["late"] = api.start_deployment("echo/pooled")
    for name in ("cancelled", "crashed", "lost"):
        told.native[name] = api.start_deployment("holding/served")
    told.native["suspended"] = api.start_deployment("suspending/served", labels=HANDED.as_labels())
    killed.wait_until(Path(ready["READY_FILE"]).exists, what="ready file", timeout_seconds=WAIT_SECONDS)
    [native] = [run["id"] for run in api.flow_runs(flows={"name": {"any_": ["waiting"]}})]
    told.native["lost alone"] = native
    _await_recorded(told, "lost alone", lambda runs: runs[-1].native_state == "Running")
    killed.send_signal(signal.SIGKILL)
    for name, act in (("cancelled", None), ("crashed", signal.SIGTERM), ("lost", signal.SIGKILL)):
        pid = told.holding_pid(name)
        # Prefect's events of the task go out from the process that is about to be ended.
        _await_recorded(told, name, lambda runs: runs[-1].native_state == "Running" and _has_a_child(told, runs[-1]))
        if act is None:
            api.cancel(told.native[name])
        else:
            os.kill(pid, act)
    told.native["calling"] = api.start_deployment("calling/served")
    told.await_native("late", "Late")
    worker = stack.enter_context(worker_of(told))
    told.await_native("suspended", "Suspended")
    api.resume(told.native["suspended"])
    for name, state in (
        ("cancelled", "Cancelled"),
        ("crashed", "Crashed"),
        ("lost", "Crashed"),
        ("suspended", "Completed"),
        ("calling", "Completed"),
        ("late", "Completed"),
    ):
        told.await_native(name, state)
        _await_recorded(told, name, lambda runs, state=state: runs[-1].native_state == state)
    for name in ("ticking", "reacting"):
        found = until(
            f"a run of {name}",
            lambda name=name: api.flow_runs(flows={"name": {"any_": [name]}}, sort="EXPECTED_START_TIME_ASC"),
            seconds=WAIT_SECONDS,
        )
        told.native[name] = found[0]["id"]
        _await_recorded(told, name, lambda runs: runs[-1].native_state == "Completed")
    assert worker.wait(timeout_seconds=WAIT_SECONDS) == 0, worker.log_tail()
    for history in (told.alone, told.together):
        history.wait_for("paused", lambda run: run.native_state == "Completed", seconds=WAIT_SECONDS)


def _has_a_child(told: Followed, run: RunDetail) -> bool:
    return all(history.tree(run.run_id).children for history in (told.alone, told.together))


def _await_recorded(told: Followed, name: str, check: Callable[[list[RunDetail]], bool]) -> None:
    for history in (told.alone, told.together):
        until(
            f"{name} in the record",
            lambda history=history: (runs := told.attempts(history, name)) and check(runs),
            seconds=WAIT_SECONDS,
        )


def run_cli(told: Followed, *arguments: str) -> None:
    """Run one of Prefect's own commands to its end."""
    command = [str(told.prefect.python), "-m", "prefect", *arguments]
    subprocess.run(command, env=told.prefect.environment(), check=True, capture_output=True, timeout=WAIT_SECONDS)


def worker_of(told: Followed) -> EngineProcess:
    """Start a worker that looks once for work and does it; it records nothing."""
    command = [str(told.prefect.python), "-m", "prefect", "worker", "start", "--pool", "pool", "--run-once"]
    return EngineProcess(
        "Prefect worker",
        command,
        environment=told.prefect.environment(),
        log_path=told.folder / "worker.log",
        folder=told.folder,
    )
