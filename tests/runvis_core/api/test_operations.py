from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runvis_core.api.duties import duties_of
from runvis_core.api.metrics import Metrics
from runvis_core.emit.spool import SpoolWriter, encode_line
from runvis_core.model.event import StateEvent
from runvis_core.model.state import State
from runvis_core.services.ingest import ingest_events
from runvis_core.services.logs import JsonFormatter
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.store.liveness import record_beats
from runvis_core.testing.factories import a_run_id, make

Serve = Callable[..., httpx.Client]


def read_metrics(client: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    """The numbers of a server by name and the values of their labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def post(client: httpx.Client, *events: StateEvent) -> httpx.Response:
    return client.post("/api/v1/events", json={"events": [event.model_dump(mode="json") for event in events]})


def test_the_numbers_say_what_became_of_events_and_how_the_store_is(serve: Serve, store: Store, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    client = serve(spool_dir=spool)
    running = make(StateEvent, state=State.RUNNING)
    other = make(StateEvent, state=State.RUNNING, run_id=a_run_id("other"))
    assert post(client, running, other).status_code == 200
    assert post(client, running).status_code == 200
    assert client.post("/api/v1/events", json={"events": [{"kind": "state"}]}).status_code == 422
    assert client.get("/api/v1/runs/nobody").status_code == 404
    assert client.get("/nowhere").status_code == 404
    now = datetime.now(UTC)
    record_beats(store.engine, {a_run_id(): 1.0}, now - timedelta(hours=1))
    record_beats(store.engine, {a_run_id("other"): 3600.0}, now)
    writer = SpoolWriter.create(spool / "prod", max_bytes=2**20)
    writer.append([encode_line(b"{}")])
    numbers = read_metrics(client)
    writer.close()
    assert numbers["runvis_events_total", ("stored",)] == 2
    assert numbers["runvis_events_total", ("known",)] == 1
    assert numbers["runvis_events_total", ("refused",)] == 1
    # There before the first of them, so that a rate sees it.
    assert numbers["runvis_events_total", ("conflict",)] == numbers["runvis_events_total", ("attested",)] == 0
    assert numbers["runvis_store_commit_seconds_count", ()] == 3
    assert numbers["runvis_store_up", ()] == 1
    assert numbers["runvis_log_position", ()] == 2
    assert numbers["runvis_delivery_lag_seconds", ()] > 0
    assert (numbers["runvis_beating_runs", ()], numbers["runvis_silent_runs", ()]) == (2, 1)
    assert numbers["runvis_spool_files", ()] == 1
    assert numbers["runvis_spool_pending_bytes", ()] == len(encode_line(b"{}"))
    assert numbers["runvis_request_seconds_count", ("POST", "/api/v1/events", "200")] == 2
    assert numbers["runvis_request_seconds_count", ("GET", "/api/v1/runs/{name}", "404")] == 1
    assert numbers["runvis_request_seconds_count", ("GET", "other", "404")] == 1


def test_what_is_refused_is_counted_under_its_route(client: httpx.Client) -> None:
    for headers in ({"Authorization": "Bearer nobodys-token-at-all"}, {}):
        client.get("/api/v1/runs/x/events", headers=headers)
    client.get("/api/v1/tokens")
    client.delete("/api/v1/runs")
    client.get("/health/live")
    numbers = read_metrics(client)
    for route, status in (
        ("/api/v1/runs/{name}/events", "401"),
        ("/api/v1/tokens", "403"),
        ("/health/live", "200"),
    ):
        assert numbers["runvis_request_seconds_count", ("GET", route, status)] == 1, route
    assert numbers["runvis_request_seconds_count", ("DELETE", "/api/v1/runs", "405")] == 1


def test_what_a_follower_brings_is_counted(store: Store, tmp_path: Path) -> None:
    settings = load_settings(url="sqlite:///unused", spool_dir=tmp_path)
    metrics = Metrics(store, settings)

    def follow(_url: str, *, store: Store, **_rest: object) -> None:
        for _ in range(2):
            ingest_events(store, [make(StateEvent, state=State.RUNNING)], principal="follower")

    duties = duties_of(store, settings, {"mine": (follow, "http://engine")}, count=metrics.count_outcomes)
    next(duty for duty in duties if duty.name == "follow-mine").work(threading.Event())
    ingest_events(store, [make(StateEvent, state=State.QUEUED)], principal="somebody else")
    said = metrics.expose().decode()
    assert 'runvis_events_total{outcome="stored"} 1.0' in said
    assert 'runvis_events_total{outcome="known"} 1.0' in said


def test_every_number_is_documented(client: httpx.Client) -> None:
    post(client, make(StateEvent, state=State.RUNNING))
    page = (Path(__file__).parents[3] / "docs/reference/operations.md").read_text()
    names = set(re.findall(r"^# TYPE (\w+) ", client.get("/metrics").text, re.MULTILINE))
    assert len(names) > 10
    assert [name for name in names if f"`{name.removesuffix('_created')}" not in page] == []


def test_no_label_names_a_run(client: httpx.Client) -> None:
    post(client, make(StateEvent, state=State.RUNNING))
    client.get(f"/api/v1/runs/{a_run_id()}")
    client.get(f"/api/v1/runs/{a_run_id()}/tree")
    client.request(f"X{a_run_id().hex}", "/api/v1/runs")
    text = client.get("/metrics").text.lower()
    assert str(a_run_id()) not in text
    assert a_run_id().hex not in text


def test_the_numbers_are_closed_to_who_has_no_token(client: httpx.Client) -> None:
    assert client.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_a_reply_says_the_requests_id_its_own_or_a_new_one(client: httpx.Client) -> None:
    given = client.get("/health/live", headers={"X-Request-ID": "from-a-proxy:1"})
    assert given.headers["X-Request-ID"] == "from-a-proxy:1"
    refused = client.get("/api/v1/runs", headers={"Authorization": "", "X-Request-ID": "a" * 200})
    assert refused.status_code == 401
    assert UUID(refused.headers["X-Request-ID"])


def test_each_request_is_logged_with_its_id(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="runvis.requests")
    caplog.handler.setFormatter(JsonFormatter())
    client.get("/api/v1/runs/no%0Asuch", headers={"X-Request-ID": "the-one"})
    # It is logged when it is over, and the reply may have come before.
    deadline = time.monotonic() + 60
    while not (lines := [line for line in caplog.text.splitlines() if line.endswith("}")]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    said = json.loads(lines[0])
    assert {name: said[name] for name in ("logger", "level", "request_id", "method", "path", "status")} == {
        "logger": "runvis.requests",
        "level": "info",
        "request_id": "the-one",
        "method": "GET",
        "path": "/api/v1/runs/no\nsuch",
        "status": 404,
    }
    assert said["principal"] == "token"
    assert said["seconds"] > 0


def test_a_bug_is_logged_with_its_request_and_the_reply_says_no_more_than_its_kind(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("runvis_core.api.runs.list_runs_at", fail)
    reply = client.get("/api/v1/runs", headers={"X-Request-ID": "the-one"})
    assert (reply.status_code, reply.headers["X-Request-ID"]) == (500, "the-one")
    assert "ZeroDivisionError" in reply.text
    assert "secret" not in reply.text


def test_a_log_line_holds_whatever_was_said() -> None:
    record = logging.LogRecord("a", logging.ERROR, "f", 1, "odd %s %s", ("\udcff", "\x1b[31m\n"), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "odd \\udcff \x1b[31m\n"
