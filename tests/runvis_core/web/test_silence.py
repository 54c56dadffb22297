"""A run that is silent looks silent wherever a page knows it, at the price of one statement, and of none where none is
live."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.runvis_core.services.test_plans import watched

from runvis_core.model.event import EventBase
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import State
from runvis_core.services.feed import list_feed
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import record_heartbeats
from runvis_core.services.run_details import get_drawn_run
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]


def beat(store: Store, name: str, *, interval_seconds: float) -> None:
    told = {"engine": ENGINE, "deployment": DEPLOYMENT, "witness": "worker", "occurred_at": at(0)}
    record_heartbeats(store, [Heartbeat(run_id=a_run_id(name), interval_seconds=interval_seconds, **told)])


@pytest.fixture
def watching(store: Store, record: Record) -> Store:
    """A store with a run that is silent, as is what runs inside it, one that beats, and one that ended."""
    record(store, a_run("silent", begins=0, state=None))
    record(store, a_run("inside", begins=1, state=None, definition="etl.load", kind="task", inside="silent"))
    record(store, a_run("beating", begins=2, state=None))
    record(store, a_run("ended", begins=3))
    for name, interval in (("silent", 0.001), ("inside", 0.001), ("beating", 3600)):
        beat(store, name, interval_seconds=interval)
    return store


def states_of(page: str) -> dict[str, str]:
    rows = re.findall(r'<tr data-run="([^"]+)".*?<span class="state (\w+)">.*?</svg> ([\w ]+)</span>', page, re.DOTALL)
    return {run_id: f"{key} {word}" for run_id, key, word in rows}


def test_a_silent_run_looks_silent_on_every_page(watching: Store, serve: Callable[..., httpx.Client]) -> None:
    pages = serve()
    silent, inside, beating, ended = (str(a_run_id(name)) for name in ("silent", "inside", "beating", "ended"))
    assert states_of(pages.get(f"/runs?open={silent}").text) == {
        silent: "silent Silent",
        inside: "silent Silent",
        beating: "running Running",
        ended: "succeeded Succeeded",
    }
    assert set(states_of(pages.get("/runs?silent=true&all=true").text).values()) == {"silent Silent"}
    overview = pages.get("/").text
    assert states_of(overview[overview.index('id="silent"') :]) == {silent: "silent Silent", inside: "silent Silent"}

    page = pages.get(f"/runs/{silent}").text
    assert re.search(r"<h1>.*silent Silent</span></h1>", re.sub(r'">(<svg.*?</svg>)? ?', " ", page))
    assert re.search(r'class="verdict">Silent since [\w: ]+: no heartbeat for [\w. ]+, expected every 1 ms\.<', page)
    assert states_of(page[page.index('id="time"') :])[inside] == "silent Silent"
    # It has not failed, so nothing is first to.
    assert "first to fail" not in page
    assert 'class="verdict">Running for ' in pages.get(f"/runs/{beating}").text


def test_silence_costs_one_statement_for_a_page_and_none_where_nothing_is_live(watching: Store) -> None:
    now = datetime.now(UTC) + timedelta(minutes=1)

    def count_asked(ask: Callable[[], object]) -> int:
        with watched(watching) as said:
            ask()
        return sum("FROM liveness" in statement for statement, _ in said)

    opened = [a_run_id("silent")]
    assert count_asked(lambda: list_feed(watching, RunFilter(top=True), limit=10, now=now, opened=opened)) == 1
    assert count_asked(lambda: list_feed(watching, RunFilter(state=[State.SUCCEEDED]), limit=10, now=now)) == 0
    # A run asks for its own last heartbeat beside, if there is any.
    assert count_asked(lambda: get_drawn_run(watching, str(a_run_id("ended")), now=now)) <= 1
    assert count_asked(lambda: get_drawn_run(watching, str(a_run_id("silent")), now=now)) <= 3
