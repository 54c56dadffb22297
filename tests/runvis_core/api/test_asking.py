from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import text

from runvis_core.model.event import EventBase
from runvis_core.store.database import Store
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import ETL, LOAD_1, LOAD_2, a_story

Serve = Callable[..., httpx.Client]
Record = Callable[[Store, Iterable[EventBase]], None]

RUN_FIELDS = {
    *("run_id", "engine", "deployment", "definition", "kind", "attempt", "state", "effective_state", "native_state"),
    *("native_id", "trigger", "parent_run_id", "caused_by_run_id", "root_run_id", "retry_of", "corrects"),
    *("correlation_id", "queued_at", "started_at", "ended_at", "duration_seconds", "parameters", "reads", "writes"),
    *("artifacts", "metrics", "failure", "context", "witnesses", "event_count"),
}


def test_a_list_is_items_and_the_cursor_of_the_next_page(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    first = client.get("/api/v1/runs", params={"limit": 3}).json()
    second = client.get("/api/v1/runs", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [len(first["items"]), len(second["items"])] == [3, 1]
    assert second["next_cursor"] is None
    assert set(first["items"][0]) >= RUN_FIELDS


def test_a_list_is_narrowed_by_its_query(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    asked = [("definition", "etl.load"), ("state", "Succeeded"), ("state", "Failed"), ("conflicting", "true")]
    items = client.get("/api/v1/runs", params=asked).json()["items"]
    assert [item["run_id"] for item in items] == [str(LOAD_1)]


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ("limit=0", "limit", "1"),
        ("limit=1001", "limit", "1000"),
        ("limit=x", "limit", "integer"),
        ("state=Broken", "state", "Succeeded"),
        ("trigger=whim", "trigger", "backfill"),
        ("since=yesterday", "since", ""),
        ("since=2026-11-24T08:00:00", "since", "zone"),
        ("since=0001-01-01T00:00:01%2B00:01", "since", "the year 1 lies outside of 2 to 9998"),
        ("as_of=9999-12-31T23:59:59-01:00", "as_of", "the year 9999"),
        ("since=2024", "since", "a time with its zone, e.g. 2024-05-01T12:00:00Z"),
        ("since=-1", "since", "a time with its zone"),
        ("until=1.5", "until", "a time with its zone"),
        ("since=20260101", "since", "a time with its zone"),
        ("since=2026-11-24", "since", "a time with its zone"),
        ("since=2026-13-24T00:00:00Z", "since", "a time with its zone"),
        ("since=2026-11-24T08:00:00+02:00", "since", "%2B"),
        ("known_at=1.5", "known_at", "a position of the log"),
        ("known_at=99999999999999999999", "known_at", "a position of the log"),
        ("known_at=abc", "known_at", "a position of the log"),
        ("engine=airflow&engine=prefect", "engine", "one value"),
        ("cursor=a&cursor=b", "cursor", "one value"),
        ("silent=perhaps", "silent", "boolean"),
        ("stat=Failed", "stat", "native_state"),
        ("tag=", "tag", "1"),
        ("engine=%00", "engine", "NUL"),
        ("cursor=abc", "cursor", "next_cursor"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(
    client: httpx.Client, query: str, parameter: str, said: str
) -> None:
    answer = client.get(f"/api/v1/runs?{query}")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["parameter"] == parameter
    assert said in answer.text


def test_a_fault_is_told_of_once_and_in_our_words(client: httpx.Client) -> None:
    for query in ("known_at=abc", "known_at=1.5", "engine=%00", "since=2024"):
        said = client.get(f"/api/v1/runs?{query}").json()
        assert len(said["errors"]) == 1
        assert "Value error" not in said["detail"]
        assert "Python" not in said["detail"]


SPANS = [
    *("runs", "stats", "corrections", "completeness", "definitions/etl/trend"),
    "evidence?definition=etl",
]


@pytest.mark.parametrize("path", SPANS)
def test_a_span_that_ends_before_it_begins_is_refused(client: httpx.Client, path: str) -> None:
    path, _, query = path.partition("?")
    span = "since=2026-11-25T00:00:00Z&until=2026-11-24T00:00:00Z"
    answer = client.get(f"/api/v1/{path}?{query}{'&' if query else ''}{span}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "until")
    assert "since 2026-11-25T00:00:00+00:00" in answer.json()["detail"]


def test_the_end_of_the_calendar_is_no_time_of_a_correction(client: httpx.Client) -> None:
    answer = client.get("/api/v1/corrections", params={"until": "0001-01-01T00:00:00+14:00"})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "until")


def test_no_route_ignores_a_parameter(serve: Serve) -> None:
    client = serve(token=None)
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    asked = [path for path, operations in paths.items() if "get" in operations]
    assert len(asked) > 25
    for path in asked:
        answer = client.get(re.sub(r"{\w+}", str(LOAD_1), path), params={"as_off": "x"})
        assert answer.status_code == 400, path
        assert answer.json()["parameter"] == "as_off", path
        assert "there is no such parameter" in answer.json()["detail"], path


def test_a_body_that_is_no_json_is_named_as_the_body(serve: Serve) -> None:
    client = serve(token=None)
    answer = client.post("/api/v1/tokens", content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "body")
    answer = client.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"], "dais": 3})
    assert answer.json()["parameter"] == "dais"
    assert "days" in answer.json()["errors"][0]["allowed"]


def test_one_run_its_tree_and_its_entries(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    run = client.get(f"/api/v1/runs/{str(LOAD_2)[:8]}").json()
    assert run["run_id"] == str(LOAD_2)
    assert set(run) >= RUN_FIELDS
    tree = client.get(f"/api/v1/runs/{ETL}/tree").json()
    assert [child["run_id"] for child in tree["children"]] == [str(LOAD_1), str(LOAD_2)]
    entries = client.get(f"/api/v1/runs/{LOAD_1}/events", params={"limit": 3}).json()
    assert [entry["event"]["run_id"] for entry in entries["items"]] == [str(LOAD_1)] * 3
    rest = client.get(f"/api/v1/runs/{LOAD_1}/events", params={"after": entries["after"]}).json()
    assert rest["items"][0]["position"] > entries["after"]


def test_a_native_id_with_slashes_names_a_run(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    assert client.get("/api/v1/runs/etl/r1").json()["run_id"] == str(ETL)
    assert client.get("/api/v1/runs/etl%2Fr1/tree").json()["run_id"] == str(ETL)


def test_what_is_encoded_in_a_path_belongs_to_the_name(client: httpx.Client, store: Store, record: Record) -> None:
    for place, name in enumerate(["x", "x/tree", "x/compare/x", "..", 'a\nb,c"d']):
        run = a_run(f"run {place}", begins=place)
        record(store, [run[0].model_copy(update={"native_id": name}), *run[1:]])
        shown = client.get(f"/api/v1/runs/{quote(name, safe='').replace('.', '%2E')}")
        assert (shown.status_code, shown.json().get("native_id")) == (200, name)
    assert "children" in client.get("/api/v1/runs/x/tree").json()
    assert "children" in client.get("/api/v1/runs/x%2Ftree/tree").json()
    assert client.get("/api/v1/runs/x/").status_code == 404
    assert client.get("/api/v1/runs/?limit=1").json()["type"] == "urn:runvis:problem:no-such-path"


def test_what_is_not_there_is_a_404_that_names_what_is_near(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    answer = client.get("/api/v1/runs/etl/r2")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:runvis:problem:not-found"
    assert str(ETL) in answer.json()["detail"]
    assert client.get("/api/v1/definitions/nope").status_code == 404
    assert client.get("/api/v1/nothing").json()["type"] == "urn:runvis:problem:no-such-path"
    assert client.delete("/api/v1/runs").status_code == 405


def test_one_wrong_digit_of_an_id_is_found_near(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    for place in (0, 9, 35):
        wrong = "0" if str(ETL)[place] != "0" else "1"
        answer = client.get(f"/api/v1/runs/{str(ETL)[:place]}{wrong}{str(ETL)[place + 1 :]}")
        assert (answer.status_code, str(ETL) in answer.json()["near"]) == (404, True), place


def test_a_name_of_several_is_ambiguous(client: httpx.Client, store: Store, record: Record) -> None:
    for place in range(2):
        run = a_run(f"run {place}", begins=place)
        record(store, [run[0].model_copy(update={"native_id": "same"}), *run[1:]])
    answer = client.get("/api/v1/runs/same").json()
    assert (answer["type"], len(answer["near"])) == ("urn:runvis:problem:ambiguous", 2)


def test_definitions_are_listed_and_shown(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    listed = client.get("/api/v1/definitions", params={"engine": "airflow", "limit": 2}).json()
    assert [item["definition"] for item in listed["items"]] == ["child", "etl"]
    rest = client.get(
        "/api/v1/definitions", params={"engine": "airflow", "limit": 2, "cursor": listed["next_cursor"]}
    ).json()
    assert [item["definition"] for item in rest["items"]] == ["etl.load"]
    shown = client.get("/api/v1/definitions/etl").json()
    assert shown["versions"][0]["structure"]["tasks"] == [{"id": "load", "operator": "PythonOperator"}]


def test_the_api_describes_itself(client: httpx.Client) -> None:
    described = client.get("/api/v1/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert {"post", "get"} <= set(described["paths"]["/api/v1/events"])


def test_the_api_describes_its_problems_and_who_may_ask(serve: Serve) -> None:
    client = serve(token=None)
    described = client.get("/api/v1/openapi.json").json()
    assert described["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert "HTTPValidationError" not in described["components"]["schemas"]
    properties = set(described["components"]["schemas"]["Problem"]["properties"])
    assert set(client.get("/api/v1/runs?since=2024").json()) <= properties
    assert set(client.get("/api/v1/runs/nobody").json()) <= properties
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert {"400", "default"} <= set(operation["responses"]), (method, path)
            for status, answer in operation["responses"].items():
                if not status.startswith("2"):
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    batch = described["paths"]["/api/v1/events"]["post"]
    example = batch["requestBody"]["content"]["application/json"]["example"]
    answer = client.post("/api/v1/events", json=example).json()
    assert [sorted(outcome) for outcome in answer["outcomes"]] == [
        sorted(outcome) for outcome in batch["responses"]["200"]["content"]["application/json"]["example"]["outcomes"]
    ]
    assert {"413", "415", "422"} <= set(batch["responses"])


def test_health_says_whether_the_store_can_be_read(client: httpx.Client, store: Store) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE head RENAME TO gone"))
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert client.get("/health/live").status_code == 200
