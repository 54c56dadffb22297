"""The tour's images: made from pages that show what the tour says of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.runvis_core.web.conftest import LONG, running
from tests.runvis_core.web.histories import BAD, GOOD, a_shop
from tests.runvis_core.web.test_pages import loop_events

from runvis_core.model.event import EventBase
from runvis_core.settings import load_settings
from runvis_core.store.database import Store

TOUR = Path(__file__).parents[3] / "docs" / "tutorials" / "tour.md"
FOLDER = "RUNVIS_TOUR_FOLDER"
"""Where the images go. Without it they are made all the same, and thrown away."""
MAX_BYTES = 100_000
PNG = b"\x89PNG\r\n\x1a\n"
SHOTS: dict[str, tuple[str, list[str]]] = {
    "overview": ("/", ["2 definitions failing", "ValueError: upstream returned 0 rows", "Last went well"]),
    "run": (f"/runs/{BAD}", ["shop.stage attempt 2", "1 step not run", "Waiting to try again", "→ prefect"]),
    "compare": (f"/compare?left={GOOD}&right={BAD}", ["conf.day", "What is equal"]),
    "past": ("/runs?as_of=2026-11-24T08:00:30Z", ["As of 24 Nov 2026 08:00:30 UTC", "Return to now", "Running"]),
    "loop": ("/graph?node=plan", ["Loop, 2 nodes", "plan", "learn"]),
}
"""By image: the page, and what it shows of what the tour says."""


@pytest.fixture
def page(
    browser: Browser,
    sqlite_store: Store,
    record: Callable[[Store, Iterable[EventBase]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Page]:
    monkeypatch.chdir(tmp_path)
    record(sqlite_store, [*a_shop(), *loop_events()])
    with running(sqlite_store, load_settings(url="sqlite:///unused")) as address:
        context = browser.new_context(base_url=address, viewport={"width": 1000, "height": 560}, color_scheme="light")
        context.set_default_timeout(LONG * 1000.0)
        yield context.new_page()
        context.close()


def test_every_image_of_the_tour_is_made_from_a_page_that_shows_what_it_says(page: Page) -> None:
    folder = os.environ.get(FOLDER)
    for name, (address, words) in SHOTS.items():
        page.goto(address)
        for said in words:
            expect(page.locator("body")).to_contain_text(said, timeout=LONG * 1000.0)
        image = page.screenshot()
        assert image.startswith(PNG)
        if folder:
            (TOUR.parents[2] / folder / f"{name}.png").write_bytes(image)


def test_the_tour_shows_just_these_images_and_each_is_there() -> None:
    named = re.findall(r"!\[[^\]]+\]\(tour/(\w+)\.png\)", TOUR.read_text())
    assert sorted(named) == sorted(SHOTS)
    for name in named:
        image = (TOUR.parent / "tour" / f"{name}.png").read_bytes()
        assert image.startswith(PNG)
        assert len(image) <= MAX_BYTES
    assert sorted(path.stem for path in (TOUR.parent / "tour").iterdir()) == sorted(SHOTS)
