"""The Pythons that peers run in, and how to talk to a peer in one of them.

A peer is a script in `benchmarks/peers/` that imports nothing of RunVis. It prints one JSON line with its versions when
it is ready, then answers each JSON line on its standard input with one JSON line.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"


class PeerError(Exception):
    """A peer could not be started, or ended before it answered."""


def python_of(environment: str) -> Path:
    """Return the Python of one of the Makefile's environments: `airflow`, `prefect`, `openlineage`, `dagster`."""
    named = os.environ.get(f"RUNVIS_BENCH_{environment.upper()}_PYTHON")
    python = Path(named) if named else ROOT / f".venv-{environment}" / "bin" / "python"
    if not python.exists():
        raise PeerError(f"there is no environment '{environment}' at {python}: run `make bench`, which makes it")
    return python


def own_versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of packages in this environment."""
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def with_peer(own: Mapping[str, str], peer: Peer) -> dict[str, str]:
    """Return both sides' versions; what the peer has in another one than we is marked as its own."""
    theirs = {
        package if own.get(package, number) == number else f"{package} (peer's)": number
        for package, number in peer.versions.items()
    }
    return {**own, **theirs}


class Peer:
    """A peer's process. Leaving it ends the process and all that it started."""

    def __init__(
        self, script: str, *arguments: str, python: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.script = script
        self._process = subprocess.Popen(
            [str(python or sys.executable), str(PEERS / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=inherited_environ() | dict(environ or {}),
            start_new_session=True,
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def ask(self, **question: Any) -> Any:
        """Send one question and return its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orjson.dumps(question) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"the peer {self.script} ended, see what it printed above") from None
        return self._answer()

    def figures(self, **question: Any) -> Sequence[float]:
        """Send one question and return the figures of its answer."""
        return [float(figure) for figure in self.ask(**question)["figures"]]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(
                f"the peer {self.script} ended with status {self._process.wait()}, see what it printed above"
            )
        return orjson.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_group(self._process)


_FOREIGN = ("RUNVIS", "AIRFLOW", "OPENLINEAGE", "DAGSTER", "PYTHON", "VIRTUAL_ENV")


def inherited_environ() -> dict[str, str]:
    """Return the environment without what a developer's shell says to RunVis or to an engine: it must not count."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}


def end_group(process: subprocess.Popen[bytes], *, seconds: float = 10) -> None:
    """End a process that leads a group of its own, and the whole group with it."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
