"""What `import runvis_airflow` costs a task process, beside importing pydantic and httpx, in fresh interpreters.

Each import runs in an interpreter of its own in Airflow's environment, with bytecode compiled by the round before the
first one that counts.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from benchmarks.environments import python_of
from benchmarks.harness import Goal, Result, alternate, compare

ROUNDS = 9
WORKER = ("runvis_airflow", "runvis_airflow.capture", "runvis_core.emit.http")
"""All that a task process imports of RunVis to send over HTTP, but for the two modules that only hook it into Airflow:
the package's own `__init__` is next to empty, so that alone would say nothing."""
ABSENT = ("sqlalchemy", "networkx", "fastapi")

_VERSIONS = """
import json, sys
from importlib.metadata import version
print(json.dumps({package: version(package) for package in sys.argv[1:]}))
"""
_RECORDED = """
import json, sys, tempfile, time
from datetime import UTC, datetime
modules, absent, folder = json.loads(sys.argv[1])
began = time.perf_counter()
for module in modules:
    __import__(module)
from runvis_airflow.rows import Source
from runvis_core.emit.recorder import Recorder
from runvis_core.model.event import ContextEvent, IdentityEvent, StateEvent
from runvis_core.model.identity import run_id
from runvis_core.model.state import State, Witness
from runvis_core.worker_settings import load_worker_settings
settings = load_worker_settings(url="http://127.0.0.1:9", deployment="bench", spool_dir=folder)
recorder = Recorder(settings, component="task", engine="airflow", witness=Witness.WORKER)
source, now = Source("bench", Witness.WORKER), datetime.now(UTC)
run = run_id("airflow", "bench", ("task", folder))
recorder.record([
    source.say(IdentityEvent, now, run_id=run, definition="a", definition_kind="task", native_key="a", native_id="a/1"),
    source.say(ContextEvent, now, run_id=run, environment={"host": "h"}, content={"parameters": {"a": 1}}),
    source.say(StateEvent, now, run_id=run, state=State.RUNNING),
])
seconds = time.perf_counter() - began
assert recorder.refused == 0
recorder.close(budget_seconds=0)
print(json.dumps([seconds * 1000, sorted(set(absent) & set(sys.modules))]))
"""
_SCRIPT = """
import json, sys, time
modules, absent = json.loads(sys.argv[1])
began = time.perf_counter()
for module in modules:
    __import__(module)
seconds = time.perf_counter() - began
print(json.dumps([seconds * 1000, sorted(set(absent) & set(sys.modules))]))
"""


def measure(_part: str = "") -> Iterator[Result]:
    """Measure the import, and fail when it brings along what a sending worker must not have."""
    python = python_of("airflow")
    rounds = alternate(
        {
            "package": lambda: _import(python, "runvis_airflow"),
            "worker": lambda: _import(python, *WORKER),
            "recorded": lambda: _record(python, *WORKER),
            "beside": lambda: _import(python, "pydantic", "httpx"),
        },
        rounds=ROUNDS,
    )
    versions = _versions(python, "runvis", "pydantic", "httpx")
    goal = Goal("<=", 1.3)
    for case, side in {"import runvis_airflow": "package", "import what a worker needs to send": "worker"}.items():
        case = f"{case} / import pydantic, httpx"
        yield compare(case, rounds[side], rounds["beside"], unit="ms", goal=goal, versions=versions)
    case = "import it, read the settings and record a first start / import pydantic, httpx"
    yield compare(case, rounds["recorded"], rounds["beside"], unit="ms", versions=versions)


def _import(python: Path, *modules: str) -> Sequence[float]:
    return _time(python, _SCRIPT, [modules, ABSENT], modules)


def _record(python: Path, *modules: str) -> Sequence[float]:
    with tempfile.TemporaryDirectory() as folder:
        return _time(python, _RECORDED, [modules, ABSENT, folder], modules)


def _time(python: Path, script: str, question: Sequence[object], modules: Sequence[str]) -> Sequence[float]:
    milliseconds, present = orjson.loads(_run(python, script, orjson.dumps(question).decode()))
    if present:
        raise RuntimeError(f"importing {', '.join(modules)} also imports {', '.join(present)}")
    return [milliseconds]


def _versions(python: Path, *packages: str) -> dict[str, str]:
    return orjson.loads(_run(python, _VERSIONS, *packages))


def _run(python: Path, script: str, *arguments: str) -> bytes:
    command = [str(python), "-c", script, *arguments]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("RUNVIS", "PYTHON"))}
    return subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE).stdout
