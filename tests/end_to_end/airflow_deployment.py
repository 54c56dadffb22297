"""A real Airflow on loopback for a test: it starts all components, talks REST to them, and ends them again.

The test process itself has no Airflow. The engine lives in an environment of its own, whose Python the variable
``RUNVIS_TEST_AIRFLOW_PYTHON`` names.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from tests.end_to_end.waiting import TooLateError, until

PYTHON_VARIABLE = "RUNVIS_TEST_AIRFLOW_PYTHON"
DAGS_FOLDER = Path(__file__).parent / "airflow_dags"
TERMINAL = frozenset({"success", "failed"})
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")


class AirflowDeploymentError(Exception):
    """The Airflow under test did not do what the test needs of it; the message ends with its latest log lines."""


def airflow_python() -> Path:
    """Return the Python of the environment that has Airflow; raise when none is named."""
    named = os.environ.get(PYTHON_VARIABLE)
    if not named:
        raise AirflowDeploymentError(
            f"{PYTHON_VARIABLE} is not set: name the Python of an environment with Airflow, or use `make test`"
        )
    python = Path(named)
    if not python.exists():
        raise AirflowDeploymentError(f"{PYTHON_VARIABLE}={named} does not exist: `make test` builds it")
    return python


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AirflowClient:
    """The few REST calls that the tests need, with a token that is taken again when it is refused."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, timeout=30, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        try:
            return self._http.get("/api/v2/monitor/health").status_code == 200
        except httpx.TransportError:
            return False

    def health(self) -> dict[str, Any]:
        return self._http.get("/api/v2/monitor/health").json()

    def token(self) -> str:
        answer = self._http.get("/auth/token")
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        if "Authorization" not in self._http.headers:
            self._http.headers["Authorization"] = f"Bearer {self.token()}"
        answer = self._http.request(method, f"/api/v2{path}", **options)
        if answer.is_error:
            raise AirflowDeploymentError(f"{method} {path}: {answer.status_code} {answer.text[:2000]}")
        return answer.json() if answer.content else None

    def dags(self) -> list[str]:
        return [dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 100})["dags"]]

    def import_errors(self) -> list[dict[str, Any]]:
        return self.call("GET", "/importErrors")["import_errors"]

    def trigger(
        self, dag_id: str, *, run_id: str | None = None, conf: dict[str, Any] | None = None, note: str | None = None
    ) -> str:
        """Start a DAG run by hand and return its run id."""
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}, "note": note}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return self.call("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")

    def dag_runs(self, dag_id: str, **params: Any) -> list[dict[str, Any]]:
        return self.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100, **params})["dag_runs"]

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 150) -> dict[str, Any]:
        """Return the DAG run once it has ended."""

        def ended() -> dict[str, Any] | None:
            run = self.dag_run(dag_id, run_id)
            return run if run["state"] in TERMINAL else None

        return until(f"the end of {dag_id}/{run_id}", ended, seconds=seconds)

    def wait_for_any_run(self, dag_id: str, *, seconds: float = 90) -> dict[str, Any]:
        """Return the first ended DAG run of a DAG that something else starts."""

        def ended() -> dict[str, Any] | None:
            return next((run for run in self.dag_runs(dag_id) if run["state"] in TERMINAL), None)

        return until(f"an ended run of {dag_id}", ended, seconds=seconds)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        return self.call("GET", path, params={"limit": 100})["task_instances"]

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        found = [
            row
            for row in self.task_instances(dag_id, run_id)
            if row["task_id"] == task_id and row["map_index"] == map_index
        ]
        if not found:
            raise AirflowDeploymentError(f"{dag_id}/{run_id} has no task {task_id}[{map_index}]")
        return found[0]

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, try_number: int | None = None, seconds: float = 60
    ) -> dict[str, Any]:
        """Return the task instance once it is in ``state`` (and at ``try_number``)."""

        def reached() -> dict[str, Any] | None:
            rows = [row for row in self.task_instances(dag_id, run_id) if row["task_id"] == task_id]
            return next(
                (
                    row
                    for row in rows
                    if row["state"] == state and (try_number is None or row["try_number"] == try_number)
                ),
                None,
            )

        return until(f"{dag_id}/{run_id}/{task_id} to be {state}", reached, seconds=seconds)

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[dict[str, Any]]:
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        path += "/tries" if map_index < 0 else f"/{map_index}/tries"
        return self.call("GET", path)["task_instances"]

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], **options: Any) -> None:
        """Clear tasks of one DAG run, whatever their state."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": task_ids, **options}
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def clear_run(self, dag_id: str, run_id: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/clear"
        self.call("POST", path, json={"dry_run": False, "only_failed": False})

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        self.call("PATCH", path, json={"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        self.call("PATCH", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}", json={"state": state})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        self.call("DELETE", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")

    def event_logs(self, **params: Any) -> list[dict[str, Any]]:
        params = {"order_by": "event_log_id", "limit": 100, **params}
        return self.call("GET", "/eventLogs", params=params)["event_logs"]


class AirflowDeployment:
    """One Airflow: a metadata database, a folder, and one process group per component.

    Use it as a context manager: leaving it ends every component and all that these started, also after a failure.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dags: Path = DAGS_FOLDER,
        metadata_url: str | None = None,
        env: dict[str, str] | None = None,
        schedulers: int = 1,
    ) -> None:
        self.python = airflow_python()
        self.folder = folder
        self.home = folder / "home"
        self.logs = folder / "component-logs"
        self.dags_folder = folder / "dags"
        self.port = free_port()
        self.schedulers = schedulers
        self.client = AirflowClient(f"http://127.0.0.1:{self.port}")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for path in (self.home, self.logs):
            path.mkdir(parents=True)
        # A copy, so that a test may change a DAG file under the running Airflow.
        shutil.copytree(dags, self.dags_folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = self._environment(metadata_url) | (env or {})

    def _environment(self, metadata_url: str | None) -> dict[str, str]:
        # RUNVIS_*, AIRFLOW* and PYTHONPATH of the test run must not reach the engine by accident.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RUNVIS", "AIRFLOW", "PYTHON", "VIRTUAL_ENV"))
        }
        url = metadata_url or f"sqlite:///{self.home / 'airflow.db'}"
        settings = {
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "16",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "API_AUTH__JWT_SECRET": secrets.token_urlsafe(32),
            "API__SECRET_KEY": secrets.token_urlsafe(32),
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "API__WORKERS": "1",
            "DATABASE__SQL_ALCHEMY_CONN": url,
            "LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            # What makes a lost worker known in seconds instead of minutes.
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "8",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        # Several schedulers would otherwise fight for the ports of their log servers.
        settings["LOGGING__WORKER_LOG_SERVER_PORT"] = str(free_port())
        settings["LOGGING__TRIGGER_LOG_SERVER_PORT"] = str(free_port())
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def airflow(self, *arguments: str, seconds: float = 120) -> str:
        """Run one ``airflow`` command to its end and return what it printed; raise when it fails."""
        command = [str(self.python), "-m", "airflow", *arguments]
        done = subprocess.run(
            command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode != 0:
            raise AirflowDeploymentError(
                f"airflow {' '.join(arguments)} exited {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            )
        return done.stdout

    def start(self) -> None:
        """Make the database and start every component; return when the API answers and all are healthy."""
        self.airflow("db", "migrate")
        for component in COMPONENTS:
            self.start_component(component)
        for number in range(1, self.schedulers):
            self.start_component("scheduler", name=f"scheduler-{number + 1}")
        self._await(self.client.is_ready, "the API server", seconds=90)
        self._await(self._is_healthy, "every component's heartbeat", seconds=60)

    def start_component(self, component: str, *, name: str | None = None, env: dict[str, str] | None = None) -> int:
        """Start one component in a process group of its own and return its pid."""
        name = name or component
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self.python), "-m", "airflow", component],
                env=self.env | (env or {}),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[name] = process
        return process.pid

    def stop_component(self, name: str) -> None:
        """End one component: ask, then insist, then kill its whole group."""
        process = self._processes.pop(name)
        for signum, seconds in ((signal.SIGINT, 8), (signal.SIGTERM, 4), (signal.SIGKILL, 5)):
            if process.poll() is None:
                _signal_group(process.pid, signum)
                with_timeout(process, seconds)
        # Children that outlived the component are still in its group.
        _signal_group(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End everything that this deployment started."""
        for process in self._processes.values():
            _signal_group(process.pid, signal.SIGINT)
        for name in list(self._processes):
            self.stop_component(name)
        self.client.close()

    def log(self, name: str, *, lines: int = 30) -> str:
        path = self.logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def wait_for_dags(self, *dag_ids: str, seconds: float = 60) -> None:
        """Return once the DAG processor has brought in all named DAGs."""
        self._await(lambda: set(dag_ids) <= set(self.client.dags()), f"the DAGs {', '.join(dag_ids)}", seconds=seconds)

    def task_pid(self, dag_id: str, run_id: str, task_id: str, *, seconds: float = 45) -> int:
        """Return the pid of the process that runs a task's code, which writes it to a file (see ``airflow_dags``)."""
        marker = self.marker(dag_id, run_id, task_id)
        return int(until(f"the pid of {dag_id}/{run_id}/{task_id}", lambda: _read(marker), seconds=seconds))

    def marker(self, dag_id: str, run_id: str, task_id: str) -> Path:
        return self.home / "markers" / f"{dag_id}.{run_id}.{task_id}".replace("/", "_")

    def _is_healthy(self) -> bool:
        health = self.client.health()
        return all(
            health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        )

    def _await(self, check: Callable[[], bool], what: str, *, seconds: float) -> None:
        def alive_and_checked() -> bool:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise AirflowDeploymentError(
                        f"the {name} exited {process.returncode} while waiting for {what}:\n{self.log(name)}"
                    )
            return check()

        try:
            until(what, alive_and_checked, seconds=seconds)
        except TooLateError as error:
            logs = "\n".join(f"--- {name}\n{self.log(name, lines=12)}" for name in self._processes)
            raise AirflowDeploymentError(f"{error}\n{logs}") from error


def with_timeout(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def _signal_group(pid: int, signum: int) -> None:
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        return


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
