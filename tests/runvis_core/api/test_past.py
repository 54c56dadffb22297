from __future__ import annotations

from collections.abc import Callable, Iterable

import httpx
import orjson
import pytest

from runvis_core.model.event import EventBase
from runvis_core.model.state import State
from runvis_core.services.entries import find_head
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import CHILD, ETL, LOAD_1, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def test_runs_a_run_and_its_tree_are_told_as_they_were(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    then = {"as_of": "2026-11-24T08:01:15Z"}
    page = client.get("/api/v1/runs", params={**then, "limit": 1}).json()
    assert [run["run_id"] for run in page["items"]] == [str(LOAD_1)]
    rest = client.get("/api/v1/runs", params={**then, "limit": 1, "cursor": page["next_cursor"]}).json()
    assert [run["run_id"] for run in rest["items"]] == [str(ETL)]
    run = client.get(f"/api/v1/runs/{LOAD_1}", params={"known_at": 9}).json()
    assert (run["effective_state"], run["corrections"]) == ("Running", [])
    tree = client.get(f"/api/v1/runs/{ETL}/tree", params=then).json()
    assert [child["run_id"] for child in tree["children"]] == [str(LOAD_1)]
    assert client.get(f"/api/v1/runs/{CHILD}", params=then).status_code == 404


@pytest.mark.parametrize(
    ("path", "query", "parameter"),
    [
        ("runs", "as_of=2999-01-01T00:00:00Z", "as_of"),
        ("runs", "known_at=99999", "known_at"),
        ("runs", "known_at=yesterday", "known_at"),
        ("runs", "known_at=-1", "known_at"),
        ("runs", "as_of=2026-11-24T08:00:00", "as_of"),
        ("runs", "as_of=2026-11-24T08:00:00Z&tag=x", "tag"),
        (f"runs/{ETL}", "as_off=1", "as_off"),
        (f"runs/{ETL}/tree", "known_at=99999", "known_at"),
        ("completeness", "by=day", "by"),
        ("completeness", "since=now", "since"),
        ("completeness", "tag=x", "tag"),
    ],
)
def test_a_wrong_past_is_refused_and_named(
    client: httpx.Client, store: Store, record: Record, path: str, query: str, parameter: str
) -> None:
    record(store, a_story())
    answer = client.get(f"/api/v1/{path}?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["parameter"] == parameter


def test_the_account_is_answered(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    asked = {"by": "definition", "since": "2026-11-01T00:00:00Z", "until": "2027-01-01T00:00:00Z", "limit": 2}
    found = client.get("/api/v1/completeness", params=asked).json()
    assert len(found["items"]) == 2
    assert found["cut"] == 1
    assert found["whole"] is None


def test_a_definition_its_grid_and_health_have_a_past_as_their_pages_do(
    client: httpx.Client, store: Store, record: Record
) -> None:
    record(store, a_run("bad", begins=0, definition="nightly", state=State.FAILED))
    known = find_head(store)
    paths = ("health", "definitions/nightly", "definitions/nightly/grid")
    then = [client.get(f"/api/v1/{path}", params={"known_at": known}).content for path in paths]
    record(store, a_run("good", begins=100, definition="nightly"))
    assert [client.get(f"/api/v1/{path}", params={"known_at": known}).content for path in paths] == then
    health, one, grid = (orjson.loads(said) for said in then)
    assert [row["definition"] for row in health["failing"]] == ["nightly"]
    assert [run["run_id"] for run in one["recent_runs"]] == [str(a_run_id("bad"))]
    assert [column["run"]["run_id"] for column in grid["columns"]] == [str(a_run_id("bad"))]
    assert client.get("/api/v1/health").json()["failing_count"] == 0
    for path in paths:
        refused = client.get(f"/api/v1/{path}", params={"known_at": 10**6})
        assert (refused.status_code, refused.json()["parameter"]) == (400, "known_at"), path
