"""Pages that follow the log, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.runvis_core.web.conftest import LONG, TOKEN, running
from tests.runvis_core.web.histories import BAD, GOOD, a_shop

from runvis_core.model.event import EventBase, IdentityEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

WAIT = LONG * 1000.0
expect.set_options(timeout=WAIT)
NEW = a_run_id("new")
SIGN = ".live span"

_LISTEN = "path => { new EventSource(path).addEventListener('entry', () => console.log('an entry came')); }"
Record = Callable[[Store, Iterable[EventBase]], None]


@pytest.fixture
def address(sqlite_store: Store, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    record(sqlite_store, a_shop())
    with running(sqlite_store, load_settings(url="sqlite:///unused")) as served:
        yield served


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(base_url=address)
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()


def _a_new_run(number: int = 0) -> list[EventBase]:
    run = a_run_id(f"new {number}") if number else NEW
    said = {"definition": "news", "definition_kind": "dag", "native_key": f"new/{number}", "native_id": f"new/{number}"}
    return [
        make(IdentityEvent, run_id=run, seconds=2000 + number, **said),
        make(StateEvent, run_id=run, seconds=2001 + number, state=State.FAILED),
    ]


def test_a_new_run_comes_up_on_a_live_feed(page: Page, sqlite_store: Store, record: Record) -> None:
    page.goto("/runs?live=1")
    expect(page.locator(SIGN)).to_have_text("on")
    record(sqlite_store, _a_new_run())
    expect(page.locator(f"tr[data-run='{NEW}']")).to_be_visible()
    # And again, from where the log was.
    record(sqlite_store, _a_new_run(1))
    expect(page.locator("tr[data-run]")).to_have_count(5)


def test_what_a_filter_keeps_out_stays_out_of_a_live_feed(page: Page, sqlite_store: Store, record: Record) -> None:
    page.goto("/runs?definition=shop&live=1")
    expect(page.locator(SIGN)).to_have_text("on")
    with page.expect_response(lambda answer: "/runs" in answer.url):
        record(sqlite_store, _a_new_run())
    expect(page.locator("tr[data-run]")).to_have_count(2)


def test_a_live_page_keeps_the_place_of_who_reads_it(page: Page, sqlite_store: Store, record: Record) -> None:
    page.goto("/runs?live=1")
    expect(page.locator(SIGN)).to_have_text("on")
    page.get_by_text("Filters", exact=True).click()
    for _ in range(2):
        page.keyboard.press("j")
    expect(page.locator(f"tr[data-run='{BAD}'] th a")).to_be_focused()
    record(sqlite_store, _a_new_run())
    expect(page.locator(f"tr[data-run='{NEW}']")).to_be_visible()
    expect(page.locator(f"tr[data-run='{BAD}'] th a")).to_be_focused()
    expect(page.get_by_label("Definition")).to_be_visible()
    # Who types is not disturbed, and sees what is new once they go on.
    page.get_by_label("Definition").fill("sh")
    end = sqlite_store.log.head().position
    with page.expect_event("console", lambda message: message.text == "an entry came"):
        page.evaluate(_LISTEN, f"/api/v1/stream?after={end}")
        record(sqlite_store, _a_new_run(1))
    expect(page.get_by_label("Definition")).to_be_focused()
    expect(page.get_by_label("Definition")).to_have_value("sh")
    page.keyboard.press("Escape")
    expect(page.locator(f"tr[data-run='{a_run_id('new 1')}']")).to_be_visible()


@pytest.mark.parametrize(("path", "words"), [("/", "news"), (f"/runs/{GOOD}", "novelty")], ids=["overview", "run"])
def test_the_overview_and_a_run_are_live_too(
    page: Page, sqlite_store: Store, record: Record, path: str, words: str
) -> None:
    page.goto(f"{path}?live=1")
    expect(page.locator(SIGN)).to_have_text("on")
    expect(page.locator("main")).not_to_contain_text(words)
    said = {"definition": "novelty", "definition_kind": "task", "native_key": "novel", "native_id": "novel"}
    inside = make(IdentityEvent, run_id=a_run_id("novelty"), seconds=30, parent_run_id=GOOD, **said)
    record(sqlite_store, [*_a_new_run(), inside])
    expect(page.locator("main")).to_contain_text(words)


def test_the_switch_is_a_link_that_keeps_the_view(page: Page) -> None:
    page.goto("/runs?definition=shop")
    page.get_by_role("link", name="Live: off").click()
    page.wait_for_url("**/runs?definition=shop&live=1")
    expect(page.locator(SIGN)).to_have_text("on")
    page.get_by_role("link", name="Live: on").click()
    page.wait_for_url("**/runs?definition=shop")
    expect(page.locator(SIGN)).to_have_text("off")


def test_a_page_that_is_not_live_asks_for_nothing_however_long_it_is_open(page: Page) -> None:
    page.clock.install()
    page.goto("/runs", wait_until="networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for("01:00:00")
    page.evaluate("new Promise(requestAnimationFrame)")
    assert asked == []


def test_a_live_page_says_when_it_is_so_no_more(
    browser: Browser, sqlite_store: Store, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running(sqlite_store, load_settings(url="sqlite:///unused", token=TOKEN)) as served:
        context = browser.new_context(base_url=served)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto("/runs?live=1")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        # The cookie opens the stream.
        expect(page.locator(SIGN)).to_have_text("on")
        context.clear_cookies()
        record(sqlite_store, _a_new_run())
        expect(page.locator(SIGN)).to_contain_text("ended")
        context.close()


def test_a_page_of_the_past_is_not_live(address: str) -> None:
    with httpx.Client(base_url=address, headers={"Accept": "text/html"}, timeout=LONG) as client:
        assert "data-live" not in client.get("/runs?known_at=20").text
        assert client.get("/runs?known_at=20&live=1").status_code == 400
        assert client.get("/runs?live=yes").status_code == 400
        for path in ("/", f"/runs/{BAD}"):
            assert "data-live" in client.get(f"{path}?live=1").text
            assert "data-live" not in client.get(f"{path}?known_at=60&live=1").text
