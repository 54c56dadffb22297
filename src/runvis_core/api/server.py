"""`runvis serve`: the application on a socket, with a leader's duties beside it."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from runvis_core.api.access import is_loopback
from runvis_core.api.app import create_app
from runvis_core.api.duties import Duties, Follow, duties_of
from runvis_core.api.metrics import Metrics
from runvis_core.api.tokens import read_tokens
from runvis_core.errors import SettingsError
from runvis_core.services.tokens import last_token_change
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.store.leadership import leadership_of

GRACE_SECONDS: Final = 10
"""How long requests that were begun may go on when the server is ended; what was taken is stored in any case."""

NEW_OBJECTS: Final = 50_000
"""How many new objects make Python look for garbage among them: more than any page leaves, some megabytes."""

MakeApp = Callable[[Store, Settings], FastAPI]
"""Makes the application over a store: with the API alone, or with what stands above it, too."""


def serve(
    store: Store,
    settings: Settings,
    *,
    host: str,
    port: int,
    followers: Mapping[str, tuple[Follow, str]],
    on_ready: Callable[[str], None],
    make_app: MakeApp = create_app,
) -> None:
    """Serve until interrupted; `on_ready` is given the address once requests are taken.

    `followers` are by name a follower and its engine's address. Raises `SettingsError` if the server would listen
    beyond this machine without a token, or can't listen at all.
    """
    require_token(store, settings, host)
    with listen(host, port) as listener:
        address = address_of(listener)
        serve_on(listener, store, settings, followers=followers, on_ready=lambda: on_ready(address), make_app=make_app)


def require_token(store: Store, settings: Settings, host: str) -> None:
    """Raise `SettingsError` if the server would listen beyond this machine without a token."""
    if not is_loopback(host) and not read_tokens(settings) and not last_token_change(store):
        raise SettingsError(
            f"the server would take events from everybody on {host}, and answer them: issue a token (`runvis tokens "
            "new`), or set RUNVIS_TOKEN, RUNVIS_TOKEN_FILE or RUNVIS__SERVER__TOKENS, or listen on 127.0.0.1"
        )


def serve_on(
    listener: socket.socket,
    store: Store,
    settings: Settings,
    *,
    followers: Mapping[str, tuple[Follow, str]],
    on_ready: Callable[[], None],
    make_app: MakeApp = create_app,
) -> None:
    """Serve on a socket until interrupted, then finish what was begun."""
    app = make_app(store, settings)
    _look_for_garbage_rarely()
    metrics: Metrics = app.state.metrics
    duties = Duties(
        duties_of(store, settings, followers, count=metrics.count_outcomes),
        leadership_of(store),
        on_lead=metrics.leading.set,
        on_failure=lambda name: metrics.duty_failures.labels(name).inc(),
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        # Who asks is who is connected: what a header says of that is believed of no one here (see `web.door`).
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    duties.start()
    try:
        # Interrupted is how a server ends.
        with suppress(KeyboardInterrupt):
            Server(config, on_ready).run(sockets=[listener])
    finally:
        duties.close()


def _look_for_garbage_rarely() -> None:
    """Let Python look for garbage between many answers, not within each.

    What the server is made of never becomes garbage, and what an answer is made of goes when it is sent: only what
    leads back to itself is left, some hundred objects each.
    """
    gc.collect()
    gc.freeze()
    rest = gc.get_threshold()[1:]
    gc.set_threshold(NEW_OBJECTS, *rest)


class Server(uvicorn.Server):
    """Says when it takes requests, and tells streams when it stops: they would not end by themselves."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and let those end that were begun."""
        application: Any = self.config.app
        application.state.tail.stopping.set()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises `SettingsError` where that can't be."""
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


def address_of(listener: socket.socket) -> str:
    """Return where a browser of this machine finds what listens on a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
