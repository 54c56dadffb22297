"""The whole server over a store with a history, and a real browser for those who look at its pages."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from tests.runvis_core.web.histories import a_shop

from runvis_core.api.server import address_of, listen
from runvis_core.model.event import EventBase
from runvis_core.settings import Settings, load_settings
from runvis_core.store.database import Store
from runvis_core.web.app import create_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TOKEN = "a-token-of-some-length"
LONG = 60
"""How many seconds a slow machine may take for what takes a moment."""


@contextmanager
def running(store: Store, settings: Settings) -> Iterator[str]:
    started: queue.Queue[None] = queue.Queue()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.put(None)

    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(create_site(store, settings), log_level="warning", lifespan="on", proxy_headers=False)
        server = Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            started.get(timeout=LONG)
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture
def serve(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., httpx.Client]]:
    """A function that serves the test's store with some settings, and returns a client as a browser asks."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def start(*, token: str | None = None, **settings: Any) -> httpx.Client:
            made = load_settings(url="sqlite:///unused", token=token, **settings)
            address = stack.enter_context(running(store, made))
            return stack.enter_context(
                httpx.Client(base_url=address, headers={"Accept": "text/html,*/*;q=0.8"}, timeout=LONG)
            )

        yield start


@pytest.fixture
def shop(store: Store, record: Callable[[Store, Iterable[EventBase]], None]) -> Store:
    """A store with the shop's history."""
    record(store, a_shop())
    return store


@pytest.fixture
def pages(shop: Store, serve: Callable[..., httpx.Client]) -> httpx.Client:
    """A client of a server over the shop's history, on this machine and without tokens."""
    return serve()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium, the system's own: started once for a module.

    Its driver keeps an event loop in this thread, in which no other can be run: so it ends before other tests begin.
    """
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "no Chromium is on PATH: `make test` installs the system's"
    with sync_playwright() as driver:
        # In a container there is no user namespace for its sandbox, and no large /dev/shm.
        started = driver.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=LONG * 1000
        )
        yield started
        started.close()
