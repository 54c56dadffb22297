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

from runvis_core.api.app import create_app
from runvis_core.api.server import listen
from runvis_core.settings import Settings, load_settings
from runvis_core.store.database import Store

TOKEN = "a-token-of-some-length"

Serve = Callable[..., httpx.Client]


@contextmanager
def _running(store: Store, settings: Settings) -> Iterator[str]:
    started: queue.Queue[None] = queue.Queue()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.put(None)

    with listen("127.0.0.1", 0) as listener:
        server = Server(uvicorn.Config(create_app(store, settings), log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            started.get(timeout=20)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def serve(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A function that serves the test's store with some settings, and returns a client that has the token."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def start(*, token: str | None = TOKEN, **settings: Any) -> httpx.Client:
            made = load_settings(url="sqlite:///unused", token=token, **settings)
            address = stack.enter_context(_running(store, made))
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return stack.enter_context(httpx.Client(base_url=address, headers=headers, timeout=30))

        yield start


@pytest.fixture
def client(serve: Serve) -> httpx.Client:
    """A client, with the token, of a server over the test's store."""
    return serve()
