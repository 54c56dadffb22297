"""Posting to one address with the standard library: a kept connection, its time limits, proxies and certificates.

A client library would be the largest part of what a worker imports, and does nothing here that these lines don't.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

PORTS: Final = {"http": 80, "https": 443}

PostingErrors: Final = (OSError, HTTPException, ValueError)
"""What `Poster.post` raises when there is no answer: no connection, no HTTP, an address that is none."""

_GONE: Final = (RemoteDisconnected, ConnectionResetError, BrokenPipeError)
"""What a connection says that the other side has closed meanwhile."""


class TimeLimits(NamedTuple):
    """How long to wait, in seconds: for a connection, and for each part of an answer."""

    connect: float
    read: float


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    reason: str
    headers: Message
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300


class Poster:
    """Posts to one address. Not for more than one thread.

    Goes by `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, and trusts `SSL_CERT_FILE` or `SSL_CERT_DIR`, else
    the certificates that come with `certifi`.
    """

    def __init__(self, address: str, limits: TimeLimits) -> None:
        self._address = address
        self._limits = limits
        self._connection: HTTPConnection | None = None
        self._target = ""
        self._headers: dict[str, str] = {}

    def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once and return the answer. Raises one of `PostingErrors`."""
        is_kept = self._connection is not None and self._connection.sock is not None
        try:
            return self._post(content, headers)
        except _GONE:
            self.close()
            # The server let go of a connection that waited. A new one may carry the same: what comes twice counts once.
            if not is_kept:
                raise
        except BaseException:
            self.close()
            raise
        return self.post(content, headers)

    def _post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection or self._open()
        if connection.sock is None:
            self._connect(connection)
        connection.request("POST", self._target, content, {**self._headers, **headers})
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.headers, response.read())

    def _connect(self, connection: HTTPConnection) -> None:
        connection.timeout = self._limits.connect
        connection.connect()
        connection.sock.settimeout(self._limits.read)

    def _open(self) -> HTTPConnection:
        parts = urlsplit(self._address)
        host, port = _place(parts)
        proxy = _find_proxy(parts.scheme, host)
        self._target = parts.path + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Authorization": login} if (login := _login(parts)) else {}
        at_host, at_port = _place(proxy) if proxy else (host, port)
        if parts.scheme == "https":
            connection = HTTPSConnection(at_host, at_port, context=_trust())
        else:
            connection = HTTPConnection(at_host, at_port)
        if proxy is not None:
            known = {"Proxy-Authorization": login} if (login := _login(proxy)) else {}
            if parts.scheme == "https":
                connection.set_tunnel(host, port, known)
            else:
                self._target = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
                self._headers |= known
        self._connection = connection
        return connection

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _place(parts: SplitResult) -> tuple[str, int]:
    """Return host and port. Raises `ValueError` for what names none."""
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} names no host to reach over HTTP")
    return parts.hostname, parts.port or PORTS[parts.scheme]


def _login(parts: SplitResult) -> str | None:
    """Return the header for the user and password of an address."""
    if parts.username is None:
        return None
    text = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def _find_proxy(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that the environment names for an address.

    Raises `ValueError` for one that is not reached by plain HTTP: what it is to know of us would go out unencrypted.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http":
        raise ValueError(f"the proxy is named as {parts.scheme}://, and is gone through by http:// only: name it so")
    return parts


def _trust() -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        import certifi  # It comes with httpx; only an address with https needs it.

        file = certifi.where()
    return ssl.create_default_context(cafile=file or None, capath=folder or None)
