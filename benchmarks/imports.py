"""What `import runvis_airflow` costs a task process, beside importing pydantic and httpx, in fresh interpreters.

Each import runs in an interpreter of its own in Airflow's environment, with bytecode compiled by the round before the
first one that counts.
"""

from __future__ import annotations

import os
import subprocess
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
            "beside": lambda: _import(python, "pydantic", "httpx"),
        },
        rounds=ROUNDS,
    )
    versions = _versions(python, "runvis", "pydantic", "httpx")
    goal = Goal("<=", 1.3)
    for case, side in {"import runvis_airflow": "package", "import what a worker needs to send": "worker"}.items():
        case = f"{case} / import pydantic, httpx"
        yield compare(case, rounds[side], rounds["beside"], unit="ms", goal=goal, versions=versions)


def _import(python: Path, *modules: str) -> Sequence[float]:
    question = orjson.dumps([modules, ABSENT]).decode()
    milliseconds, present = orjson.loads(_run(python, _SCRIPT, question))
    if present:
        raise RuntimeError(f"importing {', '.join(modules)} also imports {', '.join(present)}")
    return [milliseconds]


def _versions(python: Path, *packages: str) -> dict[str, str]:
    return orjson.loads(_run(python, _VERSIONS, *packages))


def _run(python: Path, script: str, *arguments: str) -> bytes:
    command = [str(python), "-c", script, *arguments]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("RUNVIS", "PYTHON"))}
    return subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE).stdout
