"""A real server on a free loopback port."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from runvis_core.api.app import create_app
from runvis_core.api.server import listen
from runvis_core.settings import load_settings
from runvis_core.store.database import Store

TOKEN = "a-token-of-some-length"

Serve = Callable[..., httpx.Client]


@contextmanager
def _running(app: FastAPI) -> Iterator[str]:
    started: queue.Queue[None] = queue.Queue()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.put(None)

    with listen("127.0.0.1", 0) as listener:
        server = Server(uvicorn.Config(app, log_level="warning", lifespan="on", server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            started.get(timeout=60)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def serve(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A function that serves the test's store with some settings, and returns a client that has the token."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def start(*, token: str | None = TOKEN, **settings: Any) -> httpx.Client:
            made = load_settings(url="sqlite:///unused", token=token, **settings)
            address = stack.enter_context(_running(create_app(store, made)))
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return stack.enter_context(httpx.Client(base_url=address, headers=headers, timeout=30))

        yield start


@pytest.fixture
def serve_app() -> Iterator[Callable[[FastAPI], httpx.Client]]:
    """A function that serves an application of the test's own, and returns a client without a token."""
    with ExitStack() as stack:

        def start(app: FastAPI) -> httpx.Client:
            address = stack.enter_context(_running(app))
            return stack.enter_context(httpx.Client(base_url=address, timeout=30))

        yield start


@pytest.fixture
def client(serve: Serve) -> httpx.Client:
    """A client, with the token, of a server over the test's store."""
    return serve()
