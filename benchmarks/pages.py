"""RunVis's pages beside the pages of the engines that it records, in one real Chromium, about the same runs.

A real Airflow and a real Prefect run something that fails, and record it. Then the page of the failed run and the list
that it stands in are opened in all of them in turn, each time with nothing in the browser's cache. What counts is the
first paint, and the moment at which the text is there that says what the page is about.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import httpx

from benchmarks.environments import own_versions, python_of
from benchmarks.harness import Goal, Result, Side, alternate, compare, judge
from benchmarks.posting import serving
from benchmarks.workload import DEPLOYMENT
from runvis_core.cli.demo.command import STORY
from runvis_core.cli.demo.engines import AirflowEngine, PrefectEngine
from runvis_core.client import Client
from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import EventBase, IdentityEvent, StateEvent
from runvis_core.model.identity import run_id
from runvis_core.model.state import State, Witness
from runvis_core.services.filters import RunFilter
from runvis_core.settings import load_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROUNDS = 7
WARM_UP = 2
WAIT_SECONDS = 180
VIEWPORT = {"width": 1440, "height": 900}
DAG, TASK = "returns", "pay_back"
HALF = Goal("<=", 0.5)
_STORIES = Path(__file__).parent / "stories"


class Opened(NamedTuple):
    """One opening of a page: milliseconds since it was asked for, and what was sent over the network."""

    first_paint: float
    key_text: float
    kilobytes: float
    requests: float
    script_kilobytes: float
    server: float
    """From the request to the last byte of the page itself."""


_UNITS = {"first paint": "ms", "key text": "ms", "weight": "kB", "requests": "requests"}
_GOALS = {"first paint": HALF, "key text": HALF}


class Page(NamedTuple):
    """Where a page is, and the text without which it says nothing."""

    address: str
    text: str


def measure(part: str = "") -> Iterator[Result]:
    """Measure beside both engines (`beside`), or the named one (`airflow`, `prefect`), or `live`."""
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        port = stack.enter_context(serving(f"sqlite:///{folder / 'runvis.db'}")).port
        ours = f"http://127.0.0.1:{port}"
        browser = stack.enter_context(chromium())
        versions = own_versions("fastapi", "jinja2", "playwright") | {"chromium": browser.version}
        # One engine at a time: the other's processes would only be in the way.
        for engine, pages_of in (("airflow", _airflow_pages), ("prefect", _prefect_pages)):
            if part in ("", "beside", engine):
                with ExitStack() as running:
                    pairs = pages_of(running, folder / engine, ours)
                    yield from _measure_pairs(browser, engine, pairs, versions)
        if part in ("", "live"):
            yield _measure_live(browser, ours, versions)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real Chromium, ended with the block."""
    from playwright.sync_api import sync_playwright

    executable = which("chromium") or which("chromium-browser") or which("google-chrome")
    if executable is None:
        raise RuntimeError("no Chromium is on PATH: `make bench` installs the system's")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


def _recorded(folder: Path, ours: str) -> dict[str, str]:
    return {"RUNVIS_URL": ours, "RUNVIS_DEPLOYMENT": DEPLOYMENT, "RUNVIS_SPOOL_DIR": str(folder / "spool")}


def _airflow_pages(running: ExitStack, folder: Path, ours: str) -> dict[str, tuple[Page, Page]]:
    """Let a DAG fail in an Airflow that stays up; return of each page ours and theirs."""
    variables = _recorded(folder, ours) | {"SHOP_PREFECT_API": ""}
    engine = AirflowEngine(python_of("airflow"), folder, dags=STORY / "airflow", variables=variables)
    running.enter_context(engine)
    engine.wait_for_dags(DAG)
    engine.trigger(DAG)
    engine.wait_for_runs(DAG, timeout_seconds=WAIT_SECONDS)
    # Our page of the run is whole once the task's own process has delivered, too.
    _find_ended(ours, f"{DAG}.{TASK}", top=False)
    run = _find_ended(ours, DAG)
    theirs = f"http://127.0.0.1:{engine.port}"
    assert run.context.native_url is not None, "the scheduler tells where Airflow shows a DAG run"
    return {
        "a failed run": (
            Page(f"{ours}/runs/{run.run_id}", TASK),
            Page(run.context.native_url, TASK),
        ),
        "runs": (Page(f"{ours}/runs", DAG), Page(f"{theirs}/dag_runs", DAG)),
        "the overview": (Page(f"{ours}/", DAG), Page(f"{theirs}/", "Failed")),
    }


def _prefect_pages(running: ExitStack, folder: Path, ours: str) -> dict[str, tuple[Page, Page]]:
    """Let a flow fail beside a Prefect server that stays up; return of each page ours and theirs."""
    engine = running.enter_context(PrefectEngine(python_of("prefect"), folder, with_ui=True))
    engine.run_flow(_STORIES / "forecast.py", timeout_seconds=WAIT_SECONDS, **_recorded(folder, ours))
    run = _find_ended(ours, "forecast")
    assert engine.api_url is not None, "this engine has a server"
    theirs = engine.api_url.removesuffix("/api")
    return {
        "a failed run": (
            Page(f"{ours}/runs/{run.run_id}", "forecast"),
            Page(f"{theirs}/runs/flow-run/{run.native_id}", "forecast"),
        ),
        "runs": (Page(f"{ours}/runs", "forecast"), Page(f"{theirs}/runs", "forecast")),
        "the overview": (Page(f"{ours}/", "forecast"), Page(f"{theirs}/dashboard", "forecast")),
    }


def _find_ended(ours: str, definition: str, *, top: bool = True) -> Any:
    """Return the last run of a definition, once the store knows that it failed."""
    deadline = time.monotonic() + WAIT_SECONDS
    filters = RunFilter(definition=definition, state=[State.FAILED], top=top)
    with Client(load_settings(url=ours)) as client:
        while not (found := client.list_runs(filters, limit=1).items):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no failed run of {definition} is in the store after {WAIT_SECONDS} s")
            time.sleep(0.5)
    return found[0]


def _measure_pairs(
    browser: Browser, engine: str, pairs: dict[str, tuple[Page, Page]], versions: dict[str, str]
) -> Iterator[Result]:
    for name, (ours, theirs) in pairs.items():
        sides: dict[str, Side] = {"ours": opener(browser, ours), "theirs": opener(browser, theirs)}
        rounds = alternate(sides, rounds=ROUNDS, warm_up=WARM_UP)
        for place, (figure, unit) in enumerate(_UNITS.items()):
            mine, others = ([[one[place]] for one in rounds[side]] for side in ("ours", "theirs"))
            case = f"{name}, {figure}: ours / {engine.capitalize()}'s own"
            yield compare(case, mine, others, unit=unit, goal=_GOALS.get(figure), versions=versions)


def opener(browser: Browser, page: Page) -> Callable[[], Opened]:
    """Return what opens a page with an empty cache, signed in as it was before."""
    signed_in: list[Any] = []

    def opens() -> Opened:
        # A context of its own has an empty cache; that somebody signed in before is kept.
        context = browser.new_context(viewport=VIEWPORT, storage_state=signed_in[0] if signed_in else None)  # type: ignore[arg-type]
        try:
            opened = open_page(context, page)
            if not signed_in:
                signed_in.append(context.storage_state())
            return opened
        finally:
            context.close()

    return opens


_TEXT_IS_THERE = """text => document.body && document.body.innerText.includes(text)
  && performance.getEntriesByName('first-contentful-paint').length && performance.now()"""
_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_SERVER = "(page => page.responseEnd - page.requestStart)(performance.getEntriesByType('navigation')[0])"


def open_page(context: Any, page: Page) -> Opened:
    tab = context.new_page()
    tab.set_default_timeout(WAIT_SECONDS * 1000)
    told = context.new_cdp_session(tab)
    told.send("Network.enable")
    sizes: dict[str, float] = {}
    scripts: set[str] = set()
    told.on("Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}))
    told.on("Network.responseReceived", lambda got: got["type"] == "Script" and scripts.add(got["requestId"]))
    tab.goto(page.address, wait_until="commit")
    key_text = tab.wait_for_function(_TEXT_IS_THERE, arg=page.text, polling="raf").json_value()
    first_paint = tab.evaluate(_FIRST_PAINT)
    tab.wait_for_load_state("load")
    return Opened(
        float(first_paint),
        float(key_text),
        sum(sizes.values()) / 1000,
        float(len(sizes)),
        sum(sizes.get(script, 0.0) for script in scripts) / 1000,
        float(tab.evaluate(_SERVER)),
    )


def _measure_live(browser: Browser, ours: str, versions: dict[str, str]) -> Result:
    """Return how soon a new run is on an open page, beside a second."""
    context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
    took: list[float] = []
    with httpx.Client(base_url=ours, timeout=WAIT_SECONDS, trust_env=False) as client:
        tab = context.new_page()
        tab.set_default_timeout(WAIT_SECONDS * 1000)
        tab.goto(f"{ours}/runs?live=1")
        tab.wait_for_function("document.querySelector('.live span').textContent === 'on'")
        for number in range(ROUNDS * 3):
            made = uuid4().hex
            about = run_id("airflow", DEPLOYMENT, ("dag_run", made))
            body = b'{"items":[' + b",".join(wire_item(seal(event)) for event in _started(made)) + b"]}"
            client.post("/api/v1/events", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
            began = time.perf_counter()
            tab.wait_for_selector(f"tr[data-run='{about}']")
            if number >= WARM_UP:
                took.append((time.perf_counter() - began) * 1000)
    context.close()
    ordered = sorted(took)
    case = "a new run on an open page, median / one second"
    return judge(case, ordered[len(ordered) // 2], 1000.0, unit="ms", goal=Goal("<=", 1), versions=versions)


def _started(made: str) -> list[EventBase]:
    told: dict[str, Any] = {
        "engine": "airflow",
        "deployment": DEPLOYMENT,
        "witness": Witness.WORKER,
        "run_id": run_id("airflow", DEPLOYMENT, ("dag_run", made)),
        "occurred_at": datetime.now(UTC),
    }
    named = {"definition": "news", "definition_kind": "dag", "native_key": made, "native_id": made}
    return [IdentityEvent(**told, **named), StateEvent(**told, state=State.RUNNING)]
