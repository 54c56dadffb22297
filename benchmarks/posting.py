"""A real `runvis serve`, and several senders that post batches to it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmarks.environments import end_group

SENDERS = 4
"""At once, as task processes send: the server commits what several of them posted together."""
READY_SECONDS = 30


class Poster:
    """Posts to one server."""

    def __init__(self, port: int, pid: int = 0) -> None:
        self.port = port
        self._pid = pid

    def peak_mebibytes(self) -> float:
        """Return the most memory that the server's process had at once."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def rate(self, batches: Sequence[Sequence[bytes]]) -> float:
        """Post all batches, and return how many events were acknowledged a second."""
        bodies = [b'{"items":[' + b",".join(batch) + b"]}" for batch in batches]
        shares = [bodies[sender::SENDERS] for sender in range(SENDERS)]
        began = time.perf_counter()
        with ThreadPoolExecutor(SENDERS) as senders:
            stored = sum(senders.map(self._post, shares))
        seconds = time.perf_counter() - began
        if stored != sum(map(len, batches)):
            raise RuntimeError(f"{stored} of {sum(map(len, batches))} posted events were stored")
        return stored / seconds

    def _post(self, bodies: Sequence[bytes]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        stored = 0
        try:
            for body in bodies:
                connection.request("POST", "/api/v1/events", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"the server answered {answer.status}: {text[:500]!r}")
                stored += text.count(b'"status":"stored"')
        finally:
            connection.close()
        return stored


@contextmanager
def serving(url: str, *, port: int | None = None) -> Iterator[Poster]:
    """A server in front of the store at `url`, ended with the block."""
    port = port or free_port()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("RUNVIS")} | {"RUNVIS_URL": url}
    command = [str(Path(sys.executable).parent / "runvis"), "serve", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            _await_ready(process, port, log)
            yield Poster(port, process.pid)
        finally:
            end_group(process)


def _await_ready(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"`runvis serve` was not ready within {READY_SECONDS} s:\n{log.read().decode()[-2000:]}")


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
