from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from runvis_core.emit.transport import open_transport
from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import ContextEvent, StateEvent
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import State, Witness
from runvis_core.settings import LimitSettings, load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make
from runvis_core.testing.story import a_story

Serve = Callable[..., httpx.Client]
LIMITS = LimitSettings()
EVENTS = "/api/v1/events"


def item(seconds: float = 0, **fields: Any) -> dict[str, Any]:
    event = make(StateEvent, seconds=seconds, state=State.RUNNING)
    made: dict[str, Any] = json.loads(wire_item(seal(event)))
    made["event"] |= fields
    return made


def post(client: httpx.Client, *items: Any, **more: Any) -> httpx.Response:
    return client.post(EVENTS, json={"items": list(items), **more})


def statuses(answer: httpx.Response) -> list[str]:
    return [outcome["status"] for outcome in answer.json()["outcomes"]]


def test_a_batch_is_stored_and_known_when_it_comes_again(client: httpx.Client) -> None:
    items = [json.loads(wire_item(seal(event))) for event in a_story()]
    first = post(client, *items)
    assert first.status_code == 200
    assert statuses(first) == ["stored"] * len(items)
    assert [outcome["position"] for outcome in first.json()["outcomes"]] == list(range(1, len(items) + 1))
    assert first.json()["paused"] is False
    assert statuses(post(client, *items)) == ["known"] * len(items)


def test_events_with_their_content_inline_are_taken_too(client: httpx.Client, store: Store) -> None:
    event = make(ContextEvent).model_dump(mode="json") | {"content": {"parameters": {"a": 1}}}
    answer = client.post(EVENTS, json={"events": [event]})
    assert statuses(answer) == ["stored"]
    assert client.get(f"/api/v1/runs/{a_run_id()}").json()["parameters"] == {"a": 1}


def test_a_malformed_item_is_refused_with_index_field_and_reason_and_the_rest_is_stored(client: httpx.Client) -> None:
    answer = post(
        client,
        item(1),
        item(2, state="Broken"),
        item(3, occurred_at="2026-11-24T08:00:00"),
        item(4, run_id="x"),
        7,
        item(5),
    )
    assert answer.status_code == 200
    assert statuses(answer) == ["stored", "refused", "refused", "refused", "refused", "stored"]
    refused = [outcome for outcome in answer.json()["outcomes"] if outcome["status"] == "refused"]
    assert [(outcome["index"], outcome.get("field")) for outcome in refused[:3]] == [
        (1, "event.state"),
        (2, "event.occurred_at"),
        (3, "event.run_id"),
    ]
    assert all(outcome["reason"] for outcome in refused)


def test_a_batch_of_nothing_but_faults_is_a_422_with_the_same_outcomes(client: httpx.Client) -> None:
    answer = post(client, item(1, state="Broken"), {"event": {}})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert statuses(answer) == ["refused", "refused"]
    assert [outcome["index"] for outcome in answer.json()["outcomes"]] == [0, 1]


def test_an_unknown_kind_and_unknown_fields_are_kept(client: httpx.Client) -> None:
    strange = item(1, kind="of_tomorrow", event_id="6f1c7a52-3d0e-5b8e-9a54-52756e566973", colour="blue")
    answer = post(client, strange, item(2, colour="green"), schema=2, of_tomorrow=True)
    assert statuses(answer) == ["stored", "stored"]
    events = [entry["event"] for entry in client.get(EVENTS).json()["items"]]
    assert [(event["kind"], event["colour"]) for event in events] == [("of_tomorrow", "blue"), ("state", "green")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"{}",
        b'{"items": 7}',
        b'{"items": {"a": 1}}',
        b"\xff\xfe",
        b'{"items": [NaN]}',
        b'{"items": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'{"events": null}',
    ],
)
def test_what_is_no_batch_is_a_400_that_says_what_a_batch_is(client: httpx.Client, body: bytes) -> None:
    answer = client.post(EVENTS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    if answer.status_code == 400:
        assert "a batch is" in problem["detail"]


def test_a_body_beyond_the_limit_on_the_wire_is_refused_while_it_comes(client: httpx.Client) -> None:
    def too_much() -> Any:
        for _ in range(LIMITS.wire_bytes // 1000 + 2):
            yield b" " * 1000

    answer = client.post(EVENTS, content=too_much(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["allowed"] == {"max_bytes": LIMITS.wire_bytes}


def test_too_many_items_are_refused(client: httpx.Client) -> None:
    answer = post(client, *([{}] * (LIMITS.batch_items + 1)))
    assert answer.status_code == 413
    assert answer.json()["allowed"] == {"max_items": LIMITS.batch_items}


def test_a_gzip_body_is_read(client: httpx.Client) -> None:
    body = gzip.compress(json.dumps({"items": [item()]}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert statuses(client.post(EVENTS, content=body, headers=headers)) == ["stored"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * (LIMITS.decoded_bytes + 1), mtime=0), "gzip", 413),
        (gzip.compress(b'{"items": []}', mtime=0)[:-8], "gzip", 400),
        (gzip.compress(b'{"items": []}', mtime=0) * 2, "gzip", 400),
        (b"no gzip", "gzip", 400),
        (b'{"items": []}', "br", 415),
    ],
)
def test_a_body_that_can_not_be_decoded_is_refused(
    client: httpx.Client, body: bytes, encoding: str, status: int
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    assert client.post(EVENTS, content=body, headers=headers).status_code == status


def test_heartbeats_keep_a_run_alive_and_are_no_entries(client: httpx.Client) -> None:
    post(client, item())
    beat = Heartbeat(
        run_id=a_run_id(),
        engine=ENGINE,
        deployment=DEPLOYMENT,
        witness=Witness.WORKER,
        occurred_at=at(0),
        interval_seconds=60,
    )
    answer = post(client, heartbeats=[beat.model_dump(mode="json"), {"run_id": "x"}])
    assert answer.status_code == 200
    assert [(fault["index"], fault["status"]) for fault in answer.json()["heartbeats"]] == [(1, "refused")]
    run = client.get(f"/api/v1/runs/{a_run_id()}").json()
    assert run["liveness"]["silent"] is False
    assert run["event_count"] == 1


def test_a_paused_server_stores_nothing_and_asks_to_come_again(serve: Serve) -> None:
    client = serve(server={"paused": True})
    answer = post(client, item())
    assert answer.json() == {"outcomes": [], "paused": True}
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get(EVENTS).json()["items"] == []
    assert client.get("/api/v1/runs").status_code == 200


def test_concurrent_posts_lose_nothing_and_each_hears_of_its_own_items(client: httpx.Client) -> None:
    def send(sender: int) -> list[tuple[int, str]]:
        with httpx.Client(base_url=client.base_url, headers=client.headers, timeout=30) as own:
            items = [item(sender * 100 + n) for n in range(20)]
            items[sender % 20]["event"]["state"] = "Broken"
            return [(place, outcome["status"]) for place, outcome in enumerate(post(own, *items).json()["outcomes"])]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(24)))
    for sender, outcomes in enumerate(answers):
        assert [place for place, status in outcomes if status == "refused"] == [sender % 20]
    entries = client.get(EVENTS, params={"after": 0, "limit": 1000}).json()["items"]
    assert [entry["position"] for entry in entries] == list(range(1, 24 * 19 + 1))


def test_the_emissions_own_transport_is_understood(client: httpx.Client) -> None:
    settings = load_settings(url=str(client.base_url), deployment="test", token="a-token-of-some-length")
    transport = open_transport(settings)
    try:
        outcomes = transport.deliver([wire_item(seal(event)) for event in a_story()])
    finally:
        transport.close()
    assert {outcome["status"] for outcome in outcomes} == {"stored"}


def test_the_log_is_read_from_a_position_on(client: httpx.Client) -> None:
    post(client, *(item(n) for n in range(5)))
    page = client.get(EVENTS, params={"after": 2, "limit": 2}).json()
    assert ([entry["position"] for entry in page["items"]], page["after"]) == ([3, 4], 4)
    assert client.get(EVENTS, params={"limit": 0}).json() == {"items": [], "after": 5}


def test_no_thread_is_left_when_the_server_has_ended(serve: Serve) -> None:
    post(serve(), item())
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("runvis-committer")}
    assert len(names) == 1
