"""An Airflow task with RunVis when its store refuses, and when it never answers, beside the task without a listener.

All conditions take turns in one alternation, and each task is one as an executor runs it, with a real API server behind
it: see `peers/airflow_worker.py`. Afterwards the store comes back, and the case fails unless every event of every task
is in it. The least that a task's process can take (`peers/airflow_task.py`) is shown beside, without a goal. The
OpenLineage provider then meets the same addresses; it takes so long that it does so a few times only.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import orjson
from sqlalchemy import func, select

from benchmarks.environments import PEERS, Peer, PeerError, end_group, inherited_environ, python_of
from benchmarks.figures import median, p95, pairwise_ratio
from benchmarks.harness import Goal, Result, Side, alternate, compare, judge
from benchmarks.posting import free_port, serving
from benchmarks.workload import DEPLOYMENT, fields_of
from runvis_core.model.state import State
from runvis_core.store.database import open_store
from runvis_core.store.tables import entries, runs

TASKS = 30
WARM_UP = 2
BARE_TASKS = 10
OPENLINEAGE_TASKS = 2
WORKER, BARE = "airflow_worker.py", "airflow_task.py"
READY_SECONDS = 120.0
"""How long Airflow's API server may take to start."""
ADDRESSES = ("refuses", "never answers")


def measure(part: str = "") -> Iterator[Result]:
    """Measure RunVis and then the OpenLineage provider, or the one named (`runvis`, `bare`, `openlineage`)."""
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ports = dict(zip(ADDRESSES, (free_port(), stack.enter_context(_silent_port())), strict=True))
        airflow = stack.enter_context(_api_server(folder / "airflow")) if part != "bare" else {}
        if part in ("", "runvis"):
            yield from _measure_runvis(folder, ports, airflow)
        if part in ("", "bare"):
            yield from _measure_bare(folder / "bare", ports)
        if part in ("", "openlineage"):
            yield from _measure_openlineage(folder, ports, airflow)


def _measure_runvis(folder: Path, ports: Mapping[str, int], airflow: Mapping[str, str]) -> Iterator[Result]:
    with ExitStack() as stack:
        peers = {"no listener": _airflow(stack, WORKER, folder / "plain", "plain", airflow)}
        for address, port in ports.items():
            environ = {**airflow, **_runvis(folder / address, port)}
            peers[address] = _airflow(stack, WORKER, folder / address, "listening", environ)
        rounds = alternate({case: _side(peer) for case, peer in peers.items()}, rounds=TASKS, warm_up=WARM_UP)
        versions = peers["no listener"].versions
    for address in ports:
        yield from _compare(f"Airflow task, store {address} / no listener", rounds, address, versions)
        yield _arrived(folder / address, f"Airflow task, store {address}: events in the store once it is back")


def _measure_bare(folder: Path, ports: Mapping[str, int]) -> Iterator[Result]:
    folder.mkdir()
    with ExitStack() as stack:
        peers = {"no listener": _airflow(stack, BARE, folder / "plain", "plain", {})}
        for address, port in ports.items():
            peers[address] = _airflow(stack, BARE, folder / address, "listening", _runvis(folder / address, port))
        rounds = alternate({case: _side(peer) for case, peer in peers.items()}, rounds=BARE_TASKS, warm_up=WARM_UP)
        versions = peers["no listener"].versions
    for address in ports:
        case = f"Airflow task's process, API answered at once, store {address} / no listener: median of {BARE_TASKS}"
        yield compare(case, rounds[address], rounds["no listener"], unit="ms", versions=versions)


def _compare(
    case: str, rounds: Mapping[str, Sequence[Sequence[float]]], address: str, versions: Mapping[str, str]
) -> Iterator[Result]:
    ours, beside = _firsts(rounds[address]), _firsts(rounds["no listener"])
    middle, late = Goal("<=", 1.05), Goal("<=", 1.1)
    name = f"{case}: median of {TASKS}"
    ratio = pairwise_ratio(ours, beside)
    yield judge(name, median(ours), median(beside), unit="ms", ratio=ratio, goal=middle, versions=versions)
    # A percentile far out is no pair's: the ratio is that of the two.
    yield judge(f"{case}: p95 of {TASKS}", p95(ours), p95(beside), unit="ms", goal=late, versions=versions)


def _firsts(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [figures[0] for figures in rounds]


def _arrived(folder: Path, case: str) -> Result:
    """Bring the store back, drain the spool that the tasks left, and look for each of their events in the store."""
    kept = _spooled_ids(folder / "spool" / DEPLOYMENT)
    store_url = f"sqlite:///{folder / 'runvis.db'}"
    with serving(store_url) as poster:
        environ = os.environ | _runvis(folder, poster.port)
        drain = [str(Path(sys.executable).parent / "runvis"), "spool", "drain"]
        subprocess.run(drain, env=environ, check=True, stdout=subprocess.DEVNULL)
    with closing(open_store(store_url)) as store, store.engine.connect() as connection:
        stored = set(connection.execute(select(entries.c.event_id)).scalars())
        ended = select(func.count()).select_from(runs).where(runs.c.state == State.SUCCEEDED)
        tasks = connection.execute(ended.where(runs.c.definition_kind == "task")).scalar_one()
    if tasks != TASKS + WARM_UP:
        raise RuntimeError(f"{case}: {TASKS + WARM_UP} tasks succeeded, but the store knows {tasks} that did")
    return judge(case, len(kept & stored), len(kept), unit="events", goal=Goal(">=", 1))


def _spooled_ids(folder: Path) -> set[UUID]:
    """Return the ids of all events in the spool's files: a line is a checksum, a space and a wire item."""
    lines = (line for path in folder.glob("*.spool") for line in path.read_bytes().splitlines())
    return {UUID(fields_of(line.partition(b" ")[2])["event_id"]) for line in lines}


def _measure_openlineage(folder: Path, ports: Mapping[str, int], airflow: Mapping[str, str]) -> Iterator[Result]:
    for address, port in ports.items():
        with ExitStack() as stack:
            transport = {"type": "http", "url": f"http://127.0.0.1:{port}"}
            environ = {**airflow, "AIRFLOW__OPENLINEAGE__TRANSPORT": orjson.dumps(transport).decode()}
            home = folder / f"openlineage {address}"
            peer = _airflow(stack, WORKER, home, "listening", environ, environment="openlineage")
            plain = _airflow(stack, WORKER, folder / f"plain {address}", "plain", airflow)
            sides: dict[str, Side] = {"openlineage": _side(peer), "plain": _side(plain)}
            rounds = alternate(sides, rounds=OPENLINEAGE_TASKS, warm_up=0)
            ours, beside = _firsts(rounds["openlineage"]), _firsts(rounds["plain"])
            case = f"Airflow task, OpenLineage's server {address} / no listener: median of {OPENLINEAGE_TASKS}"
            yield judge(case, median(ours), median(beside), unit="ms", versions=peer.versions)


def _side(peer: Peer) -> Side:
    return lambda: peer.figures()


def _airflow(
    stack: ExitStack,
    script: str,
    home: Path,
    listeners: str,
    environ: Mapping[str, str],
    *,
    environment: str = "airflow",
) -> Peer:
    settings = _settings(home) | dict(environ)
    return stack.enter_context(Peer(script, listeners, python=python_of(environment), environ=settings))


def _settings(home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PEERS / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        # Or the supervisor often waits for five seconds after its task has ended.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


@contextmanager
def _api_server(home: Path) -> Iterator[dict[str, str]]:
    """A real Airflow's metadata database and API server; yields what those who run its tasks must be told."""
    port = free_port()
    shared = {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }
    environ = inherited_environ() | _settings(home) | shared
    airflow = str(python_of("airflow").parent / "airflow")
    log = home / "airflow.log"
    with log.open("wb") as output:
        for step in (["db", "migrate"], ["dags", "reserialize"]):
            subprocess.run([airflow, *step], env=environ, check=True, stdout=output, stderr=output)
        serve = [airflow, "api-server", "--apps", "execution", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(
            [*serve, "--workers", "1"], env=environ, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await_answer(f"http://127.0.0.1:{port}/execution/health", server, log)
        yield shared
    finally:
        end_group(server)


def _await_answer(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise PeerError(f"Airflow's API server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def _runvis(folder: Path, port: int) -> dict[str, str]:
    return {
        "RUNVIS_URL": f"http://127.0.0.1:{port}",
        "RUNVIS_DEPLOYMENT": DEPLOYMENT,
        "RUNVIS_SPOOL_DIR": str(folder / "spool"),
    }


@contextmanager
def _silent_port() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    taken: list[socket.socket] = []

    def take(listener: socket.socket) -> None:
        while True:
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=take, args=(listener,), daemon=True).start()
        yield int(listener.getsockname()[1])
        # Closing alone does not wake a thread that waits in accept.
        listener.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()
