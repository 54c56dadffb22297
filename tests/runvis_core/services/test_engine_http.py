"""How a follower asks a server that is slow, refuses, or says what nobody can read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from runvis_core.errors import RunVisError, SettingsError
from runvis_core.services.engine_http import EngineHttp, StoppedError

DIRECT = SimpleNamespace(ca_file=None, proxy=None)


class FailedError(RunVisError):
    """What the client of these tests raises."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/hangs":
            time.sleep(10)
        self.send_response(int(self.path.removeprefix("/")) if self.path[1:].isdigit() else 200)
        self.end_headers()
        self.wfile.write(b'{"answer": 42}' if self.path == "/json" else b"<html>")

    def log_message(self, *_said: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def http(url: str, stop: threading.Event) -> Iterator[EngineHttp]:
    with closing(an_http(url, stop)) as made:
        yield made


def test_no_password_of_an_address_is_told(stop: threading.Event) -> None:
    with closing(an_http("http://reader:the-password@127.0.0.1:1", stop)) as http, pytest.raises(FailedError) as caught:
        http.send("GET", "http://reader:the-password@127.0.0.1:1/json")
    assert str(caught.value).startswith("http://127.0.0.1:1 can't be read")
    assert "the-password" not in str(caught.value)


def an_http(url: str, stop: threading.Event, way: Any = DIRECT, *, pause_seconds: float = 0) -> EngineHttp:
    return EngineHttp("prefect", url, way, stop, failure=FailedError, pause_seconds=pause_seconds)


def test_an_answer_is_read(url: str, http: EngineHttp) -> None:
    response = http.send("GET", f"{url}/json")
    assert http.read(response, "/json", if_refused="the token") == {"answer": 42}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/401", "refuses /401 .401.: check the token"),
        ("/403", "refuses /403 .403.: check the token"),
        ("/500", "answers /500 with 500"),
        ("/page", "what is not JSON: is it the address of Prefect"),
    ],
)
def test_what_is_no_answer_is_said(url: str, http: EngineHttp, path: str, said: str) -> None:
    with pytest.raises(FailedError, match=said):
        http.read(http.send("GET", f"{url}{path}"), path, if_refused="the token")


def test_who_can_not_be_reached_is_named(stop: threading.Event) -> None:
    with (
        closing(an_http("http://127.0.0.1:9", stop)) as http,
        pytest.raises(FailedError, match=r"127\.0\.0\.1:9 can't be"),
    ):
        http.send("GET", "http://127.0.0.1:9/json")


def test_it_ends_while_the_server_hangs(url: str, stop: threading.Event, http: EngineHttp) -> None:
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        http.send("GET", f"{url}/hangs")
    assert time.monotonic() - begun < 9


def test_nothing_is_asked_after_the_end(url: str, stop: threading.Event) -> None:
    stop.set()
    with closing(an_http(url, stop, pause_seconds=60)) as http, pytest.raises(StoppedError):
        http.send("GET", f"{url}/json")


def test_a_proxy_is_gone_through(url: str, stop: threading.Event) -> None:
    """The server that stands for a proxy is asked for the whole address, of a host that there is not."""
    with closing(an_http("http://engine.invalid", stop, SimpleNamespace(ca_file=None, proxy=url))) as http:
        response = http.send("GET", "http://engine.invalid/json")
    assert isinstance(response, httpx.Response)
    assert response.status_code == 200


def test_a_token_file_is_read_or_named(tmp_path: Path, http: EngineHttp) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert http.read_token(tmp_path / "token") == "secret"
    with pytest.raises(FailedError, match=r"RUNVIS__PREFECT__TOKEN_FILE=.*none can't be read"):
        http.read_token(tmp_path / "none")


def test_certificates_that_can_not_be_read_are_named(tmp_path: Path, stop: threading.Event) -> None:
    way = SimpleNamespace(ca_file=tmp_path / "none.pem", proxy=None)
    with pytest.raises(SettingsError, match=r"RUNVIS__PREFECT__CA_FILE=.*none\.pem can't be used"):
        an_http("https://engine.invalid", stop, way)
