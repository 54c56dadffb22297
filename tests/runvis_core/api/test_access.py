from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route
from tests.faults.scale import found

from runvis_core.api.access import is_loopback
from runvis_core.api.app import create_app
from runvis_core.api.headers import SECURITY_HEADERS
from runvis_core.api.scopes import OPEN_PATHS, ROUTES, RouteTable
from runvis_core.api.server import serve as serve_store
from runvis_core.api.tokens import Tokens
from runvis_core.errors import SettingsError
from runvis_core.model.decision import TOKEN_ISSUED, Binding, Scope, TokenIssued
from runvis_core.services.decisions import list_audit, record_decision
from runvis_core.services.tokens import make_token, token_digest
from runvis_core.settings import load_settings
from runvis_core.store.database import Store

Serve = Callable[..., httpx.Client]
ServeApp = Callable[[FastAPI], httpx.Client]
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


def without_convertors(path: str) -> str:
    return re.sub(r":\w+}", "}", path)


def an_address_of(path: str) -> str:
    """A path that a route's template matches."""
    return re.sub(r"\{[^}]*\}", "x", path)


@pytest.fixture
def routes(store: Store) -> list[tuple[str, str]]:
    """Every route of the application, but the open ones."""
    found = paths_of(create_app(store, load_settings(url="sqlite:///unused", token=TOKEN)))
    assert {("POST", "/api/v1/events"), ("GET", "/api/v1/openapi.json"), ("POST", "/api/v1/erasures")} <= found
    assert {("GET", path) for path in OPEN_PATHS} <= found
    return sorted((method, path) for method, path in found if path not in OPEN_PATHS)


def test_every_route_says_what_it_is_for_and_nothing_else_is_listed(routes: list[tuple[str, str]]) -> None:
    there = {(method, without_convertors(path)) for method, path in routes if method != "HEAD"}
    listed = {(method, without_convertors(path)) for method, path in ROUTES}
    assert there == listed


def test_every_route_but_health_is_closed_to_who_has_no_token(serve: Serve, routes: list[tuple[str, str]]) -> None:
    client = serve()
    client.headers.pop("Authorization")
    for path in OPEN_PATHS:
        assert client.get(path).status_code == 200, path
    for method, path in routes:
        answer = client.request(method, an_address_of(path))
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json" or method == "HEAD"


@pytest.mark.parametrize("size", range(len(Scope) + 1))
def test_every_route_is_open_to_its_own_scope_only(
    serve: Serve, store: Store, routes: list[tuple[str, str]], size: int
) -> None:
    """Each route is asked with each set of scopes: it is refused unless the one that the table names is among them."""
    client = serve(token=None)
    for scopes in combinations(Scope, size):
        # No token can be asked for without a scope, so the one for none is issued past the door.
        token = issue(store, *scopes)
        headers = {"Authorization": f"Bearer {token}"}
        let_through = 0
        for method, path in routes:
            needed = RouteTable().find(method, an_address_of(path)).scopes
            assert needed is not None
            said = {} if method == "POST" else None
            # Not read to its end where it is not refused: the stream of events has none.
            with client.stream(method, an_address_of(path), headers=headers, json=said) as answer:
                if needed <= set(scopes):
                    assert answer.status_code not in (401, 403), (method, path, scopes)
                else:
                    let_through += answer.status_code != 403
                    assert answer.status_code == 403, (method, path, scopes)
                    assert method == "HEAD" or json.loads(answer.read())["needed"] == sorted(needed)
        found("authorisation", asked=len(routes), let_through=let_through)


def issue(store: Store, *scopes: Scope, name: str = "someone", days: int = 1, **binding: Any) -> str:
    """Issue a token, whatever its scopes, and return it."""
    token = make_token()
    details = TokenIssued(
        name=name,
        digest=token_digest(token).hex(),
        scopes=frozenset(scopes),
        binding=Binding(**binding),
        expires_at=store.clock() + timedelta(days=days),
    )
    said = details.model_dump(mode="json")
    record_decision(store, TOKEN_ISSUED, f"id-{token[-6:]}", said, principal="test")
    return token


def test_a_route_that_nobody_listed_is_refused(serve_app: ServeApp, store: Store) -> None:
    app = create_app(store, load_settings(url="sqlite:///unused", token=TOKEN))

    @app.get("/api/v1/secret")
    def get_secret() -> str:
        return "told"

    @app.delete("/api/v1/runs")
    def delete_runs() -> str:
        return "gone"

    client = serve_app(app)
    client.headers["Authorization"] = f"Bearer {issue(store, *Scope)}"
    assert client.get("/api/v1/runs").status_code == 200
    assert client.get("/api/v1/secret").status_code == 404
    assert client.delete("/api/v1/runs").status_code == 405


def test_everything_that_is_served_has_the_security_headers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    answers = [
        client.get("/api/v1/runs"),
        client.get("/nothing"),
        client.get("/health/live"),
        client.get("/api/v1/runs", headers={"Authorization": "Bearer x"}),
        client.post("/api/v1/events", content=b"{"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 401, 400]

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    # The reply to a bug is made outside of all that wraps the application.
    monkeypatch.setattr("runvis_core.api.doctor.examine_store", fail)
    answers.append(client.get("/api/v1/doctor"))
    assert answers[-1].status_code == 500
    assert "inside" not in answers[-1].text
    for answer in answers:
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "server" not in answer.headers


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
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
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


@pytest.mark.parametrize(
    "path", ["/health/live", "/api/v1/runs", "/api/v1/stream", "/api/v1/evidence?definition=x", "/"]
)
def test_a_head_is_what_a_get_would_be_without_its_body(serve: Serve, path: str) -> None:
    client = serve()
    head = client.head(path)
    with client.stream("GET", path) as got:
        assert head.status_code == got.status_code
        assert head.headers.get("Content-Type") == got.headers.get("Content-Type")
        assert head.headers.get("Content-Length") == got.headers.get("Content-Length")
    assert head.content == b""
    # The connection is good for the next one.
    assert client.get("/health/live").json() == {"status": "live"}


def test_a_head_takes_nothing_out(serve: Serve, store: Store) -> None:
    client, asked = serve(), {"Accept": "text/csv"}
    assert client.head("/api/v1/runs", headers=asked).status_code == 200
    assert list_audit(store, limit=10).items == []
    assert client.get("/api/v1/runs", headers=asked).status_code == 200
    assert [item.subject for item in list_audit(store, limit=10).items] == ["runs as text/csv"]


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(serve: Serve, token: str | None) -> None:
    client = serve(token=token)
    for method in ("OPTIONS", "PUT", "DELETE"):
        assert client.request(method, "/api/v1/nothing").status_code == 404
        answer = client.request(method, "/api/v1/events")
        assert (answer.status_code, answer.headers.get("Allow")) == (405, "GET, HEAD, POST")
        assert client.request(method, "/health/live").headers["Allow"] == "GET, HEAD"
