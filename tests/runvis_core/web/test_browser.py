"""The pages in a real browser: what can be seen, reached by keys, printed, and read by everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.runvis_core.web.conftest import LONG, TOKEN, running
from tests.runvis_core.web.histories import BAD, FLOW, GOOD, STAGE_2, a_shop
from tests.runvis_core.web.test_pages import ADDRESSES, loop_events, wide_tree

from runvis_core.model.event import (
    DatasetEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    StateEvent,
)
from runvis_core.model.state import State
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.runs import a_run

WAIT = LONG * 1000.0
expect.set_options(timeout=WAIT)


@pytest.fixture
def address(
    sqlite_store: Store,
    record: Callable[[Store, Iterable[EventBase]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Where the shop's history is served."""
    monkeypatch.chdir(tmp_path)
    record(sqlite_store, a_shop())
    with running(sqlite_store, load_settings(url="sqlite:///unused")) as served:
        yield served


@pytest.fixture
def look(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """A function that opens a page; what the page says on its console fails the test."""
    said: list[str] = []
    contexts = []

    def open_page(path: str, *, width: int = 1440, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, base_url=address, **options)  # type: ignore[arg-type]
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_every_page(look: Callable[..., Page], scheme: str) -> None:
    page = look("/", color_scheme=scheme)
    for path in ADDRESSES:
        page.goto(path)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"


def test_no_page_is_wider_than_its_window(look: Callable[..., Page]) -> None:
    page = look("/")
    for width in (320, 768, 1024, 1440, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        for path in ADDRESSES:
            page.goto(path)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is {wide} wide in {width}"


def test_targets_are_large_enough_to_hit(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(sqlite_store, [*loop_events(), *_a_short_name()])
    edge = ("/graph?node=plan", "a[href^='/graph/edge']")
    turns = ("/graph?node=plan", "a[href^='/graph/turns']")
    page = look("/")
    found = []
    for path, link in (edge, turns):
        page.goto(path)
        found.append(page.locator(link).first.get_attribute("href"))
    short = [f"/runs/{a_run_id('f')}", f"/runs?open={BAD}&as_of=2026-11-24T09:00:00Z"]
    for width in (320, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for path in [*ADDRESSES, *found, "/graph?node=plan", *short]:
            page.goto(path)
            page.locator(".asof summary").click() if page.locator(".asof").count() else None
            # An arrow of the drawing is in the table below it, too; a box to tick is its label's.
            small = page.evaluate(
                "[...document.querySelectorAll('a:not(.skip, .map [tabindex]), button, summary, select, "
                "input:not([type=hidden], [type=checkbox]), label.check')].filter(e => e.checkVisibility())"
                ".filter(e => (({width, height}) => Math.min(width, height) < 24)(e.getBoundingClientRect()))"
                ".map(e => e.outerHTML)"
            )
            assert small == [], path


def _a_short_name() -> Iterator[EventBase]:
    flow, task = {"run_id": a_run_id("f"), "seconds": 2000}, {"run_id": a_run_id("t"), "seconds": 2001}
    yield make(IdentityEvent, definition="f", definition_kind="dag", native_key="f", native_id="f", **flow)
    said = {"definition": "t", "definition_kind": "task", "native_key": "t", "native_id": "t"}
    yield make(IdentityEvent, parent_run_id=a_run_id("f"), **said, **task)
    yield make(StateEvent, state=State.RUNNING, **task)
    yield make(StateEvent, state=State.FAILED, **{**task, "seconds": 2002})


def test_the_first_result_is_two_tabs_away(look: Callable[..., Page]) -> None:
    page = look("/runs")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(f"tr[data-run='{FLOW}'] th a")).to_be_focused()


def test_rows_are_walked_and_opened_by_keys(look: Callable[..., Page]) -> None:
    page = look("/runs")
    for key, run in (("j", FLOW), ("j", BAD), ("j", GOOD), ("j", GOOD), ("k", BAD)):
        page.keyboard.press(key)
        expect(page.locator(f"tr[data-run='{run}'] th a")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{BAD}")
    expect(page.locator("h1")).to_contain_text("shop")


def test_two_marked_runs_are_compared(look: Callable[..., Page]) -> None:
    page = look(f"/runs/{GOOD}")
    page.keyboard.press("c")
    expect(page.get_by_role("status")).to_contain_text("Marked")
    page.goto(f"/runs/{BAD}")
    page.keyboard.press("c")
    page.wait_for_url(f"**/compare?left={GOOD}&right={BAD}")


def test_keys_reach_the_search_and_the_help_and_can_be_switched_off(look: Callable[..., Page]) -> None:
    page = look("/runs")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("#q")).to_have_value("j")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Keys are on").uncheck()
    page.get_by_role("button", name="Close").click()
    page.reload()
    page.keyboard.press("/")
    expect(page.locator("#q")).not_to_be_focused()


def test_the_search_is_typed_over(look: Callable[..., Page]) -> None:
    page = look("/search?q=shop")
    page.keyboard.press("/")
    page.keyboard.type("forecast")
    expect(page.locator("#q")).to_have_value("forecast")


def test_the_key_of_another_moment_says_where_there_is_none(look: Callable[..., Page]) -> None:
    page = look("/runs")
    page.keyboard.press("t")
    expect(page.get_by_label("As of (UTC)")).to_be_focused()
    page.goto("/definitions")
    page.keyboard.press("t")
    expect(page.get_by_role("status")).to_contain_text("tells of now alone")


def test_the_choice_of_a_moment_is_at_the_top_right_and_moves_nothing(look: Callable[..., Page]) -> None:
    for width in (320, 1024, 1440, 2560):
        page = look("/runs?known_at=20", width=width)
        choice, help_button, h1 = page.locator(".asof summary"), page.locator("[data-help]"), page.locator("h1")
        before = [one.bounding_box() for one in (choice, help_button, h1)]
        if width >= 1024:
            box = help_button.bounding_box()
            assert box
            assert box["x"] + box["width"] == width - 16
            assert before[0]
            assert box["x"] - before[0]["x"] - before[0]["width"] == 16
        choice.click()
        assert [one.bounding_box() for one in (choice, help_button, h1)] == before
        opened = page.locator(".asof > div").bounding_box()
        assert opened
        assert opened["x"] >= 0
        assert opened["x"] + opened["width"] == width - 16


def test_the_error_of_a_step_is_seen_however_long_the_name_of_the_step_is(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    name = "a.step.whose.name.says.all.that.it.does." * 2
    for number, run in enumerate(("told", "untold")):
        outer, step = a_run_id(run), a_run_id(f"{run} step")
        seconds = 3000 + 10 * number
        for one, parent in ((outer, None), (step, outer)):
            said = {"definition": name if parent else run, "definition_kind": "task" if parent else "dag"}
            key = {"native_key": f"{run} {parent}", "native_id": f"{run} {parent}", "parent_run_id": parent}
            record(sqlite_store, [make(IdentityEvent, run_id=one, seconds=seconds, **said, **key)])
            record(sqlite_store, [make(StateEvent, run_id=one, seconds=seconds + 1, state=State.RUNNING)])
            record(sqlite_store, [make(StateEvent, run_id=one, seconds=seconds + 2, state=State.FAILED)])
    told = make(FailureEvent, run_id=a_run_id("told step"), error_type="KeyError", content={"message": "price"})
    record(sqlite_store, [told])
    page = look("/runs")
    cell = page.locator(f"tr[data-run='{a_run_id('told')}'] .c-error")
    words = cell.locator("bdi").last
    expect(words).to_have_text("KeyError: price")
    expect(words).to_have_attribute("title", "KeyError: price")
    box, around = words.bounding_box(), cell.bounding_box()
    assert box
    assert around
    assert box["x"] + box["width"] <= around["x"] + around["width"]
    expect(page.locator(f"tr[data-run='{a_run_id('untold')}'] .c-error")).to_contain_text("no reason was recorded")


def test_by_keyboard_alone_from_the_overview_to_the_reason_the_difference_and_the_loop(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(sqlite_store, list(loop_events()))
    page = look("/")
    # What fails, without a look elsewhere.
    expect(page.locator("main")).to_contain_text("2 definitions failing")
    expect(page.locator("main")).to_contain_text("ValueError: upstream returned 0 rows")
    _go_to(page, f"/runs/{BAD}")
    page.wait_for_url(f"**/runs/{BAD}")
    expect(page.locator(".verdict")).to_contain_text("ValueError: upstream returned 0 rows")
    # What differed from its last success.
    _go_to(page, f"/compare?left={GOOD}&right={BAD}")
    page.wait_for_url("**/compare?left=*")
    expect(page.locator("main")).to_contain_text("conf.day")
    # What leads back to itself, across engines.
    _go_to(page, "/graph")
    page.wait_for_url("**/graph")
    expect(page.locator("main")).to_contain_text("and again")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/graph?node=*")
    expect(page.locator("main")).to_contain_text("Loop, 2 nodes")
    for engine in ("airflow", "prefect"):
        expect(page.locator("main")).to_contain_text(engine)


def test_what_failed_first_is_in_the_first_screen_however_wide_the_run_is(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(sqlite_store, [*wide_tree(groups=1, tasks=200), *_a_late_failure()])
    for path, run in ((f"/runs/{a_run_id('wide')}", a_run_id("wide.broken")), (f"/runs/{BAD}", STAGE_2)):
        page = look(path)
        row = page.locator(f"tr[data-run='{run}']").first
        expect(row).to_be_in_viewport()
        expect(row).to_contain_text("broken" if run != STAGE_2 else "stage")


@pytest.mark.parametrize("message", ["a line\n" * 41, "a word " * 800], ids=["lines", "words"])
def test_what_failed_first_is_in_the_first_screen_under_however_long_a_message(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None], message: str
) -> None:
    said = make(FailureEvent, run_id=a_run_id("wide.broken"), seconds=509, error_type="E", content={"message": message})
    record(sqlite_store, [*wide_tree(groups=1, tasks=20), *_a_late_failure(), said])
    page = look(f"/runs/{a_run_id('wide.broken')}")
    expect(page.locator(f"tr[data-run='{a_run_id('wide.broken')}']").first).to_be_in_viewport()
    page.locator("section[aria-labelledby=failure] summary").press("Enter")
    expect(page.locator("section[aria-labelledby=failure] pre")).to_be_visible()


def _a_late_failure() -> Iterator[EventBase]:
    fields = {"run_id": a_run_id("wide.broken"), "seconds": 500}
    said = {"definition": "wide.broken", "definition_kind": "task", "native_key": "broken", "native_id": "broken"}
    yield make(IdentityEvent, parent_run_id=a_run_id("wide"), **said, **fields)
    yield make(StateEvent, state=State.RUNNING, **fields)
    yield make(StateEvent, state=State.FAILED, **{**fields, "seconds": 510})


def _go_to(page: Page, href: str) -> None:
    """Press Tab until a link has the focus, then open it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == href:
            page.keyboard.press("Enter")
            return
    pytest.fail(f"{href} is more than 60 Tabs away")


def test_everything_is_there_without_script(look: Callable[..., Page]) -> None:
    page = look("/runs", java_script_enabled=False)
    expect(page.locator("tr[data-run]")).to_have_count(3)
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Definition").fill("shop")
    page.get_by_label("Failed", exact=True).check()
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**/runs?*definition=shop*")
    expect(page.locator("tr[data-run]")).to_have_count(1)
    page.get_by_role("link", name="4 runs").click()
    expect(page.locator("tr[data-run]")).to_have_count(5)
    page.goto(f"/runs/{STAGE_2}")
    page.get_by_text("Traceback", exact=True).first.click()
    expect(page.get_by_text("in stage")).to_be_visible()


def test_a_page_asks_for_little(look: Callable[..., Page]) -> None:
    asked: list[str] = []
    page = look("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/runs/{BAD}", wait_until="networkidle")
    assert len(asked) <= 4
    sizes = page.evaluate("performance.getEntries().map(e => e.transferSize || 0).reduce((a, b) => a + b, 0)")
    assert 0 < sizes <= 60 * 1024


def test_paper_has_all_rows_and_no_navigation(look: Callable[..., Page]) -> None:
    page = look("/runs?all=true")
    page.emulate_media(media="print")
    expect(page.locator("header.top")).to_be_hidden()
    expect(page.locator(".filters")).to_be_hidden()
    expect(page.locator("tr[data-run]")).to_have_count(7)
    expect(page.locator("tr[data-run]").last).to_be_visible()
    expect(page.locator(".onpaper")).to_contain_text("/runs?all=true")


PAPER = 718
"""How wide A4 is between a browser's margins, in pixels."""


def test_paper_has_columns_with_heads_and_nothing_is_cut(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None]
) -> None:
    record(sqlite_store, [*loop_events(), *_a_chain()])
    page = look("/")
    page.emulate_media(media="print")
    for width in (PAPER, 794):
        page.set_viewport_size({"width": width, "height": 1123})
        for path in [*ADDRESSES, f"/graph?node={LONG_NAME}3&depth=5"]:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            cut = page.evaluate(
                "[...document.querySelectorAll('main thead th, .pinned, .map, .grid, .map-wrap, .grid-wrap')]"
                ".filter(e => e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth "
                "|| (e.matches('div') && e.scrollWidth > e.clientWidth)).map(e => e.outerHTML.slice(0, 200))"
            )
            assert cut == [], path


LONG_NAME = "a.rather.long.name.of.a.step.of.this.chain."


def _a_chain() -> Iterator[EventBase]:
    for number in range(8):
        fields = {"run_id": a_run_id(f"chain {number}"), "seconds": 1000 + number}
        name = f"{LONG_NAME}{number}"
        yield make(IdentityEvent, definition=name, definition_kind="dag", native_key=name, native_id=name, **fields)
        for direction, place in (("read", number), ("write", number + 1)):
            yield make(DatasetEvent, direction=direction, namespace="s3://raw", name=f"a/dataset/{place}", **fields)


def test_paper_says_the_whole_address(look: Callable[..., Page]) -> None:
    path = "/runs?" + "&".join(f"state={state.value}" for state in State) + f"&definition={'long' * 60}&all=true"
    page = look(path)
    page.emulate_media(media="print")
    expect(page.locator(".onpaper")).to_contain_text(path)


@pytest.mark.parametrize("width", [320, 768, 999])
def test_each_cell_says_what_it_is_where_there_are_no_heads(look: Callable[..., Page], width: int) -> None:
    page = look("/runs", width=width)
    row = page.locator(f"tr[data-run='{FLOW}']")
    for kind, label in ((".c-try", "Try"), (".c-num >> nth=0", "Waited"), (".c-num >> nth=1", "Ran")):
        cell = row.locator(kind)
        expect(cell).to_be_visible()
        assert label in cell.evaluate("e => getComputedStyle(e, '::before').content"), label
    for kind, label in ((".c-cause", "Cause"), (".c-mark", "Evidence")):
        assert label in row.locator(kind).evaluate("e => getComputedStyle(e, '::before').content")
    for path in ADDRESSES:
        page.goto(path)
        # A number or a moment alone says nothing. What a row is named by needs no label.
        bare = page.evaluate(
            "[...document.querySelectorAll('main table:not(.grid) tbody td:is(.num, :has(> time)):not(.c-when)')]"
            ".filter(e => !/\\w/.test(getComputedStyle(e, '::before').content.replace('none', '')))"
            ".map(e => e.outerHTML)"
        )
        assert bare == [], path


def test_words_are_whole_on_a_narrow_screen(look: Callable[..., Page]) -> None:
    page = look("/", width=320)
    cell = page.locator(".c-blocks").first
    assert cell.evaluate("e => e.getBoundingClientRect().height") <= 56


def test_attempt_and_cause_stay_in_the_row_of_a_window_that_is_less_wide(look: Callable[..., Page]) -> None:
    for width in (1000, 1024, 1100):
        page = look("/runs", width=width)
        row = page.locator(f"tr[data-run='{FLOW}']")
        for kind in (".c-try", ".c-cause", ".c-error"):
            expect(row.locator(kind)).to_be_visible()
        cut = page.evaluate(
            "[...document.querySelectorAll('.feed :is(td, th):not(.c-name, .c-error)')]"
            ".filter(e => e.scrollWidth > e.clientWidth).map(e => e.className + e.textContent)"
        )
        assert cut == [], width


@pytest.mark.parametrize("width", [1000, 1024, 1101, 1440, 2560])
def test_a_duration_of_two_units_is_not_cut_in_its_row(
    look: Callable[..., Page], sqlite_store: Store, record: Callable[[Store, Iterable[EventBase]], None], width: int
) -> None:
    for number, seconds in enumerate((20 * 3600 + 48 * 60, 58 * 60 + 48, 28 * 86400 + 20 * 3600)):
        record(sqlite_store, a_run(f"long {number}", begins=-seconds, waits=seconds, seconds=seconds))
    page = look("/runs", width=width)
    expect(page.get_by_text("20 h 48 m").first).to_be_visible()
    cut = page.evaluate(
        "[...document.querySelectorAll('.feed td.c-num')].filter(e => e.scrollWidth > e.clientWidth)"
        ".map(e => e.textContent)"
    )
    assert cut == []


def test_a_person_signs_in_and_out(
    browser: Browser, sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running(sqlite_store, load_settings(url="sqlite:///unused", token=TOKEN)) as served:
        context = browser.new_context(base_url=served)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto("/runs?state=Failed")
        page.get_by_label("Token").fill("this-is-not-the-token")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("doesn't take this token")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/runs?state=Failed")
        expect(page.locator("h1")).to_have_text("Runs")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.goto("/runs")
        page.wait_for_url("**/sign-in?to=*")
        context.close()


def test_keys_lead_from_cell_to_cell_and_to_the_ends_of_a_row(
    browser: Browser,
    sqlite_store: Store,
    record: Callable[[Store, Iterable[EventBase]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    version = {"definition": "etl", "definition_kind": "dag", "version": "v1", "schedule": "@hourly"}
    record(sqlite_store, [make(DefinitionEvent, seconds=-10, **version)])
    for hour in (0, 1, 3):
        record(sqlite_store, a_run(f"r{hour}", begins=hour * 3600 + 5))
        load = {"definition": "etl.load", "kind": "task", "inside": f"r{hour}"}
        record(sqlite_store, a_run(f"load {hour}", begins=hour * 3600 + 6, **load))
    with running(sqlite_store, load_settings(url="sqlite:///unused")) as served:
        page = browser.new_page(base_url=served)
        page.goto("/definition?name=etl&as_of=2026-11-24T12:30:00Z")
        place = page.locator("table.grid td:focus-within")
        page.locator("table.grid tbody tr:last-child a").last.focus()
        for key, expected in (
            ("Home", 1), ("ArrowRight", 2), ("ArrowRight", 4), ("ArrowLeft", 2), ("End", 4), ("ArrowUp", 4), ("End", 4),
        ):  # fmt: skip
            page.keyboard.press(key)
            assert place.evaluate("cell => cell.cellIndex") == expected, key
        page.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_grid_shows_its_newest_runs_beside_the_names_of_its_steps(look: Callable[..., Page], script: bool) -> None:
    for width in (320, 1440):
        page = look("/definition?name=shop", width=width, java_script_enabled=script)
        wrap, name, newest = (
            page.locator(place).first.bounding_box()
            for place in (".grid-wrap", ".grid tbody th", ".grid tbody tr:first-child td:last-child")
        )
        assert wrap is not None
        assert name is not None
        assert newest is not None
        # Nothing that is scrolled away stands left of the names.
        assert name["x"] == wrap["x"]
        assert newest["x"] + newest["width"] <= wrap["x"] + wrap["width"]
