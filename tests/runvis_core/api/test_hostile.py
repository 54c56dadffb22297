"""Hostile input: whatever is sent, the server answers with a 4xx that says why, or takes it; never a 5xx."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.hostile import count_requests
from tests.faults.scale import ROUNDS, found

from runvis_core.api.tokens import Tokens
from runvis_core.errors import CursorError
from runvis_core.model.event import IdentityEvent, NoteEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.services.cursors import read_cursor
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import ingest_items
from runvis_core.store.check import check_store
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

Serve = Callable[..., httpx.Client]

FEW = settings(
    max_examples=20 * ROUNDS, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
MORE = settings(parent=FEW, max_examples=150 * ROUNDS)

NAMES = (
    "..",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "C:\\windows\\win.ini",
    "file:///etc/passwd",
    "a" * 10_000,
    "%00",
    "%",
    "%zz",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "<script>alert(1)</script>",
    "'; DROP TABLE entries; --",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "%s%n%x",
    "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "𝕳" * 300,
    "events",
    "tree",
    " ",
    ".",
)
BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "a number": b"1e400",
    "null": b"null",
    "bad UTF-8": b'{"events": ["\xff\xfe"]}',
    "a lone surrogate": b'{"events": [{"kind": "\\ud800"}]}',
    "a NUL": b'{"events": [{"kind": "state\\u0000"}]}',
    "deep lists": b'{"events": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"events": [' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"]}",
    "huge numbers": b'{"events": [{"kind": "metric", "value": 1' + b"0" * 5_000 + b"}]}",
    "no numbers": b'{"events": [{"kind": "metric", "value": NaN}]}',
    "one key twice": b'{"events": [], "events": [1, null, "x", [], {}]}',
    "items that are none": json.dumps(
        {"items": [1, None, "x", [], {}, {"event": 1}, {"event": {}, "bodies": 1}]}
    ).encode(),
    "too many": json.dumps({"events": [{}] * 1001}).encode(),
    "too large": b'{"events": ["' + b"a" * 2**20 + b'"]}',
}


@pytest.fixture
def serve(serve: Serve) -> Iterator[Serve]:
    """As everywhere, but that all requests are counted."""
    yield from count_requests(serve)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*:hypothesis.errors.HypothesisWarning")
def test_no_request_that_the_document_allows_makes_the_server_fail(serve: Serve) -> None:
    client = serve()
    schema = schemathesis.openapi.from_dict(client.get("/api/v1/openapi.json").json())
    headers = dict(client.headers)
    tried: dict[str, int] = {}
    failed: list[str] = []

    def ask(case: Any) -> None:
        tried[case.operation.label] = tried.get(case.operation.label, 0) + 1
        response = case.call(base_url=str(client.base_url), headers=headers, timeout=60)
        if response.status_code >= 500 and not response.request.url.endswith("/health/ready"):
            failed.append(f"{response.request.method} {response.request.url}: {response.status_code}")

    for described in schema.get_all_operations():
        operation = described.ok()
        if "/stream" in operation.path:
            continue  # It has no end.
        FEW(given(case=operation.as_strategy())(ask))()
    found("ingest", requests=sum(tried.values()), server_errors=len(failed))
    assert failed == []
    assert len(tried) >= 8
    assert "POST /api/v1/events" in tried


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_no_batch_is_refused_and_nothing_of_it_is_stored(client: httpx.Client, what: str) -> None:
    reply = client.post("/api/v1/events", content=BODIES[what], headers={"Content-Type": "application/json"})
    assert 400 <= reply.status_code < 500
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert client.get("/api/v1/events").json()["items"] == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip", "zstd", "\xff"])
def test_a_bomb_is_refused_before_it_grows(client: httpx.Client, encoding: str) -> None:
    bomb = gzip.compress(b'{"events": [' + b" " * 500_000_000 + b"]}", compresslevel=9)
    assert len(bomb) < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    headers = {"Content-Type": "application/json", b"Content-Encoding": encoding.encode("latin-1")}
    reply = client.post("/api/v1/events", content=bomb, headers=headers)  # pyright: ignore[reportArgumentType]
    assert reply.status_code in (400, 413, 415)
    # The server is a thread of this process.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found("ingest", bombs=1, most_kib_grown=grown)
    assert grown < 64 * 1024


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_no_name_in_a_path_or_a_filter_leads_anywhere_else(client: httpx.Client, name: str) -> None:
    quoted = httpx.URL("/", params={"x": name}).query.decode()[2:].replace("+", "%20")
    for path in ("runs/{}", "runs/{}/tree", "runs/{}/events", "definitions/{}"):
        reply = client.get(f"/api/v1/{path.format(quoted)}")
        found("paths, markup", payloads=1, escaped=int("root:" in reply.text))
        assert reply.status_code < 500
        assert "root:" not in reply.text
    for parameter in ("definition", "engine", "tag", "correlation", "cursor", "since", "state", "nobody"):
        assert client.get("/api/v1/runs", params={parameter: name}).status_code < 500


@MORE
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
def test_no_text_is_a_cursor_or_a_token_unless_it_was_given_out(text: str) -> None:
    with pytest.raises(CursorError):
        read_cursor(text, of="runs", filters=RunFilter(), kinds=[str])
    assert Tokens({"somebody": "a-token-of-some-length"}).find_principal(text) is None
    assert Tokens({"somebody": "a-token-of-some-length"}).find_principal(f"Bearer {text}") is None


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["Failed", "worker", "2026-11-24T08:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"])
    | st.sampled_from([str(a_run_id()), "\x00", "a" * 70_000, "-" * 36, 2**63, -(2**63) - 1])
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
_SOUND = [
    event.model_dump(mode="json")
    for event in (
        make(StateEvent, state=State.FAILED),
        make(NoteEvent, content={"text": "said"}),
        make(
            IdentityEvent,
            definition="orders",
            definition_kind="workflow",
            native_key="key",
            native_id="key/1",
            trigger={"kind": "schedule"},
        ),
    )
]


@st.composite
def _nearly_events(draw: st.DrawFn) -> Any:
    """A sound event with some of its fields spoilt, left out, or added."""
    event = dict(draw(st.sampled_from(_SOUND)))
    for name in draw(st.lists(st.sampled_from([*event, "sequence", "producer", "odd"]), min_size=1, max_size=3)):
        if draw(st.booleans()):
            event[name] = draw(_values)
        else:
            event.pop(name, None)
    return event


_items = st.lists(_nearly_events() | _values | st.binary(max_size=100), min_size=1, max_size=4)


def test_no_event_spoils_the_store_or_another_event(store: Store) -> None:
    good = 0

    @MORE
    @given(_items)
    def ingest(items: list[Any]) -> None:
        nonlocal good
        good += 1
        name = f"good-{good}"
        sound = make(NoteEvent, run_id=a_run_id(name), content={"text": name}).model_dump(mode="json")
        outcomes = ingest_items(store, [*items, sound], principal="hostile")
        assert [outcome.index for outcome in outcomes] == list(range(len(items) + 1))
        assert outcomes[-1].status == "stored"
        assert all(outcome.reason for outcome in outcomes if outcome.status == "refused")

    ingest()
    found("ingest", batches=good)
    assert good > 50
    assert check_store(store) == []
