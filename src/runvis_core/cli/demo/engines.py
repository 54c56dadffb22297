"""Real engines as child processes, for the end-to-end tests and for `runvis demo`.

Nothing here imports an engine: each runs in an environment of its own, reached by the path of its Python.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from runvis_core.errors import RunVisError

# What would make a child engine take up the caller's own installation, server or settings.
_INHERITED_NO_FURTHER = ("AIRFLOW", "PREFECT", "RUNVIS", "OPENLINEAGE", "PYTEST", "PYTHONPATH", "VIRTUAL_ENV")


class EngineError(RunVisError):
    """An engine's process did not do what it was started for; the message names its log."""


def free_port() -> int:
    """A loopback port that was free a moment ago; the caller takes it at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without any engine's or RunVis's settings, plus `variables`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_INHERITED_NO_FURTHER)}
    return {**kept, **variables}


class EngineProcess(AbstractContextManager["EngineProcess"]):
    """One child in a process group of its own; leaving the context ends the whole group."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        folder: Path,
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The child's process id, which is its group's too."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or None while it runs; negative for a signal."""
        return self._process.poll()

    def wait(self, *, timeout_seconds: float) -> int:
        """Wait for the end and return the exit status; raise EngineError when it takes longer."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise EngineError(self.describe(f"did not end within {timeout_seconds:g} s")) from None

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout_seconds: float) -> None:
        """Wait until `ready()` holds; raise EngineError when the process ends first or time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if self.returncode is not None:
                raise EngineError(self.describe(f"ended with status {self.returncode} before {what}"))
            if time.monotonic() > deadline:
                raise EngineError(self.describe(f"no {what} within {timeout_seconds:g} s"))
            time.sleep(0.2)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the child itself, not to its group."""
        self._process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Ask the whole group to end, and do not wait."""
        self._signal_group(signal.SIGTERM)

    def stop(self, *, grace_seconds: float = 15) -> None:
        """End the whole group: SIGTERM, then SIGKILL for whatever is left after the grace."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        # Also after a clean end: an engine's own children may have outlived it, and they keep its group.
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of what the process printed."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def describe(self, problem: str) -> str:
        """Return a sentence on a problem, with the last line that the process printed, which often explains it."""
        last_line = self.log_tail(1).strip() or "nothing"
        return f"{self.name} {problem}. The last line of its log, {self.log_path}: {last_line}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # the group is gone, which is what was wanted
            os.killpg(self.pid, number)


def answers(url: str) -> bool:
    """Whether an HTTP GET of `url` succeeds now."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


class PrefectEngine(AbstractContextManager["PrefectEngine"]):
    """A Prefect home in `folder`, with a server on loopback when `with_server`, and flows run as scripts.

    Without a server each flow starts an ephemeral one of its own, as Prefect does for a person who has none.
    """

    def __init__(
        self,
        python: Path,
        folder: Path,
        *,
        with_server: bool = True,
        with_ui: bool = False,
        server_variables: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._server_variables = dict(server_variables or {})
        self._port = port or free_port()
        self._with_ui = with_ui
        self.python = python
        self.folder = folder
        self.api_url: str | None = None
        self._server: EngineProcess | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if with_server:
            self.start_server()

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment for a process of this installation."""
        home = self.folder / "home"
        # A flow's own server may take long on a machine that is busy with an Airflow.
        waits = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90"}
        server = {"PREFECT_API_URL": self.api_url} if self.api_url else waits
        return clean_environment(
            PREFECT_HOME=str(home),
            PREFECT_PROFILES_PATH=str(home / "profiles.toml"),
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_CLI_PROMPT="false",
            DO_NOT_TRACK="1",
            **server,
            **variables,
        )

    def start_flow(self, script: Path, *arguments: str, **variables: str) -> EngineProcess:
        """Start a flow script; the caller ends it (it is a context manager)."""
        return EngineProcess(
            f"Prefect flow {script.stem}",
            [self.python, script, *arguments],
            environment=self.environment(**variables),
            log_path=self.folder / f"{script.stem}.log",
            folder=self.folder,
        )

    def run_flow(self, script: Path, *arguments: str, timeout_seconds: float = 90, **variables: str) -> int:
        """Run a flow script to its end and return its exit status."""
        with self.start_flow(script, *arguments, **variables) as flow:
            return flow.wait(timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        """End the server, if there is one."""
        if self._server is not None:
            self._server.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start_server(self) -> None:
        """Start the server, also after `stop`: with the same home, and at the same port."""
        command = [
            self.python,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            *([] if self._with_ui else ["--no-ui"]),
        ]
        # It writes its pages out before it serves them. They ask this address, by default one at port 4200.
        ui = {
            "PREFECT_UI_STATIC_DIRECTORY": str(self.folder / "ui"),
            "PREFECT_UI_API_URL": f"http://127.0.0.1:{self._port}/api",
        }
        server = EngineProcess(
            "Prefect server",
            command,
            environment=self.environment(**ui, **self._server_variables),
            log_path=self.folder / "server.log",
            folder=self.folder,
        )
        api_url = f"http://127.0.0.1:{self._port}/api"
        try:
            server.wait_until(lambda: answers(f"{api_url}/health"), what="answer from its API", timeout_seconds=90)
        except BaseException:
            server.stop()
            raise
        self._server, self.api_url = server, api_url


class AirflowEngine(AbstractContextManager["AirflowEngine"]):
    """An Airflow in `folder`: a SQLite metadata database, LocalExecutor, and one process group for each component."""

    COMPONENTS = ("api-server", "scheduler", "dag-processor")

    def __init__(self, python: Path, folder: Path, *, dags: Path, variables: Mapping[str, str]) -> None:
        self.python = python
        self.folder = folder
        self.port = free_port()
        self._environment = self._make_environment(dags, variables)
        self._processes: list[EngineProcess] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def wait_for_dags(self, *dag_ids: str) -> None:
        """Return once the DAG processor has read all of these DAGs."""
        self._wait(lambda: set(dag_ids) <= self._known_dags(), what=f"DAGs {', '.join(dag_ids)}")

    def trigger(self, dag_id: str, **conf: Any) -> None:
        """Start a run of a DAG by hand."""
        self._call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})

    def wait_for_runs(self, *dag_ids: str, timeout_seconds: float) -> dict[str, str]:
        """Return the state of each of these DAGs' only run, once all have ended."""
        states: dict[str, str] = {}

        def ended() -> bool:
            runs = self._call("GET", "/dags/~/dagRuns", params={"limit": 100})["dag_runs"]
            states.update({run["dag_id"]: run["state"] for run in runs})
            return all(states.get(dag_id) in {"success", "failed"} for dag_id in dag_ids)

        self._wait(ended, what=f"end of {', '.join(dag_ids)}", timeout_seconds=timeout_seconds)
        return {dag_id: states[dag_id] for dag_id in dag_ids}

    def wait_for_chain(self, dag_id: str, *, runs: int, timeout_seconds: float) -> list[str]:
        """Return the states of a DAG's runs, the first one first, once as many as that have ended."""
        states: list[str] = []

        def ended() -> bool:
            asked = {"limit": 100, "order_by": "run_after"}
            known = self._call("GET", f"/dags/{dag_id}/dagRuns", params=asked)["dag_runs"]
            states[:] = [run["state"] for run in known if run["state"] in {"success", "failed"}]
            return len(states) >= runs

        self._wait(ended, what=f"end of {runs} runs of {dag_id}", timeout_seconds=timeout_seconds)
        return states

    def stop(self) -> None:
        """End all components: ask all of them first, so that their last words are said side by side."""
        for process in self._processes:
            process.ask_to_stop()
        for process in self._processes:
            process.stop()
        self._http.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        migration = self._component("db", "migrate")
        with migration:
            if migration.wait(timeout_seconds=120) != 0:
                raise EngineError(migration.describe("could not make its database"))
        self._processes += [self._component(name) for name in self.COMPONENTS]
        self._wait(self._is_healthy, what="healthy Airflow")

    def _component(self, *command: str) -> EngineProcess:
        return EngineProcess(
            f"Airflow {' '.join(command)}",
            [self.python, "-m", "airflow", *command],
            environment=self._environment,
            log_path=self.folder / "component-logs" / f"{'-'.join(command)}.log",
            folder=self.folder,
        )

    def _wait(self, ready: Callable[[], bool], *, what: str, timeout_seconds: float = 120) -> None:
        """Wait, and fail at once when a component ends meanwhile."""

        def ready_and_alive() -> bool:
            for process in self._processes:
                if process.returncode is not None:
                    raise EngineError(process.describe(f"ended with status {process.returncode} before {what}"))
            return ready()

        self._processes[1].wait_until(ready_and_alive, what=what, timeout_seconds=timeout_seconds)

    def _is_healthy(self) -> bool:
        try:
            answer = self._http.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return False
        parts = ("metadatabase", "scheduler", "dag_processor")
        return answer.is_success and all(answer.json()[part]["status"] == "healthy" for part in parts)

    def _known_dags(self) -> set[str]:
        return {dag["dag_id"] for dag in self._call("GET", "/dags", params={"limit": 100})["dags"]}

    def _call(self, method: str, path: str, **options: Any) -> Any:
        if "Authorization" not in self._http.headers:
            token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
            self._http.headers["Authorization"] = f"Bearer {token}"
        answer = self._http.request(method, f"/api/v2{path}", **options)
        if answer.is_error:
            raise EngineError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:2000]}")
        return answer.json()

    def _make_environment(self, dags: Path, variables: Mapping[str, str]) -> dict[str, str]:
        address = f"http://127.0.0.1:{self.port}"
        settings = {
            "API__BASE_URL": address,
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__SECRET_KEY": secrets.token_urlsafe(32),
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__DAGS_FOLDER": str(dags),
            "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__PARALLELISM": "4",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder / 'airflow.db'}",
            "LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # A task's "finished" otherwise often takes five seconds more.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        return clean_environment(
            AIRFLOW_HOME=str(self.folder),
            NO_PROXY="127.0.0.1,localhost",
            PATH=f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            **variables,
        )
