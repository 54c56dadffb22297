"""Pages as they are served, without a browser."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.runvis_core.services.test_completeness import WORKER, a_life, numbered
from tests.runvis_core.services.test_definitions import started_from
from tests.runvis_core.web.histories import BAD, EXTRACT, FLOW, GOOD, STAGE_2, a_shop

from runvis_core.api.headers import SECURITY_HEADERS
from runvis_core.model.event import DatasetEvent, EventBase, FailureEvent, IdentityEvent, MetricEvent, StateEvent
from runvis_core.model.state import State, Witness
from runvis_core.services.entries import find_head
from runvis_core.services.filters import RunFilter
from runvis_core.services.sources import get_heard
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.runs import a_run
from runvis_core.web.assets import ASSETS
from runvis_core.web.pages import run as run_page

ADDRESSES = [
    "/",
    "/runs",
    "/runs?all=true",
    "/definitions",
    "/definition?name=shop",
    "/search?q=shop",
    f"/compare?left={GOOD}&right={BAD}",
    f"/runs/{BAD}",
    f"/runs/{FLOW}",
    f"/runs/{BAD}?known_at=20",
    "/?known_at=20",
    "/runs?as_of=2026-11-24T08:00:30Z",
    "/definition?name=shop&known_at=20",
    "/graph",
    "/graph?node=shop.extract",
    "/completeness",
]


class Reader(HTMLParser):
    """What a page is made of: its elements, and its text."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(client: httpx.Client, address: str, *, status: int = 200) -> Reader:
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    return Reader(answer.text)


def links_of(page: Reader) -> Iterator[str]:
    for attributes in page.of("a"):
        href = attributes["href"]
        assert href is not None
        if href.startswith("/"):
            yield href


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_is_well_formed_and_closed_to_what_is_not_ours(pages: httpx.Client, address: str) -> None:
    answer = pages.get(address)
    page = Reader(answer.text)
    assert page.open == []
    assert len(page.of("h1")) == len(page.of("main")) == 1
    assert SECURITY_HEADERS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
    assert answer.headers["Cache-Control"] == "private, no-store"
    # The policy forbids what stands in the page itself.
    assert not [tag for tag, attributes in page.elements if "style" in attributes]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert [attributes.get("src") for attributes in page.of("script")] == [ASSETS["runvis.js"].path]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_every_link_of_every_page_leads_to_a_page(pages: httpx.Client) -> None:
    seen: set[str] = set()
    waiting = list(ADDRESSES)
    while waiting and len(seen) < 40:
        address = waiting.pop(0)
        if address in seen:
            continue
        seen.add(address)
        # A run asked for without the one to compare it with leads on.
        answer = pages.get(address, follow_redirects=True)
        assert answer.status_code == 200, address
        page = Reader(answer.text)
        waiting += [href.partition("#")[0] for href in links_of(page)]
    assert len(seen) > 15


def test_the_files_of_a_page_are_ours_few_small_and_kept_for_good(pages: httpx.Client) -> None:
    page = pages.get(f"/runs/{BAD}")
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(named) + 1 <= 4
    sizes = [len(gzip.compress(page.content))]
    for path in named:
        answer = pages.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        sizes.append(len(gzip.compress(answer.content)))
    assert sum(sizes) <= 60 * 1024
    assert len(ASSETS["runvis.js"].content) <= 15 * 1024
    assert pages.get("/static/runvis.css").status_code == 404


def test_the_feed_shows_why_a_run_failed_without_a_click(pages: httpx.Client) -> None:
    page = read(pages, "/runs")
    rows = [attributes["data-run"] for attributes in page.of("tr") if "data-run" in attributes]
    assert rows == [str(FLOW), str(BAD), str(GOOD)]
    assert "shop.stage : ValueError: upstream returned 0 rows" in page.text
    assert "second line" not in page.text


def test_the_feed_unfolds_what_ran_inside(pages: httpx.Client) -> None:
    folded = read(pages, "/runs")
    unfold = next(href for href in links_of(folded) if f"open={BAD}" in href)
    opened = read(pages, unfold)
    inside = [attributes["data-run"] for attributes in opened.of("tr") if attributes.get("class") == "in"]
    assert len(inside) == 4
    assert str(STAGE_2) in inside
    for moment in ("", "&as_of=2026-11-24T09:00:00Z"):
        text = pages.get(f"{unfold.partition('#')[0]}{moment}").text
        assert re.findall(r'class="in">.*?c-try[^>]*>([^<]+)<', text, re.DOTALL) == ["1", "1/2", "2/2", "1"]
    again = next(href for href in links_of(opened) if f"#r{BAD}" in href)
    assert "open=" not in again
    everything = read(pages, "/runs?all=true")
    assert len([1 for attributes in everything.of("tr") if "data-run" in attributes]) == 7


def test_the_feed_keeps_its_filters_from_page_to_page(
    serve: Callable[..., httpx.Client], shop: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(shop, [_top(number) for number in range(55)])
    pages = serve()
    first = pages.get("/runs?engine=airflow&definition=many")
    href = next(href for href in links_of(Reader(first.text)) if "cursor=" in href)
    assert "definition=many" in href
    second = read(pages, href)
    shown = [attributes["data-run"] for attributes in second.of("tr") if "data-run" in attributes]
    assert len(shown) == 5
    assert not set(shown) & set(re.findall(r'data-run="([^"]+)"', first.text))


def _top(number: int) -> EventBase:
    return make(
        IdentityEvent,
        run_id=a_run_id(f"many {number}"),
        seconds=1000 + number,
        definition="many",
        definition_kind="dag",
        native_key=f"many/{number}",
        native_id=f"many/{number}",
    )


@pytest.mark.parametrize(
    ("address", "parameter"),
    [
        ("/runs?since=yesterday", "since"),
        ("/runs?state=Broken", "state"),
        ("/runs?colour=red", "colour"),
        ("/runs?cursor=abc", "cursor"),
        ("/runs?open=abc", "open"),
        ("/runs?top=true", "top"),
        ("/runs?engine=a&engine=b", "engine"),
        ("/definitions?cursor=abc", "cursor"),
        ("/definitions?colour=red", "colour"),
        ("/definition", "name"),
        ("/definition?name=shop&first_step=7", "first_step"),
        (f"/runs/{BAD}?after=-1", "after"),
        ("/runs?all=perhaps", "all"),
        ("/runs?live=1&as_of=2026-11-24T09:00Z", "live"),
    ],
)
def test_what_can_t_be_asked_is_said_by_name_and_the_rest_is_kept(
    pages: httpx.Client, address: str, parameter: str
) -> None:
    page = read(pages, f"{address}{'&' if '?' in address else '?'}deployment=test", status=400)
    assert f"{parameter}:" in page.text
    back = next((href for href in links_of(page) if "deployment=test" in href), None)
    assert back is not None
    assert f"{parameter}=" not in back


@pytest.mark.parametrize(
    "since", ["2026-11-24", "2026-11-24T00:00", "2026-11-24 00:00", "2026-11-24T00:00:00Z", "2026-11-24T01:00+01:00"]
)
def test_a_moment_without_a_zone_is_utc(pages: httpx.Client, since: str) -> None:
    answer = pages.get("/runs", params={"since": since})
    assert str(BAD) in answer.text
    assert str(GOOD) not in answer.text


def test_a_page_is_counted_under_its_route(pages: httpx.Client) -> None:
    for address in ("/", f"/runs/{BAD}", "/definition?name=shop", "/sign-in"):
        read(pages, address)
    said = pages.get("/metrics").text
    for route in ("/", "/runs/{name}", "/definition", "/sign-in"):
        assert f'runvis_request_seconds_count{{method="GET",route="{route}",status="200"}}' in said, route
    assert 'route="other"' not in said


def test_a_link_that_names_a_deployment_leads_to_its_run_among_those_of_that_name(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    west, east = a_run_id("west"), a_run_id("east")
    named = {
        "definition": "etl.load",
        "definition_kind": "task",
        "native_id": "etl/r1/load/-1/1",
        "native_key": "etl/r1/load/-1",
    }
    record(
        store,
        [
            event
            for run, deployment in ((west, "west"), (east, "east"))
            for event in (
                make(IdentityEvent, run_id=run, deployment=deployment, **named),
                make(StateEvent, run_id=run, deployment=deployment, state=State.FAILED),
            )
        ],
    )
    pages = serve()
    assert "Which one is meant?" in read(pages, "/runs/etl/r1/load/-1/1", status=404).text
    engine = make(StateEvent, run_id=west, state=State.FAILED).engine
    for run, deployment in ((west, "west"), (east, "east")):
        asked = {"engine": engine, "deployment": deployment, "known_at": "4"}
        answer = pages.get("/runs/etl/r1/load/-1/1", params=asked)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{run}?known_at=4")
    elsewhere = read(pages, "/runs/etl/r1/load/-1/1?deployment=north", status=404)
    assert f"/search?q={west}" in list(links_of(elsewhere))
    assert pages.get("/runs/x", params={"deployment": ["a", "b"]}).status_code == 400


@pytest.mark.parametrize(
    ("address", "parameter"),
    [
        ("/?engine=airflow", "engine"),
        ("/?live=1&known_at=5", "live"),
        (f"/runs/{BAD}?state=Failed", "state"),
        (f"/runs/{BAD}?live=1&known_at=20", "live"),
        (f"/runs/{BAD}?from=30", "from"),
    ],
)
def test_a_page_does_not_leave_out_what_it_is_asked(pages: httpx.Client, address: str, parameter: str) -> None:
    page = read(pages, address, status=400)
    assert f"{parameter}:" in page.text
    assert all(f"{parameter}=" not in href for href in links_of(page))


def test_what_is_allowed_is_what_the_page_takes(pages: httpx.Client) -> None:
    said = re.search("there are ([a-z_, ]+)", read(pages, "/runs?colour=red", status=400).text)
    assert said
    allowed = said[1].strip().split(", ")
    assert "top" not in allowed
    values = {"state": "Failed", "trigger": "api", "open": str(BAD), "live": "1", "parent": str(BAD), "cursor": None}
    moments = dict.fromkeys(("since", "until", "as_of", "known_at"), "2026-11-24T09:00Z")
    flags = dict.fromkeys(("silent", "conflicting", "unnamed", "all"), "true")
    for name in allowed:
        value = {**values, **moments, **flags}.get(name, "x")
        if value is not None:
            assert pages.get("/runs", params={name: value}).status_code == 200, name


def test_the_form_of_filters_keeps_each_of_them(pages: httpx.Client) -> None:
    asked = {
        "engine": "airflow",
        "deployment": "test",
        "definition": "shop.stage",
        "kind": "task",
        "parent": str(BAD),
        "text": "rows",
        "native_state": "failed",
        "tag": "x",
        "since": "2026-11-24",
        "until": "2026-11-25",
        "correlation": "0" * 32,
        "trigger": "api",
        "state": "failed",
        **dict.fromkeys(("silent", "conflicting", "unnamed", "all"), "1"),
    }
    assert asked.keys() == {*RunFilter.model_fields, "all"} - {"top"}
    page = pages.get("/runs", params=asked).text
    form = page[page.index('class="filters"') :].partition("</form>")[0]
    kept = dict(re.findall(r'<input name="(\w+)" value="([^"]+)"', form))
    kept |= dict.fromkeys(re.findall(r'<input type="checkbox" name="(\w+)" value="true" checked', form), "1")
    kept["trigger"] = "".join(re.findall(r"<option selected>(\w+)", form))
    kept["state"] = "".join(re.findall(r'name="state" value="(\w+)" checked', form)).lower()
    assert kept == asked


def test_a_try_is_told_of_among_those_that_there_were(
    store: Store, record: Callable[[Store, Iterable[EventBase]], None], serve: Callable[..., httpx.Client]
) -> None:
    for attempt in (2, 3):
        record(store, a_run(f"try {attempt}", begins=attempt, attempt=attempt, key="etl"))
    pages = serve()
    for past in ("", "&known_at=4"):
        tries = re.findall(r'data-label="Try">([^<]+)<', pages.get(f"/runs?all=true{past}").text)
        assert tries == (["2/2"] if past else ["3/3", "2/3"])
    facts = read(pages, f"/runs/{a_run_id('try 2')}").text
    assert "Attempt 2 of 3" in facts


@pytest.mark.parametrize("name", ["as_of", "known_at"])
def test_the_moment_of_a_past_without_a_zone_is_utc_too(pages: httpx.Client, name: str) -> None:
    for moment in ("2026-11-24T08:00:30", "2026-11-24 08:00:30", " 2026-11-24T08:00:30Z "):
        answer = pages.get("/runs", params={"as_of": "2026-11-24T09:00Z", name: moment})
        assert answer.status_code == 200, answer.text
    assert "As of 24 Nov 2026 08:00:30 UTC" in pages.get("/runs", params={"as_of": "2026-11-24 08:00:30"}).text
    assert "As known at position 20." in pages.get("/runs", params={"known_at": " 20 "}).text


@pytest.mark.parametrize(
    ("path", "name"),
    [("/runs", "since"), ("/runs", "as_of"), ("/graph", "known_at"), ("/", "as_of"), ("/completeness", "until")],
)
@pytest.mark.parametrize("said", ["yesterday", "13:48", "2026-11-31", "2026-11-24T25:00", "2026-11-24T08:00 CET"])
def test_what_is_no_moment_is_answered_with_how_one_is_spelled(
    pages: httpx.Client, path: str, name: str, said: str
) -> None:
    answer = pages.get(path, params={name: said, "engine": "airflow"})
    assert answer.status_code == 400
    page = Reader(answer.text)
    position = "a position of the log, as 120, or " if name == "known_at" else ""
    assert f"{name}: must be {position}a moment, as 2026-11-24 or 2026-11-24 08:00, which are UTC" in page.text
    assert f"{path}?engine=airflow" in list(links_of(page))


def test_a_run_that_there_is_not_is_told_of_with_near_ones(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{str(BAD)[:10]}00", status=404)
    assert "Which one is meant?" in page.text
    assert f"/search?q={BAD}" in list(links_of(page))
    assert "There is no such thing" in read(pages, f"/runs/{uuid4()}", status=404).text
    assert "There is no such page" in read(pages, "/nowhere", status=404).text


def test_other_callers_see_problems_as_before(pages: httpx.Client) -> None:
    answer = pages.get("/api/v1/nowhere")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert pages.get("/nowhere", headers={"Accept": "*/*"}).headers["Content-Type"] == "application/problem+json"


def test_a_run_has_its_own_address_whatever_it_was_asked_by(pages: httpx.Client) -> None:
    for name in (str(BAD)[:12], "dag_run/shop/2"):
        answer = pages.get(f"/runs/{name}")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{BAD}")


def test_a_run_says_why_it_ended_this_way(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{BAD}")
    assert "Failed: shop.stage attempt 2, ValueError: upstream returned 0 rows; 1 step not run." in page.text
    assert f"/runs/{STAGE_2}" in list(links_of(page))
    assert "Waiting to try again 35 s" in page.text
    assert "https://airflow.example/dags/shop/runs/2" in [attributes["href"] for attributes in page.of("a")]
    rows = [str(attributes.get("class")) for attributes in page.of("tr") if "data-run" in attributes]
    assert rows[0].strip() == "d0"
    assert sum("crosses" in row for row in rows) == 1


def test_a_run_shows_who_said_what_where_they_disagree(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{FLOW}")
    assert "The sources disagree: recorded as Succeeded, and follower said Failed" in page.text
    assert "Failed | 1 of 2 sources" in page.text
    assert re.search(r"Failed, was succeeded until .*\d\d:\d\d:\d\d", page.text)
    assert "What decided: those who told how it ended disagree" in page.text
    hashes = {word["leaf_hash"] for word in pages.get(f"/api/v1/runs/{FLOW}").json()["testimony"]}
    assert len(hashes) == 2
    assert hashes <= {attributes.get("title") for attributes in page.of("code")}
    assert "froze the run" in page.text
    assert "disagrees" in page.text


def test_a_failed_step_shows_its_failure_and_what_contains_it(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{STAGE_2}")
    assert "Failed: ValueError: upstream returned 0 rows." in page.text
    assert "in stage" in page.text
    assert f"/runs/{BAD}" in list(links_of(page))
    data = read(pages, f"/runs/{EXTRACT}")
    assert "s3://raw" in data.text


def test_all_of_a_run_s_page_is_of_one_moment(
    pages: httpx.Client,
    shop: Store,
    record: Callable[[Store, Iterable[EventBase]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = find_head(shop)
    events_of = run_page.find_run_entries

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        record(shop, [make(MetricEvent, run_id=BAD, name="meanwhile", value=1.0)])
        return events_of(*arguments, **options)

    address = f"/runs/{BAD}?after={before - 1}"
    with monkeypatch.context() as patched:
        patched.setattr(run_page, "find_run_entries", meanwhile)
        page = pages.get(address).text
    assert "meanwhile" not in page
    assert f"known_at={before}&" in page.replace("&amp;", "&") or f'known_at={before}"' in page
    assert find_head(shop) == before + 1
    assert "meanwhile" in pages.get(address).text


def test_a_run_s_entries_are_paged(pages: httpx.Client) -> None:
    answer = pages.get(f"/runs/{BAD}?after=1000000")
    assert answer.status_code == 200
    assert "No later ones." in answer.text


def test_the_overview_says_what_fails_and_since_when_it_did_not(pages: httpx.Client) -> None:
    page = read(pages, "/")
    # The shop's last run failed, and so, by the latest word on it, did the flow.
    assert re.search(r"2 definitions failing ; all 2 sources heard from within [\d.]+ m?s \.", page.text)
    assert "ValueError: upstream returned 0 rows" in page.text
    assert f"/compare?left={GOOD}&right={BAD}" in list(links_of(page))
    for href in links_of(page):
        if href.startswith("/runs?"):
            assert read(pages, href)


def test_an_empty_store_teaches_the_next_line(serve: Callable[..., httpx.Client]) -> None:
    pages = serve()
    for address in ("/", "/runs", "/definitions", "/graph", "/completeness"):
        assert f"RUNVIS_URL={str(pages.base_url).rstrip('/')}" in read(pages, address).text
    assert "Nothing was recorded yet" in read(pages, "/").text


def test_a_thousand_spans_weigh_little_and_what_is_beyond_is_folded(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(store, list(wide_tree(groups=5, tasks=300)))
    answer = serve().get(f"/runs/{a_run_id('wide')}", headers={"Accept-Encoding": "identity"})
    rows = answer.text.count("<tr data-run=")
    assert rows == 1000
    assert len(gzip.compress(answer.content)) <= 60 * 1024
    folded = sum(int(count) for count in re.findall(r"\+(\d+) inside", answer.text))
    assert rows + folded == 1 + 5 + 5 * 300


def test_a_run_with_more_tasks_than_are_shown_shows_what_failed_and_where_its_time_went(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    broken = (700, 701, 750)
    events = a_run("wide", begins=0, seconds=8000, state=State.FAILED)
    for number in range(800):
        state = State.FAILED if number in broken else State.SUCCEEDED
        task = {"definition": f"etl.t{number:03}", "kind": "task", "inside": "wide"}
        events += a_run(f"t{number}", begins=10 * number, state=state, **task)
    record(store, events)
    pages = serve()
    address = f"/runs/{a_run_id('wide')}"
    pinned = f"known_at={find_head(store)}"
    for query, then in (("", ""), (f"?{pinned}", f"&{pinned}")):
        page = read(pages, f"{address}{query}")
        shown = [attributes["data-run"] for attributes in page.of("tr") if "data-run" in attributes]
        assert {str(a_run_id(f"t{number}")) for number in (*broken, 0, 496)} <= set(shown)
        assert "501 rows, and 300 runs not shown, from" in page.text
        labels = [attributes.get("aria-label") for attributes in page.of("svg") if "budget" in str(attributes)]
        assert labels == [
            "Running 2 h 13 m, Waiting to try again 0 ms, Waiting for a worker 0 ms, Nothing going on 0 ms"
        ]
        inside = f"/runs?parent={a_run_id('wide')}&all=true{then}"
        assert inside in list(links_of(page))
        assert f"/runs/{a_run_id('t799')}{query}" in [href.partition("#")[0] for href in links_of(read(pages, inside))]


def wide_tree(*, groups: int, tasks: int) -> Iterator[EventBase]:
    def run(name: str, parent: str | None, seconds: float) -> Iterator[EventBase]:
        fields: dict[str, Any] = {"run_id": a_run_id(name), "witness": Witness.SCHEDULER}
        said = {"definition": name, "definition_kind": "task", "native_key": name, "native_id": name}
        above = a_run_id(parent) if parent else None
        yield make(IdentityEvent, seconds=seconds, parent_run_id=above, **said, **fields)
        yield make(StateEvent, seconds=seconds + 1, state=State.RUNNING, **fields)
        yield make(StateEvent, seconds=seconds + 2, state=State.SUCCEEDED, **fields)

    yield from run("wide", None, 0)
    for group in range(groups):
        yield from run(f"wide.g{group}", "wide", group)
        for task in range(tasks):
            yield from run(f"wide.g{group}.t{task}", f"wide.g{group}", group + task / 100)


def test_markup_in_a_failure_is_text(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    said = "</bdi><script>alert(1)</script>"
    events = [
        _top(1),
        make(FailureEvent, run_id=a_run_id("many 1"), error_type=said, content={"message": said}),
        make(StateEvent, run_id=a_run_id("many 1"), state=State.FAILED),
    ]
    record(store, events)
    pages = serve()
    for address in ("/", "/runs", f"/runs/{a_run_id('many 1')}"):
        page = read(pages, address)
        assert said in "".join(page.words)
        assert len(page.of("script")) == 1


def test_a_comparison_and_a_search_refuse_what_they_don_t_know(pages: httpx.Client) -> None:
    for address in (f"/compare?left={GOOD}&right={BAD}&bogus=1", "/search?q=shop&bogus=1"):
        page = read(pages, address, status=400)
        assert "bogus: there is no such parameter here" in page.text
        assert address.removesuffix("&bogus=1") in list(links_of(page))
    assert "of each sort 10 at most" in read(pages, "/search?q=shop").text


def test_a_run_that_goes_on_is_drawn_until_now_beside_another(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(store, a_run("good", begins=0, seconds=600))
    record(store, a_run("good load", begins=5, definition="etl.load", kind="task", inside="good"))
    begins = (datetime.now(UTC) - at(0)).total_seconds() - 1200
    record(store, a_run("going on", begins=begins, state=None))
    page = read(serve(), f"/compare?left={a_run_id('good')}&right={a_run_id('going on')}")
    steps = page.text.partition("Step by step")[2]
    assert "not so far" in steps
    assert re.search(r"Running\s+– 20 m \d+ s", steps)
    widths = [
        float((one["width"] or "").rstrip("%")) for one in page.of("rect") if one.get("class", "") == "b-ran running"
    ]
    assert [width > 99 for width in widths] == [True]


def test_a_failed_run_is_compared_with_the_last_that_went_well(pages: httpx.Client) -> None:
    href = next(href for href in links_of(read(pages, f"/runs/{BAD}")) if href.startswith("/compare"))
    assert href == f"/compare?left={GOOD}&right={BAD}"
    assert pages.get(f"/compare?right={BAD}").headers["Location"] == href
    page = read(pages, href)
    assert "They part first at conf.day" in page.text
    assert "+1 m 13 s" in page.text
    titles = ("They part first: inputs", "How it ended", "Waiting for a worker", "Duration", "What differs between any")
    said = [page.text.index(title) for title in titles if title in page.text]
    assert len(said) > 2
    assert said == sorted(said)
    waits = [one for one in page.of("rect") if one.get("class") == "b-queued"]
    ran = [one for one in page.of("rect") if (one.get("class") or "").startswith("b-ran")]
    assert waits
    ends = {f"{float((one['x'] or '')[:-1]) + float((one['width'] or '')[:-1]):.1f}" for one in waits}
    assert ends <= {f"{float((one['x'] or '')[:-1]):.1f}" for one in ran}
    swapped = next(href for href in links_of(page) if href.startswith("/compare"))
    assert "−1 m 13 s" in read(pages, swapped).text


def test_a_comparison_needs_a_run(pages: httpx.Client) -> None:
    assert "right:" in read(pages, "/compare", status=400).text
    assert "There is no such thing" in read(pages, f"/compare?right={uuid4()}", status=404).text
    assert "There is no such thing" in read(pages, f"/compare?right={GOOD}", status=404).text


def test_a_run_that_never_went_well_before_leads_to_no_comparison(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{STAGE_2}")
    assert "What differs from the last" not in page.text
    assert not [href for href in links_of(page) if href.startswith("/compare")]


def test_what_failed_inside_is_the_reason_where_the_engine_says_no_more_than_that(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    said = {"error_type": "task_failure", "content": {"message": "a task of the DAG run failed"}}
    record(store, [*a_shop(), make(FailureEvent, witness=Witness.SCHEDULER, run_id=BAD, seconds=134, **said)])
    pages = serve()
    for then in ("", f"?known_at={get_heard(store).position}"):
        run = read(pages, f"/runs/{BAD}{then}")
        assert "Failed: shop.stage attempt 2, ValueError: upstream returned 0 rows; 1 step not run." in run.text
        assert "The engine says of the whole: task_failure" in run.text
        assert f"/runs/{STAGE_2}{then}" in list(links_of(run))
        for address in ("/", "/runs"):
            page = read(pages, f"{address}{then}")
            assert "ValueError: upstream returned 0 rows" in page.text, address
            assert "task_failure" not in page.text, address


def test_a_name_that_means_several_leads_to_each_of_them(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    for engine in ("airflow", "prefect"):
        record(store, a_run(f"orders of {engine}", begins=0, definition="orders", engine=engine))
    record(
        store,
        [
            make(
                DatasetEvent,
                run_id=a_run_id(f"orders of {name}"),
                engine=name,
                direction="write",
                namespace="s3://shop",
                name="out",
                seconds=5,
            )
            for name in ("airflow", "prefect")
        ],
    )
    pages = serve()
    page = read(pages, "/graph?node=orders&depth=1", status=404)
    assert "Which one is meant?" in page.text
    ways = [href for href in links_of(page) if href.startswith("/graph?")]
    assert len(ways) == 2
    assert {"orders" in read(pages, href).text for href in ways} == {True}
    assert all("depth=1" in href for href in ways)


def test_each_number_of_the_overview_leads_to_a_feed_of_as_many_runs(pages: httpx.Client) -> None:
    page = pages.get("/").text
    counted = re.findall(
        r'<a class="(?:go|failed)" href="(/runs\?[^"]*since=[^"]*)">[^<]*</a></t[hd]>'
        r'(?:<td class="num" data-label="Runs">(?:<a href="[^"]+">)?(\d+))?',
        page,
    )
    days = [(unescape(href), int(count)) for href, count in counted if count]
    failed = re.findall(r'<a class="failed" href="([^"]+)">(\d+)</a>', page)
    assert len(days) >= 3
    assert len(failed) >= 2
    for href, count in [*days, *((unescape(href), int(count)) for href, count in failed)]:
        rows = [attributes for attributes in read(pages, href).of("tr") if "data-run" in attributes]
        assert len(rows) == count, href


def test_a_definition_shows_all_attempts_of_each_step(pages: httpx.Client) -> None:
    page = read(pages, "/definition?name=shop")
    labels = [attributes.get("aria-label") or "" for attributes in page.of("a")]
    assert "stage: To be retried, Failed" in [label.removeprefix("shop.") for label in labels]
    assert sum(label.startswith("run of") for label in labels) == 2


def test_a_search_leads_straight_to_an_id_and_lists_what_else_it_names(pages: httpx.Client) -> None:
    assert pages.get(f"/search?q={BAD}").headers["Location"] == f"/runs/{BAD}"
    named = read(pages, "/search?q=shop")
    assert any(href.startswith("/definition?name=shop&") for href in links_of(named))
    assert f"/runs/{STAGE_2}" in list(links_of(read(pages, "/search?q=upstream returned")))
    (dataset,) = (href for href in links_of(read(pages, "/search?q=orders")) if href.startswith("/graph?"))
    assert "shop.extract" in read(pages, dataset).text
    assert pages.get("/search", params={"q": "s3://raw/orders"}).headers["Location"] == dataset
    assert "definition shop airflow" in " ".join(named.text.split())
    assert "Nothing is named by" in read(pages, "/search?q=nobody-knows-this").text
    assert "Give an id" in read(pages, "/search").text


def test_the_past_is_shown_as_it_was_and_says_that_it_is(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{BAD}?as_of=2026-11-24T08:00:30Z")
    assert "Running for 29 s." in page.text
    assert "As of 24 Nov 2026 08:00:30 UTC. Return to now" in page.text
    for wrong in ("as_of=2999-01-01T00:00:00Z", "known_at=1000000", "as_of=then"):
        assert "as_of" in read(pages, f"/runs/{BAD}?{wrong}", status=400).text or "known_at" in wrong


def test_the_graph_of_a_step_is_drawn_and_told(pages: httpx.Client) -> None:
    page = read(pages, "/graph?node=shop.extract")
    assert len(page.of("marker")) == 2
    assert {"orders", "forecast", "shop.extract"} <= set(page.words)
    assert "shop.extract airflow starts forecast prefect 1" in page.text
    # The same moment of the log gives the same drawing.
    again = read(pages, "/graph?node=shop.extract")
    assert page.of("path") == again.of("path")
    assert page.of("rect") == again.of("rect")
    assert "There is no such thing" in read(pages, "/graph?node=nowhere", status=404).text
    assert "depth:" in read(pages, "/graph?node=shop.extract&depth=9", status=400).text


def test_a_loop_through_two_engines_is_drawn_as_one(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(store, list(loop_events()))
    pages = serve()
    loops = read(pages, "/graph")
    assert "and again" in loops.text
    node = next(href for href in links_of(loops) if href.startswith("/graph?node="))
    page = read(pages, node)
    assert "Loop, 2 nodes" in page.text
    assert sum(attributes.get("class") == "edge back" for attributes in page.of("path")) == 1
    assert sum(attributes.get("class") == "frame" for attributes in page.of("rect")) == 1


def loop_events() -> Iterator[EventBase]:
    cause = None
    for turn, (name, engine) in enumerate([("plan", "airflow"), ("learn", "prefect")] * 2):
        run = a_run_id(f"turn {turn}")
        fields: dict[str, Any] = {"run_id": run, "engine": engine, "seconds": turn * 10}
        yield make(
            IdentityEvent,
            definition=name,
            definition_kind="flow",
            native_key=f"turn/{turn}",
            native_id=f"turn/{turn}",
            caused_by_run_id=cause,
            **fields,
        )
        yield make(StateEvent, state=State.SUCCEEDED, **fields)
        cause = run


def test_completeness_counts_against_what_was_numbered(pages: httpx.Client) -> None:
    page = read(pages, "/completeness?since=2026-11-20")
    assert "100%" not in page.text
    for by in ("definition", "producer"):
        assert read(pages, f"/completeness?by={by}")
    assert "since:" in read(pages, "/completeness?since=then", status=400).text


def test_a_gap_leads_to_the_runs_that_it_makes_uncertain(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    told = numbered(WORKER, a_life())
    record(store, [*told[:2], *told[4:]])
    page = read(serve(), "/completeness?since=2026-11-01")
    hour = next(attributes for attributes in page.of("a") if "2 numbers missing" in (attributes.get("title") or ""))
    assert hour["href"] is not None
    assert hour["href"].startswith("/runs?engine=airflow")
    beside = "beside the gap, in the list of such runs, and as the last one that the worker told of"
    assert list(links_of(page)).count(f"/runs/{a_run_id('run')}") == 3, beside
    assert "2 missing and 0 refused of 5 numbered events" in page.text
    assert sum("h-quiet" in (attributes.get("class") or "") for attributes in page.of("td")) >= 22
    # However it is kept, and with the same filters.
    for by in ("definition", "producer"):
        address = f"/completeness?since=2026-11-01&by={by}"
        assert address in list(links_of(page))
        other = read(serve(), address)
        assert "2 missing and 0 refused of" in other.text
        assert list(links_of(other)).count(f"/runs/{a_run_id('run')}") == 3, beside


def test_a_definition_shows_how_long_it_takes(pages: httpx.Client) -> None:
    page = read(pages, "/definition?name=shop")
    assert "2 runs from" in page.text
    # One of a minute, one of 2 m 13 s the day after; what the rollups say is within 1 %.
    assert re.search(r": half ran (1 m 0|1 m 1|59) s or less \(p50\), and 19 of 20 ran", page.text)
    assert re.search(r"24 Nov: 1 run: half ran 2 m 1[234] s or less", page.text)
    # One page has one median: that of the recent runs stands where no trend does.
    assert "half of them" not in page.text
    assert "half of them ran" in read(pages, "/definition?name=shop&known_at=20").text
    assert re.search(r"24 Nov 1 1 2 m 1[234] s 2 m 1[234] s", page.text), "the table says it, too"
    days = [attributes for attributes in page.of("svg") if attributes.get("height") == "100%"]
    assert len(days) == 14


def test_what_the_engine_s_server_alone_told_of_is_said_where_it_counts(
    serve: Callable[..., httpx.Client], store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(store, started_from("flow/a", 1, Witness.FOLLOWER))
    record(store, started_from("flow/b", 2, Witness.FOLLOWER, Witness.WORKER))
    pages = serve()
    told = read(pages, "/completeness?since=2026-11-20").text.partition("By whose word")[2]
    assert re.search(r"flow/a airflow test 1 server only .*flow/b airflow test 1 follower, worker", told)
    flow = read(pages, "/definition?name=flow").text
    assert "Told by follower, worker." in flow
    assert "flow/a 1 server only" in flow
    overview = read(pages, "/")
    assert "/completeness?engine=airflow&deployment=test#told" in list(links_of(overview))
    assert "follower, worker" in overview.text


def test_completeness_claims_nothing_where_nobody_numbers(pages: httpx.Client) -> None:
    page = read(pages, "/completeness?since=2026-11-20")
    assert "Nobody numbered their events in this time" in page.text
    hours = page.text.partition("Hour by hour")[2].partition("By deployment and day")[0]
    assert "airflow test" in hours
    assert "prefect flows" in hours
    assert "nobody numbered" in hours


def test_pages_say_which_run_of_a_mapped_step_they_mean(
    store: Store, serve: Callable[..., httpx.Client], record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    whole, failed = a_run_id("whole"), a_run_id("failed part")
    ends = [(whole, State.FAILED), (failed, State.FAILED)]
    dag_run = {"native_key": "etl/r1", "native_id": "etl/r1", "definition_kind": "dag"}
    part = {"native_key": "etl/r1/load/3", "native_id": "etl/r1/load/3/1", "definition_kind": "task"}
    record(
        store,
        [
            make(IdentityEvent, run_id=whole, definition="etl", **dag_run),
            make(IdentityEvent, run_id=failed, definition="etl.load", attempt=1, parent_run_id=whole, **part),
            *(make(StateEvent, seconds=1, run_id=run_id, state=State.RUNNING) for run_id, _ in ends),
            make(FailureEvent, seconds=2, run_id=failed, content={"message": "no such row"}),
            *(make(StateEvent, seconds=3, run_id=run_id, state=state) for run_id, state in reversed(ends)),
        ],
    )
    pages = serve()
    for address in ("/runs", "/runs?all=true", f"/runs/{whole}", f"/runs/{failed}", "/search?q=such+row"):
        assert "etl.load[3]" in read(pages, address).text, address
    past = f"/runs/{whole}?known_at=7"
    assert "etl.load[3]" in read(pages, past).text


@pytest.mark.parametrize(
    ("failure", "said"),
    [({"content": {"message": "the worker is gone"}}, "the worker is gone"), ({"error_type": "OOM"}, "OOM")],
    ids=["no type", "no words"],
)
def test_a_failure_may_lack_its_type_or_its_words(
    store: Store,
    serve: Callable[..., httpx.Client],
    record: Callable[[Store, Iterable[EventBase]], None],
    failure: dict[str, Any],
    said: str,
) -> None:
    named = {"definition": "etl", "definition_kind": "dag", "native_key": "etl/r1", "native_id": "etl/r1"}
    told = [
        make(IdentityEvent, **named),
        make(StateEvent, seconds=1, state=State.RUNNING),
        make(FailureEvent, seconds=2, **failure),
        make(StateEvent, seconds=3, state=State.FAILED),
    ]
    record(store, told)
    pages = serve()
    for address in ("/", "/runs", f"/runs/{a_run_id()}"):
        for pin in ("", f"?known_at={len(told)}"):
            assert said in read(pages, address + pin).text, address + pin
