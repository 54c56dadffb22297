"""A Prefect flow of 50 trivial tasks with RunVis's capture in its process, beside the same flow without.

All conditions take turns in one alternation against one real Prefect server: capture that sends to a real `runvis
serve`, capture that sends to an address at which nobody listens, and none.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.environments import Peer, own_versions, python_of, with_peer
from benchmarks.harness import Goal, Result, Side, alternate, compare
from benchmarks.posting import free_port, serving
from benchmarks.workload import DEPLOYMENT
from runvis_core.cli.demo.engines import PrefectEngine
from runvis_core.store.database import open_store
from runvis_core.store.tables import runs

ROUNDS = 20
WARM_UP = 2
RUNS = (ROUNDS + WARM_UP) * 51
WAIT_SECONDS = 60


def measure(part: str = "") -> Iterator[Result]:
    """Measure both addresses, or the named one (`serves`, `dead`)."""
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        engine = stack.enter_context(PrefectEngine(python_of("prefect"), folder / "prefect"))
        ports = {
            "serves": stack.enter_context(serving(f"sqlite:///{folder / 'runvis.db'}")).port,
            "dead": free_port(),
        }
        asked = {address: port for address, port in ports.items() if part in ("", address)}
        peers = {"none": _flow(stack, engine, "plain")}
        for address, port in asked.items():
            peers[address] = _flow(stack, engine, "captured", _runvis(folder / address, port))
        sides: dict[str, Side] = {case: _side(peer) for case, peer in peers.items()}
        rounds = alternate(sides, rounds=ROUNDS, warm_up=WARM_UP)
        versions = with_peer(own_versions("pydantic", "httpx"), peers["none"])
        if "serves" in asked:
            _check_recorded(folder / "runvis.db")
    for address in asked:
        case = f"Prefect flow of 50 tasks, store {address} / no capture: median of {ROUNDS}"
        yield compare(case, rounds[address], rounds["none"], unit="ms", goal=Goal("<=", 1.03), versions=versions)


def _check_recorded(store: Path) -> None:
    """Raise if what was measured was not recorded: capture that does nothing costs nothing."""
    deadline = time.monotonic() + WAIT_SECONDS
    with closing(open_store(f"sqlite:///{store}")) as opened, opened.engine.connect() as connection:
        while (found := connection.scalar(select(func.count()).select_from(runs)) or 0) < RUNS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} of {RUNS} runs are in the store")
            connection.rollback()
            time.sleep(0.5)


def _side(peer: Peer) -> Side:
    return lambda: peer.figures()


def _flow(stack: ExitStack, engine: PrefectEngine, capture: str, environ: Mapping[str, str] | None = None) -> Peer:
    settings = engine.environment(**(environ or {}))
    return stack.enter_context(Peer("prefect_flow.py", capture, python=python_of("prefect"), environ=settings))


def _runvis(folder: Path, port: int) -> dict[str, str]:
    return {
        "RUNVIS_URL": f"http://127.0.0.1:{port}",
        "RUNVIS_DEPLOYMENT": DEPLOYMENT,
        "RUNVIS_SPOOL_DIR": str(folder / "spool"),
    }
