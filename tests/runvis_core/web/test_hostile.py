"""Whatever stands in a field, a page stays a page."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.faults.hostile import count_requests
from tests.faults.scale import ROUNDS, found
from tests.runvis_core.web.test_pages import Reader

from runvis_core.model.event import (
    AliasEvent,
    ArtifactEvent,
    ContextEvent,
    DatasetEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LogEvent,
    MetricEvent,
    NoteEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.state import State, TriggerKind
from runvis_core.services.ingest import ingest_events
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

MARKS = (
    "<script>alert(1)</script>", "</bdi></td></table>", "\"'><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "&lt;b&gt;",
    "\u202eesrever\u202c", "\u2066\u2067", "\x1b[31m", "\x07\x08\x0b", "\ufeff", "javascript:alert(1)", "<!--", "]]>",
    "שלום", "a" * 900, "\n\n\t", "../../etc/passwd", "%00%2e", "🙂" * 40, "é" * 30, "?a=b&c=d#e",
)  # fmt: skip
hostile = st.lists(
    st.sampled_from(MARKS) | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=20),
    min_size=1,
    max_size=4,
).map("".join)
names = hostile.map(lambda text: text[:1000] or "-")
words = hostile.map(lambda text: text[:250] or "-")

QUICK = settings(
    max_examples=10 * ROUNDS,
    # Each example asks a real server; what fails is told as it is.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def events_of(run: str, name: Callable[[], str], word: Callable[[], str], large: str) -> Iterable[EventBase]:
    fields: dict[str, Any] = {"run_id": a_run_id(run), "deployment": word(), "engine": word()}
    yield make(
        IdentityEvent,
        definition=name(),
        definition_kind=word(),
        native_key=name(),
        native_id=name(),
        trigger=Trigger(kind=TriggerKind.MANUAL, native=word()),
        content={"actor": name()},
        **fields,
    )
    yield make(
        ContextEvent,
        code={name(): name()},
        environment={name(): large},
        engine_context={"logical_date": name()},
        tags=(name(),),
        owner=word(),
        native_url=name(),
        content={"conf": {name(): [large]}, "parameters": large},
        **fields,
    )
    yield make(StateEvent, state=State.RUNNING, native_state=word(), **fields)
    yield make(DatasetEvent, direction="read", namespace=name(), name=name(), **fields)
    yield make(ArtifactEvent, name=name(), uri=name(), **fields)
    yield make(MetricEvent, name=name(), value=1.5, unit=word(), **fields)
    yield make(AliasEvent, system=word(), native_id=name(), **fields)
    yield make(NoteEvent, content={"text": large, "author": name()}, **fields)
    yield make(LogEvent, counts={word(): 3}, content={"tail": large}, url=name(), **fields)
    yield make(FailureEvent, error_type=name()[:250], content={"message": large, "traceback": large}, **fields)
    yield make(StateEvent, seconds=5, state=State.FAILED, native_state=word(), **fields)


@pytest.fixture
def serve(serve: Callable[..., httpx.Client]) -> Iterator[Callable[..., httpx.Client]]:
    """As everywhere, but that all requests are counted."""
    yield from count_requests(serve)


@pytest.fixture
def client(serve: Callable[..., httpx.Client]) -> httpx.Client:
    """One server for all examples."""
    return serve()


def own_elements(page: Reader) -> None:
    """Hold what must be true of a page, whatever the data in it."""
    assert page.open == []
    assert len(page.of("script")) == len(page.of("h1")) == len(page.of("main")) == 1
    assert not page.of("img")
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#", "http://", "https://"))
    text = "".join(page.words)
    assert not set(text) & {chr(code) for code in (0x202E, 0x2066, 0x2067, 0x1B, 0x07, 0x08)}


@QUICK
@given(st.lists(names, min_size=3, max_size=6), st.lists(words, min_size=3, max_size=6), st.integers(0, 2**32))
def test_no_field_s_content_breaks_a_page(
    client: httpx.Client,
    store: Store,
    some_names: list[str],
    some_words: list[str],
    seed: int,
) -> None:
    draw = random.Random(seed)
    # A store takes the same fact once; an example may come twice.
    run = f"hostile {uuid4()}"
    large = ("".join(some_names) * 1000)[:10_000]
    events = list(events_of(run, lambda: draw.choice(some_names), lambda: draw.choice(some_words), large))
    # A store refuses a name that no index can hold, and takes the rest.
    said = {outcome.status for outcome in ingest_events(store, events, principal="test")}
    assert "stored" in said
    assert said <= {"stored", "refused"}
    for address in ("/", "/runs", "/definitions", f"/runs/{a_run_id(run)}"):
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        page = Reader(answer.text)
        own_elements(page)
        for attributes in page.of("a"):
            href = attributes["href"] or ""
            if href.startswith("/definition?"):
                own_elements(Reader(client.get(href).text))
    found("paths, markup", payloads=len(events), escaped=0)


@given(hostile)
@QUICK
def test_no_parameter_breaks_a_page(client: httpx.Client, said: str) -> None:
    for path in ("/runs", "/definitions", "/definition", "/compare", "/sign-in", "/nowhere"):
        for name in ("definition", "cursor", "name", "right", "to", "since", "engine"):
            answer = client.get(path, params={name: said})
            assert answer.status_code in (200, 400, 404)
            own_elements(Reader(answer.text))
    found("paths, markup", payloads=1, escaped=0)
