"""A token turned into a cookie, a proxy's word, and who is kept out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from starlette.routing import Route

from runvis_core.api.access import Asked, BearerTokens
from runvis_core.api.stream import HEARTBEAT_SECONDS
from runvis_core.api.tokens import StoreTokens, read_tokens
from runvis_core.errors import SettingsError
from runvis_core.model.decision import TOKEN_ISSUED, Scope, TokenIssued
from runvis_core.services import logs
from runvis_core.services.decisions import list_audit, record_decision
from runvis_core.services.entries import find_head
from runvis_core.services.principals import Principal
from runvis_core.services.sessions import LIFETIME, open_session
from runvis_core.services.tokens import make_token, token_digest
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.store.tables import sessions
from runvis_core.testing.factories import at
from runvis_core.web.app import create_site
from runvis_core.web.assets import ASSETS
from runvis_core.web.door import BrowserDoor, is_same_origin
from runvis_core.web.pages.sign_in import _within
from runvis_core.web.rendering import COOKIE

TOKEN = "a-token-of-some-length"
OURS = {"Sec-Fetch-Site": "same-origin"}

Serve = Callable[..., httpx.Client]


def sign_in(client: httpx.Client, token: str = TOKEN, *, to: str = "/", **headers: str) -> httpx.Response:
    return client.post("/sign-in", data={"token": token, "to": to}, headers=OURS | headers)


def test_a_browser_without_a_session_is_sent_to_sign_in_and_on_to_where_it_was_going(serve: Serve) -> None:
    client = serve(token=TOKEN)
    refused = client.get("/runs?state=Failed&engine=airflow")
    assert refused.status_code == 303
    form = client.get(refused.headers["Location"])
    assert form.status_code == 200
    assert 'name="to" value="/runs?state=Failed&amp;engine=airflow"' in form.text
    answer = sign_in(client, to="/runs?state=Failed&engine=airflow")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs?state=Failed&engine=airflow")
    page = client.get("/runs?state=Failed")
    assert page.status_code == 200
    assert "Sign out" in page.text


def test_the_cookie_is_out_of_reach_of_script_and_of_other_sites_and_holds_no_token(serve: Serve) -> None:
    answer = sign_in(serve(token=TOKEN))
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert TOKEN not in cookie


def test_the_cookie_is_sent_over_https_alone_where_the_page_is(serve: Serve) -> None:
    answer = sign_in(serve(token=TOKEN), **{"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["Set-Cookie"].lower()


def test_the_cookie_is_sent_over_https_alone_where_people_see_the_server_so(serve: Serve) -> None:
    assert "secure" not in sign_in(serve(token=TOKEN)).headers["Set-Cookie"].lower()
    answer = sign_in(serve(token=TOKEN, public_url="https://runvis.example"))
    assert "secure" in answer.headers["Set-Cookie"].lower()


def test_the_store_holds_no_secret_of_a_session(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    with store.engine.connect() as connection:
        (row,) = connection.execute(sessions.select()).all()
    secret = client.cookies[COOKIE].encode()
    assert all(secret not in bytes(value) for value in row if isinstance(value, (bytes, memoryview)))
    assert TOKEN not in str(row)


def test_a_wrong_token_opens_nothing(serve: Serve) -> None:
    client = serve(token=TOKEN)
    answer = sign_in(client, "another-token-of-length")
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
    assert client.get("/runs").status_code == 303


def test_signing_out_ends_the_session_for_good(serve: Serve) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    kept = client.cookies[COOKIE]
    assert client.post("/sign-out", headers=OURS).status_code == 303
    client.cookies.set(COOKIE, kept)
    assert client.get("/runs").status_code == 303


def test_signing_in_anew_ends_the_session_before(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    sign_in(client, _issue(store, Scope.READ, Scope.ADMIN))
    kept = client.cookies[COOKIE]
    sign_in(client)
    assert client.get("/runs").status_code == 200
    client.cookies.set(COOKIE, kept, domain=client.base_url.host)
    assert client.get("/api/v1/audit").status_code == 401
    trail = [(item.name, item.principal) for item in reversed(list_audit(store, limit=10).items)]
    assert trail[-3:] == [("sign-in", "the read admin one"), ("sign-out", "the read admin one"), ("sign-in", "token")]


def test_who_signs_out_of_a_session_that_ended_is_sent_to_sign_in(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    with store.engine.begin() as connection:
        connection.execute(update(sessions).values(expires_at=datetime.now(UTC)))
    answer = client.post("/sign-out", headers=OURS)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert client.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 401


@pytest.mark.parametrize("how", ["signing out", "running out"])
def test_an_open_stream_ends_with_its_session(serve: Serve, store: Store, how: str) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    with client.stream("GET", "/api/v1/stream", params={"after": 0, "kind": "failure"}) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        if how == "signing out":
            assert client.post("/sign-out", headers=OURS).status_code == 303
        else:
            with store.engine.begin() as connection:
                connection.execute(update(sessions).values(expires_at=at(0) - LIFETIME))
        began = time.monotonic()
        assert "".join(lines) == ""
        # Before the stream would say that it lives.
        assert time.monotonic() - began < HEARTBEAT_SECONDS


def test_who_signs_in_and_out_is_in_the_trail_and_who_fails_to_in_the_log_of_requests(
    serve: Serve, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=logs.REQUESTS)
    client = serve(token=TOKEN)
    sign_in(client, "another-token-of-length")
    sign_in(client)
    client.post("/sign-out", headers=OURS)
    client.post("/sign-out", headers=OURS)
    trail = [(item.kind, item.name, item.principal) for item in reversed(list_audit(store, limit=10).items)]
    assert trail == [("access", "sign-in", "token"), ("access", "sign-out", "token")]
    assert find_head(store) == 2
    said = [(record.path, record.status, record.principal) for record in caplog.records if hasattr(record, "path")]
    assert said[:3] == [("/sign-in", 403, None), ("/sign-in", 303, "token"), ("/sign-out", 303, "token")]
    metrics = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'runvis_request_seconds_count{method="POST",route="/sign-in",status="403"} 1.0' in metrics


def test_a_session_runs_out(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    with store.engine.begin() as connection:
        connection.execute(update(sessions).values(expires_at=at(0) - LIFETIME))
    assert client.get("/runs").status_code == 303


def test_a_session_ends_with_its_token(serve: Serve) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    elsewhere = serve(token="the-new-token-of-length")
    elsewhere.cookies.set(COOKIE, client.cookies[COOKIE])
    assert elsewhere.get("/runs").status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_what_another_site_makes_a_browser_send_is_refused(serve: Serve, headers: dict[str, str]) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    assert client.post("/sign-out", headers=headers).status_code == 401
    event = {"items": []}
    assert client.post("/api/v1/events", json=event, headers=headers).status_code == 401
    assert client.get("/runs").status_code == 200
    fresh = client.post("/sign-in", data={"token": TOKEN}, headers=headers)
    assert fresh.status_code == 403
    assert "Set-Cookie" not in fresh.headers


def test_an_origin_is_ours_by_its_host() -> None:
    assert is_same_origin({b"origin": b"http://runvis.example:8642", b"host": b"runvis.example:8642"})
    assert not is_same_origin({b"origin": b"http://runvis.example", b"host": b"runvis.example:8642"})


@pytest.mark.parametrize("cookie", ["", "x", "\x01", "runvis_session=", "runvis_session=\xff", "a=b; runvis_session"])
def test_a_cookie_that_is_none_of_ours_opens_nothing(serve: Serve, cookie: str) -> None:
    client = serve(token=TOKEN)
    assert client.get("/runs", headers={"Cookie": cookie.encode("latin-1")}).status_code == 303


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "", "/\r\nx"]
)
def test_signing_in_leads_to_no_other_site(to: str) -> None:
    assert _within(to) == "/"


def test_a_link_from_elsewhere_is_asked_for_again_from_here(serve: Serve) -> None:
    answer = serve(token=TOKEN).get("/runs", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


def test_only_the_form_and_its_files_are_open(serve: Serve, store: Store) -> None:
    site = create_site(store, load_settings(url="sqlite:///unused", token=TOKEN))
    open_paths = {"/sign-in", "/health/live", "/health/ready", *(asset.path for asset in ASSETS.values())}
    client = serve(token=TOKEN)
    client.headers["Accept"] = "*/*"
    routes = [route for route in site.router.routes if isinstance(route, Route)]
    assert {"/", "/runs", "/sign-out", "/definitions"} <= {route.path for route in routes}
    for route in routes:
        path = route.path.replace("{name:path}", "x").replace("{name}", "x")
        for method in route.methods or ():
            status = client.request(method, path).status_code
            assert (status == 401) is (path not in open_paths), (method, path, status)
    for close_by in ("/sign-in/", "/sign-inx", "/SIGN-IN", "/static/", "/static/runvis.css"):
        assert client.get(close_by).status_code == 401, close_by


def proxied(**more: Any) -> dict[str, Any]:
    return {"token": TOKEN, "server": {"identity_header": "X-Forwarded-User", "trusted_proxies": ["127.0.0.1"]} | more}


def test_a_trusted_proxy_says_who_it_is(serve: Serve) -> None:
    client = serve(**proxied())
    assert client.get("/runs").status_code == 303
    person = {"X-Forwarded-User": "ann@example.org"}
    assert client.get("/runs", headers=person).status_code == 200
    assert client.get("/runs", headers={"X-Forwarded-User": ""}).status_code == 303
    assert client.post("/api/v1/events", json={"items": []}, headers=person).status_code == 401


def test_a_password_that_the_proxy_asked_for_hides_nobody(serve: Serve) -> None:
    client = serve(**proxied())
    person = {"X-Forwarded-User": "ann@example.org"}
    password = {"Authorization": "Basic YW5uOnRoZSBwYXNzd29yZA=="}
    assert client.get("/runs", headers=person | password).status_code == 200
    assert client.get("/runs", headers=password).status_code == 303
    assert client.get("/api/v1/runs", headers=password).status_code == 401
    sign_in(client)
    assert client.get("/runs", headers=password).status_code == 200


def let_in(store: Store, name: bytes, *, peer: str = "127.0.0.1", **more: Any) -> Principal | None:
    """Whom the door lets in when a proxy at `peer` says a name."""
    settings = load_settings(url="sqlite:///unused", **proxied(**more))
    door = BrowserDoor(store, settings, BearerTokens(read_tokens(settings), StoreTokens(store)), {})
    return asyncio.run(door.find_principal(Asked("GET", "/runs", {b"x-forwarded-user": name}, peer=peer)))


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Àlex".encode(), "Àlex"),
        ("Łukasz".encode(), "Łukasz"),
        ("山田".encode(), "山田"),
        ("José".encode(), "José"),
        ("José".encode("latin-1"), "José"),
        (b"a\xc2\x85b", None),
        ("\u202eann".encode(), None),
    ],
)
def test_a_person_s_name_is_read_as_the_proxy_wrote_it(sqlite_store: Store, sent: bytes, name: str | None) -> None:
    found = let_in(sqlite_store, sent)
    assert (found and found.name) == (name and f"person:{name}")


@pytest.mark.parametrize(
    ("peer", "proxies", "believed"),
    [
        ("::ffff:10.0.0.5", ["10.0.0.5"], True),
        ("::ffff:10.0.0.5", ["10.0.0.0/24"], True),
        ("10.0.0.5", ["10.0.0.5"], True),
        ("fd00::5", ["fd00::/8"], True),
        ("::ffff:10.0.0.6", ["10.0.0.5"], False),
        ("", ["10.0.0.5"], False),
    ],
)
def test_a_proxy_is_known_by_its_address_however_the_server_listens(
    sqlite_store: Store, peer: str, proxies: list[str], believed: bool
) -> None:
    assert (let_in(sqlite_store, b"ann", peer=peer, trusted_proxies=proxies) is not None) is believed


def test_who_is_no_trusted_proxy_is_not_believed(serve: Serve) -> None:
    client = serve(**proxied(trusted_proxies=["192.0.2.0/24"]))
    person = {"X-Forwarded-User": "ann@example.org", "X-Forwarded-For": "192.0.2.1"}
    assert client.get("/runs", headers=person).status_code == 303


def test_a_person_may_read_and_no_more(serve: Serve) -> None:
    client = serve(**proxied())
    headers = {"X-Forwarded-User": "token", **OURS}
    assert client.get("/api/v1/runs", headers=headers).status_code == 200
    assert client.post("/api/v1/events", json={"items": []}, headers=headers).status_code == 403
    assert client.get("/api/v1/tokens", headers=headers).status_code == 403


def test_a_person_may_what_the_settings_say_of_them_from_a_page_of_ours(serve: Serve, store: Store) -> None:
    client = serve(**proxied(person_scopes={"ann": ["read", "admin"], "ben": []}))
    ann, ben, other = ({"X-Forwarded-User": name} for name in ("ann", "ben", "ann2"))
    hold = {"reason": "case 7", "deployment": "test"}
    for headers, status in ((ann, 200), (ben, 403), (other, 403)):
        assert client.get("/api/v1/audit", headers=headers).status_code == status, headers
    assert client.get("/api/v1/runs", headers=ben).status_code == 403
    assert client.get("/api/v1/runs", headers=other).status_code == 200
    for elsewhere in ({}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        assert client.post("/api/v1/holds", json=hold, headers=ann | elsewhere).status_code == 401
    assert client.post("/api/v1/holds", json=hold, headers=other | OURS).status_code == 403
    assert list_audit(store, limit=10).items == []
    assert client.post("/api/v1/holds", json=hold, headers=ann | OURS).status_code == 200
    assert [item.principal for item in list_audit(store, limit=10).items] == ["person:ann"]


def test_what_a_person_may_needs_a_proxy_that_names_them_and_is_never_to_bring_events() -> None:
    with pytest.raises(SettingsError, match="person_scopes"):
        load_settings(url="sqlite:///unused", server={"person_scopes": {"ann": ["admin"]}})
    with pytest.raises(SettingsError, match="PERSON_SCOPES"):
        load_settings(url="sqlite:///unused", **proxied(person_scopes={"ann": ["ingest"]}))


def test_a_session_may_what_its_token_may(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    assert client.get("/api/v1/runs").status_code == 200
    assert client.post("/api/v1/events", json={"items": []}, headers=OURS).status_code == 200
    assert client.get("/api/v1/audit").status_code == 403
    sign_in(client, _issue(store, Scope.READ))
    assert client.post("/api/v1/events", json={"items": []}, headers=OURS).status_code == 403
    sign_in(client, _issue(store, Scope.READ, Scope.ADMIN))
    assert client.get("/api/v1/audit").status_code == 200
    assert client.post("/api/v1/events", json={"items": []}, headers=OURS).status_code == 403


def test_a_request_with_a_bearer_token_is_judged_by_that_alone(serve: Serve) -> None:
    client = serve(token=TOKEN)
    sign_in(client)
    assert client.get("/api/v1/runs", headers={"Authorization": "Bearer another-token-of-length"}).status_code == 401


def test_a_token_of_the_store_opens_a_session_if_it_is_for_reading(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    assert sign_in(client, _issue(store, Scope.INGEST)).status_code == 403
    assert sign_in(client, _issue(store, Scope.READ)).status_code == 303
    page = client.get("/runs")
    assert "the read one" in page.text


def test_a_session_ends_when_its_token_runs_out(serve: Serve, store: Store) -> None:
    client = serve(token=TOKEN)
    token = _issue(store, Scope.READ, days=-1)
    assert sign_in(client, token).status_code == 403
    secret = open_session(store, token_digest(token), principal="the read one", now=datetime.now(UTC))
    client.cookies.set(COOKIE, secret)
    assert client.get("/runs").status_code == 303


def _issue(store: Store, *scopes: Scope, days: int = 1) -> str:
    token = make_token()
    details = TokenIssued(
        name=f"the {' '.join(scopes)} one",
        digest=token_digest(token).hex(),
        scopes=frozenset(scopes),
        expires_at=store.clock() + timedelta(days=days),
    )
    record_decision(store, TOKEN_ISSUED, f"id-{token[-6:]}", details.model_dump(mode="json"), principal="test")
    return token


def test_a_proxy_s_word_needs_both_settings_and_a_token(sqlite_store: Store) -> None:
    for half in ({"identity_header": "X-User"}, {"trusted_proxies": ["10.0.0.1"]}):
        with pytest.raises(SettingsError, match="go together"):
            load_settings(url="sqlite:///unused", server=half)
    whole = load_settings(url="sqlite:///unused", server={"identity_header": "X-User", "trusted_proxies": ["10.0.0.1"]})
    with pytest.raises(SettingsError, match="IDENTITY_HEADER"):
        create_site(sqlite_store, whole)
