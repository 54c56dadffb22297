"""The server on PostgreSQL as the writer, who can do no more than that; and a reader, who reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import orjson
import pytest
from fastapi import FastAPI

from runvis_core.api.app import create_app
from runvis_core.errors import StoreError
from runvis_core.model.encoding import seal, wire_item
from runvis_core.services.doctor import examine_store
from runvis_core.services.run_details import get_run
from runvis_core.services.steps import STEPS
from runvis_core.settings import load_settings
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.roles import Roles, create_roles
from runvis_core.store.steps import catch_up
from runvis_core.testing.event_log_suite import append
from runvis_core.testing.story import LOAD_1, a_story

ROLES = Roles.of("runvis")


@pytest.fixture
def stores(postgresql_url: str) -> Iterator[Callable[[str], Store]]:
    """A function that opens one store as one of its roles."""
    first = open_store(postgresql_url)
    create_roles(first.engine)
    opened = [first]

    def open_as(role: str) -> Store:
        url = first.engine.url.set(username=role).render_as_string(hide_password=False)
        opened.append(open_store(url))
        return opened[-1]

    yield open_as
    for store in opened:
        store.close()


def test_the_whole_server_works_as_the_writer(
    stores: Callable[[str], Store],
    serve_app: Callable[[FastAPI], httpx.Client],
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(str(tmp_path))
    writer = stores(ROLES.writer)
    client = serve_app(create_app(writer, load_settings(url="sqlite:///unused", server={"audit_reads": False})))

    def post(path: str, **said: object) -> dict[str, object]:
        answer = client.post(f"/api/v1/{path}", json=said)
        assert answer.status_code == 200, answer.text
        return answer.json()

    beat = {
        "run_id": str(LOAD_1),
        "engine": "airflow",
        "deployment": "test",
        "witness": "worker",
        "occurred_at": "2026-11-24T08:00:00Z",
        "interval_seconds": 60,
    }
    items = [orjson.loads(wire_item(seal(event))) for event in a_story()]
    for status in ("stored", "known"):
        outcomes = post("events", items=items, heartbeats=[beat])["outcomes"]
        assert isinstance(outcomes, list)
        assert {outcome["status"] for outcome in outcomes} == {status}
    catch_up(writer, STEPS)
    for path in ("runs", f"runs/{LOAD_1}", f"runs/{LOAD_1}/tree", f"runs/{LOAD_1}/events", "definitions", "events"):
        assert client.get(f"/api/v1/{path}").status_code == 200, path
    doctor = client.get("/api/v1/doctor").json()
    assert {check["name"]: check["outcome"] for check in doctor}["roles"] == "ok"
    assert all(check["outcome"] != "problem" for check in doctor), doctor
    assert client.get("/metrics").status_code == 200
    hold = post("holds", run=str(LOAD_1), reason="case")
    assert client.post("/api/v1/erasures", json={"run": str(LOAD_1), "reason": "asked"}).status_code == 409
    post(f"holds/{hold['hold_id']}/release")
    assert post("erasures", run=str(LOAD_1), reason="asked")["bodies"]
    made = post("tokens", name="ann", scopes=["read", "admin"])
    client.headers["Authorization"] = f"Bearer {made['token']}"
    post(f"tokens/{made['token_id']}/revocation")
    assert client.get("/api/v1/audit").status_code == 401
    assert check_store(writer) == []


def test_a_reader_reads_and_writes_nothing(stores: Callable[[str], Store]) -> None:
    append(stores(ROLES.writer), *a_story())
    reader = stores(ROLES.reader)
    now = datetime.now(UTC)
    assert get_run(reader, str(LOAD_1), now=now).run_id == LOAD_1
    assert all(check.outcome != "problem" for check in examine_store(reader, now=now))
    assert check_store(reader) == []
    with pytest.raises(StoreError):
        append(reader, *a_story())
