"""The graph's pages: groups, loops drawn as loops, edges that open their runs, turns as runs in time, and the past."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from math import hypot
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.runvis_core.lineage.tables import an_identity
from tests.runvis_core.web.conftest import running
from tests.runvis_core.web.test_pages import Reader, links_of, read

from runvis_core.client import Client
from runvis_core.model.event import DatasetEvent, EventBase, StateEvent
from runvis_core.model.state import State
from runvis_core.services.lineage_answers import LineageQuery, PastEdgeQuery
from runvis_core.services.past_filter import PastFilter
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.web.pages.graph import MAX_LOOPS

Record = Callable[[Store, Iterable[EventBase]], None]
Serve = Callable[..., httpx.Client]


def turning(*definitions: str, first: int = 0) -> Iterator[EventBase]:
    """One run after the other, each caused by the one before, each of ten seconds; Prefect's are upper case."""
    for number, name in enumerate(definitions, first):
        engine = "prefect" if name.isupper() else "airflow"
        cause = {"caused_by_run_id": a_run_id(str(number - 1))} if number > first else {}
        yield an_identity(number, name, engine=engine, seconds=number * 60, **cause)
        for state, seconds in ((State.RUNNING, number * 60), (State.SUCCEEDED, number * 60 + 10)):
            yield make(StateEvent, run_id=a_run_id(str(number)), engine=engine, seconds=seconds, state=state)


def writing(number: int, *names: str) -> list[EventBase]:
    run, written = a_run_id(str(number)), {"direction": "write", "namespace": "s3://lake"}
    return [make(DatasetEvent, run_id=run, seconds=number * 60 + 5, name=name, **written) for name in names]


def of_class(page: Reader, tag: str, name: str) -> list[dict[str, str | None]]:
    return [one for one in page.of(tag) if name in (one.get("class") or "").split()]


def path_of(address: str | None) -> str:
    return urlsplit(address or "").path


def test_the_edge_that_closes_a_turn_is_the_arc_under_the_frame(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning("plan", "LEARN", "plan", "LEARN"))
    page = read(serve(), "/graph?node=plan")
    assert "Loop, 2 nodes, last turned 08:03" in page.text
    assert page.text.count("feeds the next run") == 2  # under the arc, and as its title
    (frame,) = of_class(page, "rect", "frame")
    (arc,) = of_class(page, "path", "back")
    bottom = float(frame["y"] or 0) + float(frame["height"] or 0)
    (words,) = of_class(page, "text", "feeds")
    assert "C" in (arc["d"] or "")
    assert float(words["y"] or 0) > bottom
    (forth,) = [one for one in of_class(page, "path", "edge") if one is not arc]
    assert "C" not in (forth["d"] or "")


def test_what_leads_to_itself_has_an_arc_at_its_right(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning("again", "again"))
    page = read(serve(), "/graph?node=again")
    assert "Loop, 1 node, last turned 08:01" in page.text
    (box,) = of_class(page, "rect", "centre")
    (arc,) = of_class(page, "path", "back")
    right = float(box["x"] or 0) + float(box["width"] or 0)
    assert (arc["d"] or "").startswith(f"M{right:.1f} ")


def test_a_loop_is_drawn_however_many_others_turned_after_it(store: Store, record: Record, serve: Serve) -> None:
    others = (f"{name}_{number}" for number in range(MAX_LOOPS + 1) for name in ("there", "back", "there"))
    record(store, turning("plan", "learn", "plan"))
    record(store, turning(*others, first=3))
    page = read(serve(), "/graph?node=plan&depth=1")
    assert "Loop, 2 nodes, last turned 08:02" in page.text
    assert len(of_class(page, "path", "back")) == 1


def points_of(path: dict[str, str | None]) -> list[tuple[float, float]]:
    numbers = [float(number) for number in (path["d"] or "").lstrip("M").replace("L", " ").split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_no_line_runs_through_a_loops_title_and_each_ends_at_the_edge_of_a_dataset(
    store: Store, record: Record, serve: Serve
) -> None:
    record(store, turning("restock", "FORECAST", "restock", "FORECAST", "restock"))
    read_back = {"direction": "read", "namespace": "s3://shop", "name": "stock"}
    for number, direction in ((1, "write"), (2, "read"), (3, "write"), (4, "read")):
        engine = "prefect" if number % 2 else "airflow"
        told = {**read_back, "direction": direction, "engine": engine}
        record(store, [make(DatasetEvent, run_id=a_run_id(str(number)), seconds=number * 60 + 5, **told)])
    page = read(serve(), "/graph?node=restock")
    assert "restock → FORECAST → and again, also through s3://shop/stock" in " ".join(page.text.split())
    (title,) = [one for one in of_class(page, "text", "said-of") if "feeds" not in (one["class"] or "")]
    left, base = float(title["x"] or 0), float(title["y"] or 0)
    (dataset,) = of_class(page, "rect", "dataset")
    x, y, width, height, rounded = (float(dataset[name] or 0) for name in ("x", "y", "width", "height", "rx"))
    touching = 0
    for points in (points_of(one) for one in of_class(page, "path", "edge") if "C" not in (one["d"] or "")):
        for (from_x, from_y), (to_x, to_y) in pairwise(points):
            is_beside = max(from_x, to_x) < left or min(from_x, to_x) > left + 200
            assert is_beside or max(from_y, to_y) < base - 10 or min(from_y, to_y) > base + 3
        for end_x, end_y in (points[0], points[-1]):
            if x - 1 <= end_x <= x + width + 1 and y - 1 <= end_y <= y + height + 1:
                touching += 1
                corner_x = min(max(end_x, x + rounded), x + width - rounded)
                corner_y = min(max(end_y, y + rounded), y + height - rounded)
                assert hypot(end_x - corner_x, end_y - corner_y) == pytest.approx(rounded, abs=0.2) or (
                    end_x in (x, x + width) or end_y in (y, y + height)
                )
    assert touching == 2


def test_a_name_of_several_is_asked_back_by_what_they_are_called(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning("plan", "PLAN", "returns"))
    record(store, [an_identity(7, "plan", engine="prefect")])
    pages = serve()
    page = read(pages, "/graph?node=plan", status=404)
    assert "Which one is meant?" in page.text
    assert {"plan (airflow test)", "plan (prefect test)"} <= {word.strip() for word in page.words}
    meant = [href for href in links_of(page) if href.startswith("/graph?node=")]
    assert len([read(pages, href) for href in meant]) == 2
    assert "returns (airflow test)" in read(pages, "/graph?node=retruns", status=404).text


def test_an_edge_opens_the_runs_that_prove_it(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning("a", "b", first=0))
    record(store, turning("a", "b", first=2))
    pages = serve()
    page = read(pages, "/graph?node=a")
    (edge,) = {href for href in links_of(page) if path_of(href) == "/graph/edge"}
    proofs = read(pages, edge)
    assert "a starts b" in proofs.text
    assert [one["data-run"] for one in proofs.of("tr") if "data-run" in one] == [str(a_run_id(n)) for n in ("3", "1")]
    gone = edge.replace("triggers", "reads")
    assert "have no edge of kind" in read(pages, gone, status=404).text
    assert "kind:" in read(pages, edge.replace("triggers", "likes"), status=400).text


def test_the_runs_of_an_edge_come_page_by_page(
    store: Store, record: Record, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runvis_core.web.pages.graph.PROOFS", 2)
    for first in range(0, 10, 2):
        record(store, turning("a", "b", first=first))
    pages = serve()
    address = next(href for href in links_of(read(pages, "/graph?node=a")) if path_of(href) == "/graph/edge")
    seen: list[str | None] = []
    while address:
        page = read(pages, address)
        seen += [one["data-run"] for one in page.of("tr") if "data-run" in one]
        address = next((one["href"] or "" for one in page.of("a") if one.get("rel") == "next"), "")
    assert seen == [str(a_run_id(str(number))) for number in (9, 7, 5, 3, 1)]


def test_a_loop_is_unrolled_into_its_last_turns_as_runs_in_time(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning(*(["plan", "LEARN"] * 7), "plan"))
    pages = serve()
    for address in ("/graph", "/graph?node=LEARN"):
        assert [href for href in links_of(read(pages, address)) if path_of(href) == "/graph/turns"]
    (unroll,) = [href for href in links_of(read(pages, "/graph")) if path_of(href) == "/graph/turns"]
    page = read(pages, unroll)
    runs = [one["data-run"] for one in page.of("tr") if "data-run" in one]
    turns = [(2 * turn, 2 * turn + 1, 2 * turn + 2) for turn in (6, 5, 4, 3, 2)]
    assert runs == [str(a_run_id(str(number))) for turn in turns for number in turn]
    assert page.text.count("Turn that came back at") == 5
    bars = [float((one["x"] or "").rstrip("%")) for one in page.of("rect") if "%" in (one.get("x") or "")]
    assert len(bars) == 15
    assert bars[:3] == sorted(bars[:3])
    assert max(bars[12:]) < min(bars[:3])
    assert read(pages, "/graph/turns?node=00000000-0000-0000-0000-000000000000", status=404)
    assert "node:" in read(pages, "/graph/turns?node=plan", status=400).text


def test_a_script_has_the_same_answers(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning(*(["plan", "LEARN"] * 4)))
    pages = serve()
    with Client(load_settings(url=str(pages.base_url))) as client:
        around = client.get_lineage(LineageQuery(node="plan"))
        (edge,) = [edge for edge in around.edges if edge.source == around.node.node_id]
        asked = PastEdgeQuery(source=edge.source, target=edge.target, kind=edge.kind)
        first = client.get_proofs(asked, limit=3)
        rest = client.get_proofs(asked, limit=3, cursor=first.next_cursor)
        (loop,) = client.list_loops(limit=9).items
        turns = client.list_turns(loop.cycle[0]).items
        then = client.list_turns(loop.cycle[0], PastFilter(known_at=turns[-1].position)).items
    found = [proof.run.run_id for proof in (*first.items, *rest.items)]
    assert found == [a_run_id(str(number)) for number in (7, 5, 3, 1)]
    assert rest.next_cursor is None
    ends = [[run.run_id for run in turn.runs] for turn in turns]
    assert ends == [[a_run_id(str(first + step)) for step in range(3)] for first in (4, 2, 0)]
    assert [[run.run_id for run in turn.runs] for turn in then] == ends[-1:]


def test_a_large_neighbourhood_is_grouped_and_each_group_opens(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning("hub"))
    names = [f"{area}.table_{number:03}" for area in ("sales", "stock", "staff") for number in range(100)]
    record(store, writing(0, *names))
    pages = serve()
    page = read(pages, "/graph?node=hub&depth=1")
    assert "301 nodes within 1 step" in page.text
    boxes = of_class(page, "rect", "node")
    assert len(boxes) <= 80
    assert of_class(page, "rect", "group")
    assert len(page.text) < 60_000
    counted = sum(int(word.rsplit("(", 1)[1][:-1]) for word in page.words if word.endswith(")") and "…" in word)
    assert counted + len(boxes) - len(of_class(page, "rect", "group")) == 301
    seen: set[str] = set()
    waiting = ["/graph?node=hub&depth=1"]
    opened: set[str] = set()
    while waiting:
        address = waiting.pop()
        if address in opened:
            continue
        opened.add(address)
        page = read(pages, address)
        assert len(of_class(page, "rect", "node")) <= 80
        seen |= {word.strip() for word in page.words if ".table_" in word and word.strip() in names}
        asked = [(href, parse_qs(urlsplit(href).query)) for href in links_of(page)]
        waiting += [href for href, said in asked if "open" in said and not {"as_of", "known_at"} & set(said)]
    assert seen == set(names)


def test_a_permalink_is_the_same_for_ever(store: Store, record: Record, serve: Serve) -> None:
    record(store, [*turning("plan", "LEARN", "plan"), *writing(0, "sales")])
    pages = serve()
    links = set(links_of(read(pages, "/graph?node=plan")))
    (unroll,) = [href for href in links if path_of(href) == "/graph/turns"]
    edges = [href for href in links if path_of(href) == "/graph/edge"]
    addresses = ["/graph", "/graph?node=plan", unroll, *edges]
    pinned = []
    for address in addresses:
        page = read(pages, address)
        pinned += [href for href in links_of(page) if "known_at" in parse_qs(urlsplit(href).query)]
    assert len(pinned) >= len(addresses) - 1
    before = {address: pages.get(address).content for address in pinned}
    record(store, [*turning("plan", "LEARN", "plan", first=20), *writing(20, "sales", "more")])
    record(store, writing(0, "late"))
    assert {address: pages.get(address).content for address in pinned} == before
    assert "late" in read(pages, "/graph?node=plan").text


def test_the_past_has_the_edges_that_stood_then_and_says_so(store: Store, record: Record, serve: Serve) -> None:
    record(store, [*turning("plan", "LEARN", "plan"), *writing(0, "sales")])
    pages = serve()
    page = read(pages, "/graph?node=plan&as_of=2026-11-24T08:00:30Z")
    assert "As of 24 Nov 2026 08:00:30 UTC. Return to now" in page.text
    assert "sales" in page.text
    assert "LEARN" not in page.text
    assert all("as_of" in href for href in links_of(page) if path_of(href) == "/graph/edge")
    assert "Nothing is known to lead back" in read(pages, "/graph?as_of=2026-11-24T08:00:30Z").text
    assert "as_of" in read(pages, "/graph?node=plan&as_of=then", status=400).text


def test_the_overview_says_what_a_failing_definition_blocks(store: Store, record: Record, serve: Serve) -> None:
    record(store, turning("load", "report", "mail", "print"))
    record(store, [make(StateEvent, run_id=a_run_id("9"), seconds=900, state=State.FAILED), an_identity(9, "load")])
    page = read(serve(), "/")
    assert "report , mail and 1 more" in page.text
    assert len([href for href in links_of(page) if path_of(href) == "/graph" and "node=" in href]) == 2


def test_a_browser_shows_groups_loops_and_turns_to_everybody(
    browser: Browser, sqlite_store: Store, record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    record(
        sqlite_store,
        [*turning("plan", "LEARN", "plan", "again", "again"), *writing(0, *map("t{:03}".format, range(90)))],
    )
    with running(sqlite_store, load_settings(url="sqlite:///unused")) as address:
        with httpx.Client(base_url=address, headers={"Accept": "text/html"}, timeout=60) as client:
            links = list(links_of(read(client, "/graph?node=plan")))
        wanted = ["/graph", "/graph?node=plan", "/graph?node=again"]
        wanted += [next(href for href in links if path_of(href) == path) for path in ("/graph/edge", "/graph/turns")]
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, base_url=address)  # type: ignore[arg-type]
            context.set_default_timeout(60_000)
            page = context.new_page()
            for one in wanted:
                page.goto(one)
                found = Axe().run(page)
                assert found.violations_count == 0, f"{one}: {found.generate_report()}"
                for width in (320, 1440):
                    page.set_viewport_size({"width": width, "height": 900})
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, f"{one} is {wide} wide in {width}"
            context.close()
