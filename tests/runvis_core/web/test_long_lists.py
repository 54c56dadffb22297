"""A run of which much was said keeps a light page, whose links lead to all of it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable
from html import unescape

import httpx
import pytest
from tests.runvis_core.web.test_pages import Reader, links_of, read

from benchmarks.big_store import fill_store
from benchmarks.history import CHATTY, History
from runvis_core.model.event import ArtifactEvent, EventBase, MetricEvent, NoteEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.services.ingest import ingest_events
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.web.long_lists import ROWS
from runvis_core.web.pages import run as run_page

RUN = a_run_id("talkative")
NUMBER = 2 * ROWS + 5
MAX_COMPRESSED = 60_000


def said() -> Iterable[EventBase]:
    yield make(StateEvent, run_id=RUN, state=State.RUNNING)
    for number in range(NUMBER):
        yield make(MetricEvent, run_id=RUN, seconds=number, name=f"metric {number}.", value=number)
        yield make(NoteEvent, run_id=RUN, seconds=number, content={"text": f"note {number}."})
        yield make(ArtifactEvent, run_id=RUN, seconds=number, name=f"artifact {number}.")


@pytest.fixture
def client(store: Store, serve: Callable[..., httpx.Client]) -> httpx.Client:
    """The pages of a store with such a run."""
    ingest_events(store, said(), principal="test")
    return serve()


def test_each_list_is_walked_through_by_its_links(client: httpx.Client) -> None:
    address = f"/runs/{RUN}"
    first = client.get(address)
    assert len(gzip.compress(first.content)) < MAX_COMPRESSED
    for part, noun in (("metrics", "metric"), ("said", "note"), ("artifacts", "artifact")):
        found: list[str] = []
        href: str | None = address
        while href is not None:
            page = client.get(href)
            assert f"of {NUMBER} rows" in page.text
            found += [f"{noun} {n}." for n in range(NUMBER) if f"{noun} {n}.<" in _table(page.text, part)]
            later = [link for link in links_of(Reader(page.text)) if link.endswith(f"#{part}")]
            href = later[-1] if len(found) < NUMBER else None
        assert found == [f"{noun} {n}." for n in range(NUMBER)]
    back = [link for link in links_of(read(client, f"{address}?part=metrics&from={ROWS}")) if link.endswith("#metrics")]
    assert back == [f"{address}?part=metrics&from={begins}#metrics" for begins in (0, 2 * ROWS)]


def _table(text: str, part: str) -> str:
    """Return the table that begins at an anchor, or after it; of notes the text without what makes it JSON."""
    _, _, rest = unescape(text).partition(f'id="{part}"')
    return rest.partition("</table>")[0].replace('."}<', ".<").replace('."\n}<', ".<")


@pytest.mark.parametrize("asked", ["part=nothing", "from=x", "part=metrics&from=-1"], ids=["name", "word", "negative"])
def test_a_part_that_there_is_not_is_refused(client: httpx.Client, asked: str) -> None:
    answer = client.get(f"/runs/{RUN}?{asked}")
    assert answer.status_code == 400
    assert "must be" in answer.text


def test_beyond_the_end_a_list_is_empty_and_leads_back(client: httpx.Client) -> None:
    page = client.get(f"/runs/{RUN}?part=metrics&from=9000")
    assert f"None of {NUMBER} rows here" in page.text
    assert "metric 0." not in _table(page.text, "metrics")


@pytest.mark.parametrize("store", ["sqlite_url"], indirect=True)
def test_the_page_of_a_run_with_a_hundred_thousand_events_is_light(
    store: Store, serve: Callable[..., httpx.Client]
) -> None:
    history = History(150)
    history.events = 100_000
    fill_store(store, history)
    pages = serve()
    listed = read(pages, f"/runs?definition={CHATTY}").of("tr")
    [run] = [row["data-run"] for row in listed if "data-run" in row]
    page = pages.get(f"/runs/{run}")
    assert len(gzip.compress(page.content)) < MAX_COMPRESSED
    # A page is never silent about what it leaves out.
    [left_out] = re.findall(r"Left out here: (\d+) of metrics", page.text)
    kept = 100_000 - int(left_out)
    assert f"1 to {ROWS} of {kept:,} rows" in page.text
    last = pages.get(f"/runs/{run}?part=metrics&from={kept - ROWS}")
    assert f"{kept - ROWS + 1} to {kept} of {kept:,} rows" in last.text
    assert len(gzip.compress(last.content)) < MAX_COMPRESSED


def test_a_permalink_keeps_the_part_that_is_shown(client: httpx.Client) -> None:
    shown = f"part=metrics&from={ROWS}"
    for asked in (shown, "after=7", f"{shown}&after=7"):
        links = list(links_of(read(client, f"/runs/{RUN}?{asked}")))
        permalink = next(href for href in links if "known_at" in href)
        assert httpx.URL(permalink).params.remove("known_at") == httpx.URL(f"?{asked}").params
        assert f"/runs/{RUN}?{asked}" in links_of(read(client, permalink))
    page = client.get(permalink).text
    assert f"{ROWS + 1} to {2 * ROWS} of {NUMBER} rows" in page


def test_entries_go_on_while_there_are_any_and_lead_back(store: Store, serve: Callable[..., httpx.Client]) -> None:
    told = [make(MetricEvent, run_id=RUN, seconds=number, name="m", value=number) for number in range(run_page.ENTRIES)]
    ingest_events(store, told, principal="test")
    pages = serve()
    address = f"/runs/{RUN}"
    page = pages.get(address).text
    assert "No later ones." in page
    assert "after=" not in page
    ingest_events(store, [make(MetricEvent, run_id=RUN, seconds=99, name="m", value=99)], principal="test")
    [later] = [href for href in links_of(read(pages, address)) if "after=" in href]
    assert later == f"{address}?after={run_page.ENTRIES}#events"
    last = read(pages, later)
    assert f"{address}#events" in links_of(last)
    assert "No later ones." in last.text
