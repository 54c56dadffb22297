"""Tokens that the store issued: what they are for, for whom they speak, and how they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from runvis_core.api.app import create_app
from runvis_core.api.rates import RateLimiter
from runvis_core.api.tokens import StoreTokens, Tokens
from runvis_core.errors import NotFoundError, SettingsError, UnreachableError
from runvis_core.model.decision import Scope
from runvis_core.model.encoding import seal
from runvis_core.model.event import ContextEvent, EventBase, ProducerOpenedEvent, StateEvent
from runvis_core.model.state import State, Witness
from runvis_core.services.decision_answers import TokenRequest
from runvis_core.services.decisions import list_audit
from runvis_core.services.ingest import ingest_events
from runvis_core.services.tokens import PREFIX, is_token, issue_token, list_tokens, make_token, revoke_token
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

Serve = Callable[..., httpx.Client]
EVENTS = "/api/v1/events"


def ask(*scopes: Scope, name: str = "worker-prod", **fields: Any) -> TokenRequest:
    if Scope.INGEST in scopes:
        fields = {"deployments": ["test"], "witnesses": ["worker"]} | fields
    return TokenRequest.model_validate({"name": name, "scopes": scopes} | fields)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def a_state(**fields: Any) -> dict[str, Any]:
    import orjson

    return {"event": orjson.loads(seal(make(StateEvent, state=State.RUNNING, **fields)).data)}


def test_a_token_has_a_form_of_its_own() -> None:
    token = make_token()
    assert len(token) == len(PREFIX) + 36
    assert is_token(token)
    assert not is_token(token[:-1])
    for place in range(len(PREFIX), len(token)):
        other = "0" if token[place] != "0" else "1"
        assert not is_token(token[:place] + other + token[place + 1 :])
    assert len({make_token() for _ in range(100)}) == 100


def test_the_store_keeps_only_a_digest_of_it(sqlite_store: Store) -> None:
    issued = issue_token(sqlite_store, ask(Scope.READ), principal="ann")
    revoke_token(sqlite_store, issued.token_id, principal="bea", reason="left")
    file = Path(str(sqlite_store.engine.url.database))
    held = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert issued.token.encode() not in held
    assert issued.token[4:34].encode() not in held
    page = list_audit(sqlite_store, limit=10)
    assert [(item.name, item.principal, item.reason) for item in page.items] == [
        ("token revoked", "bea", "left"),
        ("token issued", "ann", None),
    ]
    assert "digest" not in page.items[1].details


def test_a_token_of_the_store_is_taken_and_no_other_goes_without(serve: Serve, store: Store) -> None:
    client = serve(token=None)
    assert client.get("/api/v1/runs").status_code == 200
    issued = issue_token(store, ask(Scope.READ), principal="ann")
    assert client.get("/api/v1/runs", headers=bearer(issued.token)).status_code == 200
    assert client.get("/api/v1/runs").status_code == 401
    assert client.get("/api/v1/runs", headers=bearer(make_token())).status_code == 401


def test_a_store_whose_tokens_are_all_revoked_is_closed_not_open(serve: Serve, store: Store) -> None:
    issued = issue_token(store, ask(Scope.READ), principal="ann")
    revoke_token(store, issued.token_id, principal="ann")
    client = serve(token=None)
    assert client.get("/api/v1/runs").status_code == 401
    assert client.get("/api/v1/runs", headers=bearer(issued.token)).status_code == 401


def test_a_revoked_token_is_refused_at_once_by_the_server_that_revoked_it(serve: Serve, store: Store) -> None:
    admin = issue_token(store, ask(Scope.ADMIN, name="admin"), principal="ann").token
    client = serve(token=None)
    made = client.post("/api/v1/tokens", json={"name": "reader", "scopes": ["read"]}, headers=bearer(admin)).json()
    reading = bearer(made["token"])
    assert client.get("/api/v1/runs", headers=reading).status_code == 200
    path = f"/api/v1/tokens/{made['token_id']}/revocation"
    revoked = client.post(path, json={"reason": "leaked"}, headers=bearer(admin))
    assert (revoked.status_code, revoked.json()["valid"]) == (200, False)
    assert client.get("/api/v1/runs", headers=reading).status_code == 401
    listed = client.get("/api/v1/tokens", headers=bearer(admin)).json()["items"]
    assert [(token["name"], token["valid"]) for token in listed] == [("reader", False), ("admin", True)]
    assert all("token" not in token for token in listed)
    audit = client.get("/api/v1/audit", headers=bearer(admin)).json()["items"]
    assert [(item["name"], item["principal"]) for item in audit] == [
        ("token revoked", "admin"),
        ("token issued", "admin"),
        ("token issued", "ann"),
    ]
    assert client.post("/api/v1/tokens/nope/revocation", json={}, headers=bearer(admin)).status_code == 404


def test_an_expired_token_is_refused_and_told_so(serve: Serve, store: Store) -> None:
    past = replace(store, clock=lambda: datetime.now(UTC) - timedelta(days=2))
    issued = issue_token(past, ask(Scope.READ, days=1), principal="ann")
    assert [token.valid for token in list_tokens(store)] == [False]
    answer = serve(token=None).get("/api/v1/runs", headers=bearer(issued.token))
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_a_token_that_is_revoked_elsewhere_is_soon_refused(serve: Serve, store: Store) -> None:
    issued = issue_token(store, ask(Scope.READ), principal="ann")
    client = serve(token=None)
    assert client.get("/api/v1/runs", headers=bearer(issued.token)).status_code == 200
    revoke_token(store, issued.token_id, principal="ann")
    deadline = time.monotonic() + 60
    while client.get("/api/v1/runs", headers=bearer(issued.token)).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_while_nobody_can_tell_which_tokens_are_good_nobody_is_served(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Store) -> int:
        raise UnreachableError("the store is away")

    issued = issue_token(store, ask(Scope.READ), principal="ann")
    client = serve(token=None)
    with monkeypatch.context() as away:
        away.setattr("runvis_core.api.tokens.last_token_change", fail)
        answer = client.get("/api/v1/runs", headers=bearer(issued.token))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert client.get("/api/v1/runs").status_code == 503
    assert client.get("/api/v1/runs", headers=bearer(issued.token)).status_code == 200
    assert client.get("/api/v1/runs").status_code == 401


def test_a_store_that_is_away_is_looked_for_once_in_a_while_and_what_is_known_stays_in_force(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = issue_token(sqlite_store, ask(Scope.READ), principal="ann")
    looks: list[Store] = []

    def fail(store: Store) -> int:
        looks.append(store)
        raise UnreachableError("the store is away")

    async def ask_often() -> None:
        tokens = StoreTokens(sqlite_store)
        await tokens.refresh()
        monkeypatch.setattr("runvis_core.api.tokens.last_token_change", fail)
        tokens.forget()
        for _ in range(5):
            await tokens.refresh()
            assert tokens.find_principal(f"Bearer {issued.token}", now=datetime.now(UTC)) is not None

    monkeypatch.setattr("runvis_core.api.tokens.REFRESH_SECONDS", 600)
    asyncio.run(ask_often())
    assert len(looks) == 1


def test_a_web_socket_that_nobody_listed_is_closed(sqlite_store: Store) -> None:
    sent: list[Any] = []
    issued = issue_token(sqlite_store, ask(*Scope), principal="ann")
    app = create_app(sqlite_store, load_settings(url="sqlite:///unused"))
    scope = {
        "type": "websocket",
        "path": "/stream",
        "raw_path": b"/stream",
        "query_string": b"",
        "subprotocols": [],
        "headers": [(b"authorization", f"Bearer {issued.token}".encode())],
    }

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_two_tokens_of_one_name_are_valid_at_once_and_no_third(store: Store) -> None:
    first = issue_token(store, ask(Scope.READ), principal="ann")
    issue_token(store, ask(Scope.READ), principal="ann")
    with pytest.raises(SettingsError, match=first.token_id):
        issue_token(store, ask(Scope.READ), principal="ann")
    revoke_token(store, first.token_id, principal="ann")
    issue_token(store, ask(Scope.READ), principal="ann")
    assert [token.valid for token in list_tokens(store)] == [True, True, False]


@pytest.mark.parametrize("name", ["person:ann@example.org", "local", "local:ann", "ann\n", "\u202enna"])
def test_a_token_has_no_name_by_which_the_trail_would_take_it_for_a_person(
    serve: Serve, store: Store, name: str
) -> None:
    with pytest.raises(ValidationError, match="is no name of a token"):
        ask(Scope.ADMIN, name=name)
    with pytest.raises(SettingsError, match="no token may be called"):
        Tokens({name: "a-token-of-some-length"})
    headers = bearer(issue_token(store, ask(Scope.ADMIN), principal="test").token)
    answer = serve().post("/api/v1/tokens", json={"name": name, "scopes": ["admin"]}, headers=headers)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "name")


def test_a_token_that_brings_events_says_for_whom(store: Store) -> None:
    for fields in ({"deployments": []}, {"witnesses": []}):
        with pytest.raises(SettingsError, match="--deployment"):
            issue_token(store, ask(Scope.INGEST, **fields), principal="ann")
    with pytest.raises(NotFoundError):
        revoke_token(store, "nope", principal="ann")


def a_beat(**fields: Any) -> dict[str, Any]:
    return {
        "run_id": str(a_run_id()),
        "engine": "airflow",
        "deployment": "test",
        "witness": "worker",
        "occurred_at": "2026-11-24T08:00:00Z",
        "interval_seconds": 60,
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"witness": Witness.SCHEDULER}, "event.witness"),
        ({"witness": Witness.RECONCILER}, "event.witness"),
        ({"deployment": "other"}, "event.deployment"),
    ],
)
def test_a_token_speaks_for_nobody_else(serve: Serve, store: Store, fields: dict[str, Any], field: str) -> None:
    token = issue_token(store, ask(Scope.INGEST), principal="ann").token
    client = serve(token=None)
    beat = a_beat(**fields)
    batch = {"items": [a_state(), a_state(seconds=1, **fields)], "heartbeats": [beat]}
    answer = client.post(EVENTS, json=batch, headers=bearer(token))
    assert answer.status_code == 200
    stored, refused = answer.json()["outcomes"]
    assert (stored["status"], refused["status"], refused["field"]) == ("stored", "refused", field)
    assert "the token speaks" in refused["reason"]
    assert [fault["index"] for fault in answer.json()["heartbeats"]] == [0]
    # A batch of nothing but that is refused whole, with the same reasons.
    assert client.post(EVENTS, json={"items": batch["items"][1:]}, headers=bearer(token)).status_code == 422


def test_a_token_of_a_team_does_not_speak_for_another(serve: Serve, store: Store) -> None:
    import orjson

    token = issue_token(store, ask(Scope.INGEST, team="pay"), principal="ann").token
    client = serve(token=None)

    def bring(*events: EventBase) -> list[dict[str, Any]]:
        batch = {"events": [orjson.loads(seal(event).data) for event in events]}
        return client.post(EVENTS, json=batch, headers=bearer(token)).json()["outcomes"]

    outcomes = bring(
        make(ContextEvent, team="pay"),
        make(ContextEvent, team="ads"),
        make(ContextEvent, tags=("a",)),
        make(ContextEvent, engine_context={"team": "pay"}),
        make(ProducerOpenedEvent, team="pay", producer=a_run_id("process"), sequence=0, component="task"),
    )
    assert [outcome["status"] for outcome in outcomes] == ["stored", "refused", "refused", "refused", "stored"]
    assert {outcome.get("field") for outcome in outcomes[1:4]} == {"event.team"}
    assert "not for 'ads'" in outcomes[1]["reason"]
    assert "not for none" in outcomes[2]["reason"]
    # What a run of another team is, that team has told: to say that it is one's own changes nothing.
    theirs = {"run_id": a_run_id("theirs")}
    ingest_events(store, [make(StateEvent, team="ads", state=State.RUNNING, **theirs)], principal="test")
    ended = make(StateEvent, team="pay", seconds=9, state=State.FAILED, **theirs)
    mine = make(StateEvent, team="pay", seconds=9, state=State.RUNNING)
    refused, stored = bring(ended, mine)
    assert (refused["status"], refused["index"], stored["status"], stored["index"]) == ("refused", 0, "stored", 1)
    assert "the run is of 'ads'" in refused["reason"]
    # A scheduler, which is of no team, told of it too.
    books = make(StateEvent, witness=Witness.SCHEDULER, seconds=1, state=State.QUEUED)
    ingest_events(store, [books], principal="test")
    assert bring(make(StateEvent, team="pay", seconds=20, state=State.SUCCEEDED))[0]["status"] == "stored"


def test_the_signs_of_life_of_another_team_are_refused(serve: Serve, store: Store) -> None:
    token = issue_token(store, ask(Scope.INGEST, team="pay"), principal="ann").token
    client = serve(token=None)
    beats = [a_beat(), a_beat(team="ads"), a_beat(team="pay")]
    answer = client.post(EVENTS, json={"items": [], "heartbeats": beats}, headers=bearer(token))
    assert [(fault["index"], fault["field"]) for fault in answer.json()["heartbeats"]] == [(0, "team"), (1, "team")]


def test_nobody_brings_what_only_the_store_decides(serve: Serve, store: Store) -> None:
    client = serve()
    decision = {
        "kind": "decision",
        "engine": "runvis",
        "deployment": "store",
        "witness": "operator",
        "occurred_at": "2026-11-24T08:00:00Z",
        "decision": "token issued",
        "subject": "x",
        "details": {},
    }
    operator = a_state(witness=Witness.OPERATOR)
    answer = client.post(EVENTS, json={"items": [decision, operator, {**decision, "kind": "access", "access": "x"}]})
    assert answer.status_code == 422
    assert store.log.head().position == 0


def test_a_token_that_asks_too_fast_is_asked_to_come_again(serve: Serve, store: Store) -> None:
    token = issue_token(store, ask(Scope.READ), principal="ann").token
    client = serve(token=None, limits={"requests_per_second": 0.001})
    answers = [client.get("/api/v1/runs", headers=bearer(token)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert 0 < int(answers[1].headers["Retry-After"]) <= 1000
    assert client.get("/health/live").status_code == 200


def test_a_bucket_refills_as_time_goes_on() -> None:
    now = [0.0]
    limiter = RateLimiter(10, clock=lambda: now[0])
    assert [limiter.take("a") for _ in range(20)] == [0.0] * 20
    assert limiter.take("a") == pytest.approx(0.1)
    assert limiter.take("b") == 0
    now[0] += 0.2
    assert [limiter.take("a"), limiter.take("a")] == [0.0, 0.0]
    assert limiter.take("a") > 0


def test_what_was_read_is_in_the_trail_where_that_is_wanted(serve: Serve, store: Store) -> None:
    token = issue_token(store, ask(Scope.READ, name="ann"), principal="bea").token
    client = serve(token=None, server={"audit_reads": True})
    assert client.get("/api/v1/runs", headers=bearer(token)).status_code == 200
    assert client.get("/api/v1/audit", headers=bearer(token)).status_code == 403
    page = list_audit(store, limit=10)
    assert [(item.kind, item.name, item.subject, item.principal) for item in page.items] == [
        ("access", "read", "GET /api/v1/runs", "ann"),
        ("decision", "token issued", page.items[1].subject, "bea"),
    ]


def test_each_limit_has_its_setting(serve: Serve) -> None:
    client = serve(
        limits={"wire_bytes": 2000, "decoded_bytes": 4000, "batch_items": 2, "event_bytes": 1024, "depth": 4}
    )
    assert client.post(EVENTS, json={"items": [], "x": "y" * 2000}).status_code == 413
    assert client.post(EVENTS, json={"items": [{}] * 3}).status_code == 413
    import gzip

    body, headers = gzip.compress(b" " * 5000), {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert client.post(EVENTS, content=body, headers=headers).status_code == 413
    deep = a_state(seconds=1)
    deep["event"]["strange"] = [[[[[]]]]]
    long = a_state(seconds=2)
    long["event"]["strange"] = "x" * 1100
    outcomes = client.post(EVENTS, json={"items": [deep, a_state()]}).json()["outcomes"]
    assert [outcome["status"] for outcome in outcomes] == ["refused", "stored"]
    assert "more than 4 deep" in outcomes[0]["reason"]
    (outcome,) = client.post(EVENTS, json={"items": [long]}).json()["outcomes"]
    assert "at most 1024" in outcome["reason"]
