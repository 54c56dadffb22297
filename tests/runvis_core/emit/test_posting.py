"""Posting with the standard library: what a worker relies on of an HTTP client."""

from __future__ import annotations

import base64
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runvis_core.emit.posting import Poster, PostingErrors, TimeLimits

LIMITS = TimeLimits(connect=60, read=60)


class Requests(ThreadingHTTPServer):
    """Answers posts, and remembers them; as a proxy it opens tunnels."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Answering)
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.closes = False

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Requests

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), content))
        self.send_response(202)
        self.send_header("Content-Length", "5")
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b"taken")
        # Without a word in a header: the client learns of it when it posts again.
        self.close_connection = self.server.closes

    def do_CONNECT(self) -> None:
        self.server.seen.append((self.path, dict(self.headers), b""))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 60) as target:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(target, self.connection), daemon=True)
            back.start()
            _pump(self.connection, target)
            back.join()
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def running(server: Requests) -> Iterator[Requests]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Requests]:
    with running(Requests()) as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_an_answer_is_told_whole_and_the_connection_is_kept(server: Requests) -> None:
    poster = Poster(f"http://127.0.0.1:{server.port}/prefix/events?x=1", LIMITS)
    for number in range(3):
        answer = poster.post(b"%d" % number, {"Content-Type": "application/json"})
        assert (answer.status, answer.is_success, answer.content) == (202, True, b"taken")
        assert answer.headers.get("Retry-After") == "7"
    poster.close()
    assert [(path, content) for path, _, content in server.seen] == [
        ("/prefix/events?x=1", b"%d" % number) for number in range(3)
    ]
    assert {headers["Content-Type"] for _, headers, _ in server.seen} == {"application/json"}
    assert server.connections == 1


def test_a_connection_that_the_server_let_go_of_is_made_anew(server: Requests) -> None:
    server.closes = True
    poster = Poster(f"http://127.0.0.1:{server.port}/", LIMITS)
    assert [poster.post(b"x", {}).status for _ in range(3)] == [202, 202, 202]
    poster.close()
    assert len(server.seen) == server.connections == 3


def test_an_addresss_user_goes_into_a_header_and_a_token_wins_over_it(server: Requests) -> None:
    poster = Poster(f"http://ada:p%40ss@127.0.0.1:{server.port}/events", LIMITS)
    poster.post(b"", {})
    poster.post(b"", {"Authorization": "Bearer t"})
    poster.close()
    basic = f"Basic {base64.b64encode(b'ada:p@ss').decode()}"
    assert [headers["Authorization"] for _, headers, _ in server.seen] == [basic, "Bearer t"]
    assert {headers["Host"] for _, headers, _ in server.seen} == {f"127.0.0.1:{server.port}"}


@pytest.mark.parametrize(
    "address",
    ["http://", "http://127.0.0.1:port/", "ftp://127.0.0.1/", "http://127.0.0.1:1/a b", "http://127.0.0.1:1/"],
    ids=["no host", "no number", "no http", "a space", "nobody there"],
)
def test_what_can_not_be_reached_raises_what_callers_expect(address: str) -> None:
    poster = Poster(address, LIMITS)
    for _ in range(2):
        with pytest.raises(PostingErrors):
            poster.post(b"", {})


def test_a_header_that_is_none_is_never_sent(server: Requests) -> None:
    poster = Poster(f"http://127.0.0.1:{server.port}/", LIMITS)
    with pytest.raises(PostingErrors):
        poster.post(b"", {"Authorization": "Bearer a\r\nX-Other: b"})
    assert server.seen == []
    assert poster.post(b"", {}).status == 202
    poster.close()


def test_who_never_answers_is_left_alone_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        poster = Poster(f"http://127.0.0.1:{silent.getsockname()[1]}/", TimeLimits(connect=60, read=0.05))
        with pytest.raises(TimeoutError):
            poster.post(b"x", {})


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_is_gone_through(server: Requests, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, f"http://ada:secret@127.0.0.1:{server.port}")
    poster = Poster("http://runvis.example/events", LIMITS)
    assert poster.post(b"x", {}).status == 202
    poster.close()
    ((path, headers, content),) = server.seen
    assert (path, headers["Host"], content) == ("http://runvis.example/events", "runvis.example", b"x")
    assert headers["Proxy-Authorization"] == f"Basic {base64.b64encode(b'ada:secret').decode()}"


@pytest.mark.parametrize("scheme", ["https", "socks5"])
def test_a_proxy_that_is_not_reached_by_plain_http_is_told_nothing(
    server: Requests, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("http_proxy", f"{scheme}://ada:secret@127.0.0.1:{server.port}")
    with pytest.raises(ValueError, match=f"the proxy is named as {scheme}://") as raised:
        Poster("http://runvis.example/events", LIMITS).post(b"x", {})
    assert "secret" not in str(raised.value)
    assert server.seen == []


def test_an_address_that_needs_no_proxy_goes_through_none(server: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    poster = Poster(f"http://127.0.0.1:{server.port}/", LIMITS)
    assert poster.post(b"", {}).status == 202
    poster.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    return path


@pytest.fixture
def secure_server(certificate: Path) -> Iterator[Requests]:
    server = Requests()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with running(server):
        yield server


def test_a_certificate_counts_when_it_is_trusted_and_only_then(
    secure_server: Requests, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"https://localhost:{secure_server.port}/events"
    with pytest.raises(ssl.SSLCertVerificationError):
        Poster(address, LIMITS).post(b"x", {})
    assert secure_server.seen == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    poster = Poster(address, LIMITS)
    assert poster.post(b"x", {}).status == 202
    poster.close()


def test_a_proxy_sees_only_where_a_secure_post_goes(
    server: Requests, secure_server: Requests, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"ada:secret@127.0.0.1:{server.port}")
    poster = Poster(f"https://localhost:{secure_server.port}/events", LIMITS)
    assert poster.post(b"x", {"Authorization": "Bearer hidden"}).status == 202
    poster.close()
    ((path, headers, _),) = server.seen
    assert path == f"localhost:{secure_server.port}"
    assert "Proxy-Authorization" in headers
    assert "Authorization" not in headers
    ((path, headers, content),) = secure_server.seen
    assert (path, headers["Authorization"], content) == ("/events", "Bearer hidden", b"x")
    assert "Proxy-Authorization" not in headers
