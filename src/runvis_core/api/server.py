"""`runvis serve`: the application on a socket, with followers beside it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from runvis_core.api.access import is_loopback
from runvis_core.api.app import create_app
from runvis_core.api.tokens import read_tokens
from runvis_core.errors import RunVisError, SettingsError
from runvis_core.settings import Settings
from runvis_core.store.database import Store

_log = logging.getLogger(__name__)

FOLLOWER_PAUSE_SECONDS: Final = 30.0
FOLLOWER_END_SECONDS: Final = 15.0

Follow = Callable[..., None]
"""`follow(url, *, store, settings, stop)`: reads an engine's own API until `stop` is set."""


def serve(
    store: Store,
    settings: Settings,
    *,
    host: str,
    port: int,
    followers: Mapping[str, tuple[Follow, str]],
    on_ready: Callable[[str], None],
    make_app: Callable[[Store, Settings], FastAPI] = create_app,
) -> None:
    """Serve until interrupted; `on_ready` is given the address once requests are taken.

    `followers` are by name a follower and its engine's address. Raises `SettingsError` if the server would listen
    beyond this machine without a token, or can't listen at all.
    """
    if not read_tokens(settings) and not is_loopback(host):
        raise SettingsError(
            f"the server would take events from everybody on {host}, and answer them: set RUNVIS_TOKEN, "
            "RUNVIS_TOKEN_FILE or RUNVIS__SERVER__TOKENS, or listen on 127.0.0.1"
        )
    app = make_app(store, settings)
    with _listen(host, port) as listener:
        server = _Server(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10, lifespan="on"),
            lambda: on_ready(_address(listener)),
        )
        stop = threading.Event()
        threads = [
            threading.Thread(
                target=_keep_following, args=(name, *said, store, settings, stop), name=f"follow-{name}", daemon=True
            )
            for name, said in followers.items()
        ]
        for thread in threads:
            thread.start()
        try:
            # Interrupted is how a server ends.
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listener])
        finally:
            stop.set()
            for thread in threads:
                thread.join(FOLLOWER_END_SECONDS)
                if thread.is_alive():
                    _log.warning("%s did not end in %.0f s", thread.name, FOLLOWER_END_SECONDS)


class _Server(uvicorn.Server):
    """Says when it takes requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        # Not `socket.create_server`: asyncio switches Nagle's algorithm off only where the protocol is named, and
        # with it on each reply waits 40 ms for the caller's delayed acknowledgement.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"the server can't listen on {host} port {port}: {error}; choose others with --host, --port"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


def _keep_following(
    name: str, follow: Follow, url: str, store: Store, settings: Settings, stop: threading.Event
) -> None:
    arguments: dict[str, Any] = {"store": store, "settings": settings, "stop": stop}
    while not stop.is_set():
        try:
            follow(url, **arguments)
        except (RunVisError, OSError) as error:
            _log.warning("following %s stopped: %s; it begins again in %.0f s", name, error, FOLLOWER_PAUSE_SECONDS)
        stop.wait(FOLLOWER_PAUSE_SECONDS)
