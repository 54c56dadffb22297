"""The events websocket of a Prefect server: what happens, as it happens. It may drop events; the sweep has them all."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import orjson
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

from runvis_core.model.identity import timestamp
from runvis_core.settings import PrefectSettings
from runvis_prefect.rest import PrefectApi, PrefectApiError

MAX_WAITING: Final = 20_000
"""Events that wait to be told; what comes while that many wait is left to the sweep."""
LOOK_BACK: Final = timedelta(seconds=60)
"""How far before the last event a new connection asks for events: what the line's cut took away."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_LISTEN_SECONDS: Final = 0.5
"""How often a quiet line looks whether it is still wanted."""
_CLOSE_SECONDS: Final = 3.0
_FAR: Final = timedelta(days=365)
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

# It says each connection and each failure of one, which is said here.
logging.getLogger("websockets.client").setLevel(logging.CRITICAL)


class EventStream:
    """Reads the socket in a thread of its own, connects again whenever the line is cut, until `stop` is set."""

    def __init__(
        self,
        api: PrefectApi,
        settings: PrefectSettings,
        filters: dict[str, Any],
        stop: threading.Event,
        *,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._api = api
        self._settings = settings
        self._filters = filters
        self._stop = stop
        self._on_trouble = on_trouble
        # As text, which takes a fifth of what it says once it is read.
        self._waiting: queue.Queue[str | bytes] = queue.Queue(MAX_WAITING)
        self._last = _LONG_AGO
        self._has_heard = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runvis-prefect-events", daemon=True)

    def start(self, since: datetime) -> None:
        """Begin to read, with what occurred since a moment of the server's clock."""
        self._last = since
        self._thread.start()

    def close(self) -> None:
        """End reading; what waits is dropped."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def take(self, limit: int, timeout: float) -> list[dict[str, Any]]:
        """Return events that came, as soon as there is one; none if none comes in time."""
        taken: list[str | bytes] = []
        try:
            taken.append(self._waiting.get(timeout=timeout))
            while len(taken) < limit:
                taken.append(self._waiting.get_nowait())
        except queue.Empty:
            pass
        return [event for event in map(_event_in, taken) if event is not None]

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._is_over():
            self._has_heard = False
            try:
                with self._connect() as connection:
                    self._subscribe(connection)
                    self._listen(connection)
            except (OSError, WebSocketException, PrefectApiError, ValueError, EOFError) as error:
                if not self._is_over():
                    self._on_trouble(f"its events websocket can't be read: {_reason(error)}")
            # A line that brought something is taken up again at once; one that never does, more and more rarely.
            pause = FIRST_PAUSE_SECONDS if self._has_heard else min(pause * 2, LONGEST_PAUSE_SECONDS)
            self._pause(pause)

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._closed.is_set()

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._is_over() and (left := deadline - time.monotonic()) > 0:
            self._stop.wait(min(left, _LISTEN_SECONDS))

    def _connect(self) -> Connection:
        options: dict[str, Any] = {"proxy": self._settings.proxy} if self._settings.proxy else {}
        address = f"ws{self._api.address.removeprefix('http')}/events/out"
        if address.startswith("wss:") and self._api.trust is not None:
            options["ssl"] = self._api.trust
        return connect(
            address,
            subprotocols=[Subprotocol("prefect")],
            additional_headers=self._api.headers(),
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=10,
            close_timeout=1,
            **options,
        )

    def _subscribe(self, connection: Connection) -> None:
        connection.send(json.dumps({"type": "auth", "token": self._api.token()}))
        answer = json.loads(connection.recv(timeout=10))
        if answer.get("type") != "auth_success":
            raise PrefectApiError(
                f"Prefect refuses us ({answer.get('reason') or answer.get('type')}): "
                "check RUNVIS__PREFECT__AUTH_STRING or RUNVIS__PREFECT__TOKEN"
            )
        # A process whose clock is ahead must not make us pass over what others say.
        since = min(self._last, self._api.date) - LOOK_BACK
        occurred = {"since": timestamp(since), "until": timestamp(since + _FAR)}
        filters = {**self._filters, "occurred": occurred}
        connection.send(json.dumps({"type": "filter", "filter": filters, "backfill": True}))

    def _listen(self, connection: Connection) -> None:
        while not self._is_over():
            try:
                message = connection.recv(timeout=_LISTEN_SECONDS)
            except TimeoutError:
                continue
            event = _event_in(message)
            if event is None:
                continue
            self._has_heard = True
            self._note(event.get("occurred"))
            try:
                self._waiting.put_nowait(message)
            except queue.Full:
                self._on_trouble("events come faster than the store takes them: the next sweep has what is left out")

    def _note(self, occurred: Any) -> None:
        try:
            self._last = max(self._last, datetime.fromisoformat(occurred))
        except (TypeError, ValueError):
            return  # Whoever reads the event says what is wrong with it.


def _event_in(text: str | bytes) -> dict[str, Any] | None:
    message: Any = orjson.loads(text)
    event: Any = cast("dict[str, Any]", message).get("event") if isinstance(message, dict) else None
    return cast("dict[str, Any]", event) if isinstance(event, dict) else None


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionClosed):
        return "the line was cut"
    if isinstance(error, InvalidHandshake):
        return f"the server does not take it up ({error})"
    return str(error) or type(error).__name__
