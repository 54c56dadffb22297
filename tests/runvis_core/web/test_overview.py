"""The overview: what became of each day's runs, whether it can be trusted, and that each of its numbers is true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise

import httpx
import pytest
from tests.runvis_core.services.test_stats import a_version
from tests.runvis_core.web.test_pages import read
from tests.runvis_core.web.test_silence import beat

from runvis_core.model.event import DefinitionEvent, EventBase, StateEvent
from runvis_core.model.state import State, Witness
from runvis_core.store.database import Store
from runvis_core.testing.factories import MORNING, a_run_id, make
from runvis_core.testing.runs import a_run
from runvis_core.web.pages import overview

Record = Callable[[Store, Iterable[EventBase]], None]
Serve = Callable[..., httpx.Client]
AGO = (datetime.now(UTC) - MORNING).total_seconds()
"""Now, in the seconds of the tests' morning."""
TODAY = (datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - MORNING).total_seconds()
"""The beginning of today."""


def a_day(page: str, number: int) -> str:
    """Return a row of the table of days, counted from the last one."""
    return re.findall(r'<tr data-row class="row"><th scope="row"><a class="go" href="/runs[^>]*since=.*?</tr>', page)[
        -1 - number
    ]


def test_a_bar_shows_what_became_of_each_run(store: Store, record: Record, serve: Serve) -> None:
    ends = [State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED, None]
    for number, state in enumerate(ends):
        record(store, a_run(f"r{number}", begins=TODAY - 86400, state=state))
    for number, state in enumerate((State.QUEUED, State.INITIALIZING, State.FINALIZING)):
        name = f"live{number}"
        said = a_run(name, begins=TODAY - 86400, state=None)[:2]
        record(store, [*said, make(StateEvent, run_id=a_run_id(name), seconds=TODAY - 86399, state=state)])
    pages = serve()
    page = pages.get("/").text
    bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)%" width="([\d.]+)%"><title>([^<]+)</title>', a_day(page, 1))
    assert [(key, said) for key, _, _, said in bars] == [
        ("succeeded", "2 Succeeded"),
        ("failed", "1 Failed"),
        ("timedout", "1 Timed out"),
        ("cancelled", "1 Cancelled"),
        ("running", "1 Running"),
        ("starting", "1 Initializing"),
        ("starting", "1 Finalizing"),
        ("queued", "1 Queued"),
    ]
    # One after the other, without a gap, and all of them are the whole.
    places = [(float(x), float(width)) for _, x, width, _ in bars]
    for (x, width), (after, _) in pairwise(places):
        assert after == pytest.approx(x + width, abs=0.02)
    assert sum(places[-1]) == pytest.approx(100, abs=0.02)
    legend = page[page.index('class="legend"') :].partition("</ul>")[0]
    assert re.findall(r"</svg> ([\w ]+)</span>", legend) == [said[2:] for *_, said in bars]


def test_all_days_are_there_and_those_without_a_word_are_hatched(store: Store, record: Record, serve: Serve) -> None:
    record(store, a_run("old", begins=TODAY - 5 * 86400))
    record(store, a_run("new", begins=TODAY, seconds=1))
    page = serve().get("/").text
    days = [a_day(page, number) for number in range(14)]
    counts = [re.findall(r'<td class="num" data-label="Runs">(?:<a [^>]+>)?(\d+)', day)[0] for day in days]
    assert counts == list("10000100000000")
    assert ["hatch" in day for day in days] == [number not in (0, 5) for number in range(14)]
    begins = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert all(f">{begins - timedelta(days=n):%-d %b}<" in day for n, day in enumerate(days))


def test_a_source_that_is_silent_hatches_its_greens_and_nothing_is_called_right(
    store: Store, record: Record, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, a_run("r", begins=TODAY, seconds=1))
    pages = serve()
    page = pages.get("/").text
    assert 'class="lead notice good"' in page
    assert "Nothing is known to be wrong; the only source heard from within" in read(pages, "/").text.replace(" ;", ";")
    assert "hatch" not in a_day(page, 0)

    monkeypatch.setattr(overview, "FRESH", timedelta())
    page = pages.get("/").text
    assert 'class="lead notice unsure"' in page
    assert "Nothing is known to be wrong" not in page
    assert "the only source not heard from within the last hour, last" in page
    assert "hatch" in a_day(page, 0)


def test_only_some_sources_may_be_heard(
    store: Store, record: Record, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, a_run("r", begins=TODAY, seconds=1))
    before = datetime.now(UTC)
    record(store, a_run("flow", begins=AGO - 60, seconds=1, engine="prefect"))
    monkeypatch.setattr(overview, "_is_fresh", lambda one, now: one.heard_at >= before)
    page = serve().get("/").text
    assert 'href="#sources">1 of 2 sources heard from within the last hour</a>' in page
    sources = page[page.index('id="sources"') :]
    assert re.findall(r'<td( class="hatch")? data-label="[^"]+"><time', sources)[:3:2] == [' class="hatch"', ""]


def test_before_the_first_run_it_says_who_was_heard_and_what_to_do_next(
    store: Store, record: Record, serve: Serve
) -> None:
    told = {"definition": "etl", "definition_kind": "dag", "version": "v1", "witness": Witness.SCHEDULER}
    record(store, [make(DefinitionEvent, deployment="prod", **told)])
    pages = serve()
    page = read(pages, "/")
    assert 'class="lead notice good"' in pages.get("/").text
    assert "Before the first run" in page.text
    assert re.search(r"prod airflow [\d.]+ m?s ago heard not heard", page.text)
    assert f"RUNVIS_URL={str(pages.base_url).rstrip('/')} RUNVIS_DEPLOYMENT=prod" in page.text
    # What is to be copied into a shell is one word there, whatever the name is.
    record(store, [make(DefinitionEvent, deployment="a; b", **told)])
    assert "RUNVIS_DEPLOYMENT='a; b' " in f"{read(pages, '/').text} "
    record(store, a_run("r", begins=AGO - 60))
    assert "Before the first run" not in read(pages, "/").text


def test_each_number_of_the_sentence_leads_to_just_as_many(store: Store, record: Record, serve: Serve) -> None:
    for number in range(3):
        record(store, a_run(f"bad{number}", begins=AGO - 600, definition=f"bad {number}", state=State.FAILED))
    record(store, [a_version(1, begins=AGO - 9 * 3600, tasks=[], schedule="@hourly")])
    record(store, a_run("late", begins=AGO - 5 * 3600))
    for number in range(60):
        record(store, a_run(f"live{number}", begins=AGO - 700, definition="long", state=None))
        beat(store, f"live{number}", interval_seconds=0.001)
    pages = serve()
    page = pages.get("/").text
    sentence = page[page.index('class="lead') :].partition("</p>")[0]
    numbers = re.findall(r'<a href="([^"]+)">(?:all |\d+ of )?(?:the only|(\d+))[^<]*</a>', sentence)
    assert [int(count or 1) for _, count in numbers] == [3, 1, 60, 1]
    assert not re.search(r">[^<]*\d[^<]*<(?!/a)", sentence)
    for href, count in numbers:
        assert count_listed(pages, page, unescape(href)) == int(count or 1), href
    headings = re.findall(r'<h2 id="(\w+)">(?:<a href="([^"]+)">)?[\w ]+: (\d+)', page)
    assert [name for name, _, _ in headings] == ["failing", "late", "silent", "sources"]
    for name, href, count in headings:
        assert count_listed(pages, page, unescape(href) or f"#{name}") == int(count)


def count_listed(pages: httpx.Client, page: str, href: str) -> int:
    """Return how many rows are listed where a link leads to: on this page, or on a feed, to its end."""
    if href.startswith("#"):
        section = page[page.index(f'id="{href[1:]}"') :].partition("</section>")[0]
        return section.partition("<tbody>")[2].count("<tr")
    count, next_href = 0, [href]
    while next_href:
        feed = pages.get(unescape(next_href[0])).text
        count += len(re.findall("<tr data-run", feed))
        next_href = re.findall(r'<a href="([^"]+)" rel="next"', feed)
    return count
