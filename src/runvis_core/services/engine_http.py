"""How a follower asks an engine's server: paced, through proxies, and ended within a second."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from runvis_core.emit.circuit import public_address
from runvis_core.errors import RunVisError, SettingsError

TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
LIMITS: Final = httpx.Limits(keepalive_expiry=2.0)
"""Engines' servers close a connection that was idle for 5 s, and what is sent on it in that moment is lost."""
_LISTEN_SECONDS: Final = 0.2
"""How often a request under way looks whether it is still wanted."""


class StoppedError(Exception):
    """Reading was ended from outside."""


class Way(Protocol):
    """What settings say of the way to an engine's server."""

    @property
    def ca_file(self) -> Path | None:
        """Certificates to trust in place of the system's."""
        ...

    @property
    def proxy(self) -> str | None:
        """The proxy to go through."""
        ...


class EngineHttp:
    """Requests to one server. What does not work raises `failure` with the reason; all do `StoppedError` after `stop`.

    Several threads may use it. Raises `SettingsError` for certificates that can't be read.
    """

    def __init__(
        self,
        engine: str,
        url: str,
        way: Way,
        stop: threading.Event,
        *,
        failure: type[RunVisError],
        pause_seconds: float,
    ) -> None:
        # As it is told of: in the log of a server, and in that of runs, nobody looks for a password.
        self._url = public_address(url)
        self.trust = find_trust(engine, self._url, way)
        """The certificates to trust; None for the system's."""
        self._engine = engine
        self._stop = stop
        self._failure = failure
        self._pause_seconds = pause_seconds
        # Loading the system's certificates takes long, and plain http needs none.
        verify = self.trust if self.trust is not None else not url.startswith("http://")
        self._client = httpx.Client(verify=verify, timeout=TIMEOUT, limits=LIMITS, **_through(way.proxy, self.trust))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, method: str, address: str, **options: Any) -> httpx.Response:
        """Return the server's answer, whatever it is, to a request at a whole address."""
        if self._stop.wait(self._pause_seconds):
            raise StoppedError
        # In a thread of its own, since a server that hangs would else hold up the end for as long as it likes.
        said: queue.SimpleQueue[httpx.Response | Exception] = queue.SimpleQueue()

        def send() -> None:
            said.put(_result(lambda: self._client.request(method, address, **options)))

        threading.Thread(target=send, name=f"runvis-{self._engine}-request", daemon=True).start()
        while True:
            try:
                result = said.get(timeout=_LISTEN_SECONDS)
            except queue.Empty:
                if self._stop.is_set():
                    raise StoppedError from None
                continue
            if isinstance(result, httpx.Response):
                return result
            raise self._failure(f"{self._url} can't be read: {result or type(result).__name__}") from result

    def read(self, response: httpx.Response, path: str, *, if_refused: str) -> Any:
        """Return the JSON of an answer; `if_refused` says what to check where the server lets nobody in."""
        status = response.status_code
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._failure(f"{self._url} refuses {path} ({status}): check {if_refused}")
        if not response.is_success:
            raise self._failure(f"{self._url} answers {path} with {status}")
        try:
            return response.json()
        except ValueError as error:
            name = self._engine.capitalize()
            raise self._failure(
                f"{self._url} answers {path} with what is not JSON: is it the address of {name}?"
            ) from error

    def read_token(self, file: Path) -> str:
        """Return the token that a file holds now."""
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            variable = f"RUNVIS__{self._engine.upper()}__TOKEN_FILE"
            raise self._failure(f"{variable}={file} can't be read: {error}") from error

    def no_date(self) -> RunVisError:
        """Return the failure of a server that does not say what time it is."""
        return self._failure(
            f"{self._url} does not say what time it is (no Date header): let a proxy in between leave it in"
        )


def find_trust(engine: str, url: str, way: Way) -> ssl.SSLContext | None:
    """Return the certificates to trust; None for the system's. Raises `SettingsError` where they can't be read."""
    if way.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(way.ca_file))
    except OSError as error:
        raise SettingsError(
            f"RUNVIS__{engine.upper()}__CA_FILE={way.ca_file} can't be used for {url} ({error}): "
            "name a file of PEM certificates"
        ) from error


def _result(send: Callable[[], httpx.Response]) -> httpx.Response | Exception:
    try:
        return send()
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
        # A client that was closed meanwhile says RuntimeError.
        return error


def _through(proxy: str | None, trust: ssl.SSLContext | None) -> dict[str, Any]:
    # By mounts, since the argument for a proxy has another name in older versions of httpx.
    if proxy is None:
        return {}
    verify = trust if trust is not None else True
    transport = httpx.HTTPTransport(proxy=httpx.Proxy(proxy), verify=verify, limits=LIMITS)
    return {"mounts": {"all://": transport}}
