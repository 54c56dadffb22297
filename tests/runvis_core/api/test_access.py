from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

from runvis_core.api.access import OPEN_PATHS, is_loopback
from runvis_core.api.app import create_app
from runvis_core.api.server import serve as serve_store
from runvis_core.api.tokens import Tokens
from runvis_core.errors import SettingsError
from runvis_core.settings import load_settings
from runvis_core.store.database import Store

Serve = Callable[..., httpx.Client]
TOKEN = "a-token-of-some-length"


def every_route(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from every_route(route.routes or [], prefix + route.path)
        elif isinstance(route, Route):
            yield from ((method, prefix + route.path) for method in route.methods or ())


def paths_of(app: FastAPI) -> set[tuple[str, str]]:
    """The route table as the application itself describes it, and as it dispatches."""
    described = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    return described | set(every_route(app.router.routes))


def test_every_route_but_health_is_closed_to_who_has_no_token(serve: Serve, store: Store) -> None:
    app = create_app(store, load_settings(url="sqlite:///unused", token=TOKEN))
    routes = paths_of(app)
    assert ("POST", "/api/v1/events") in routes
    assert ("GET", "/api/v1/runs/{name}") in {(method, path.replace(":path", "")) for method, path in routes}
    assert any(path.endswith("openapi.json") for _, path in routes)
    client = serve()
    client.headers.pop("Authorization")
    for method, path in routes:
        answer = client.request(method, path.replace("{name:path}", "x").replace("{name}", "x"))
        if path in OPEN_PATHS:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Content-Type"] == "application/problem+json" or method == "HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/health",
        "/health/",
        "/health/live/",
        "/health/live/x",
        "/health/../api/v1/runs",
        "/HEALTH/live",
    ],
)
def test_a_path_that_only_looks_like_health_is_closed(serve: Serve, path: str) -> None:
    client = serve()
    client.headers.pop("Authorization")
    address = client.base_url
    with socket.create_connection((address.host, address.port or 0), timeout=5) as connection:
        # As it is: a client library would tidy the path up.
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == b"401"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xff",
    ],
)
def test_a_wrong_token_is_refused(serve: Serve, authorization: str) -> None:
    client = serve()
    answer = client.get("/api/v1/runs", headers={"Authorization": authorization.encode("latin-1")})
    assert answer.status_code == 401


def test_each_token_has_a_principal_that_stands_in_the_log(serve: Serve) -> None:
    client = serve(server={"tokens": {"airflow-prod": "another-token-of-length"}})
    event = {
        "kind": "state",
        "engine": "airflow",
        "deployment": "prod",
        "witness": "worker",
        "occurred_at": "2026-11-24T08:00:00Z",
        "run_id": "6f1c7a52-3d0e-5b8e-9a54-52756e566973",
        "state": "Running",
    }
    headers = {"Authorization": "Bearer another-token-of-length"}
    assert client.post("/api/v1/events", json={"events": [event]}, headers=headers).status_code == 200
    (entry,) = client.get("/api/v1/events").json()["items"]
    assert entry["principal"] == "airflow-prod"


def test_without_a_token_only_this_machine_is_served(serve: Serve) -> None:
    client = serve(token=None)
    assert client.get("/api/v1/runs").status_code == 200
    # A web page whose own name was bound to this machine's address asks by that name.
    assert client.get("/api/v1/runs", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/api/v1/runs", headers={"Host": "localhost:1234"}).status_code == 200
    # A form or a script of a web page can send no JSON without being asked for its origin first.
    assert client.post("/api/v1/events", content=b'{"items": []}').status_code == 403
    plain = {"Content-Type": "text/plain"}
    assert client.post("/api/v1/events", content=b'{"items": []}', headers=plain).status_code == 403
    assert client.post("/api/v1/events", json={"items": []}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_the_server_refuses_to_listen_beyond_this_machine_without_a_token(sqlite_store: Store, host: str) -> None:
    with pytest.raises(SettingsError, match="RUNVIS_TOKEN"):
        serve_store(
            sqlite_store,
            load_settings(url="sqlite:///unused"),
            host=host,
            port=0,
            followers={},
            on_ready=lambda address: pytest.fail(f"it serves at {address}"),
        )


@pytest.mark.parametrize(
    "token", ["", "short", "with a space in its middle", "with-ümlauts-in-it-long", "line\nbreak-in-the-token"]
)
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(SettingsError, match="too weak"):
        Tokens({"someone": token})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
