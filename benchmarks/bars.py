"""Every page over a large store in one real Chromium, each time with an empty cache: is it soon there, and small?

Of each figure the page that comes off worst is named. The store is that of `reads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from sqlalchemy import select

from benchmarks.big_store import fill_store
from benchmarks.environments import own_versions
from benchmarks.figures import p95
from benchmarks.harness import Goal, Result, judge
from benchmarks.history import History
from benchmarks.ingest import DATABASES
from benchmarks.pages import Opened, Page, chromium, opener
from benchmarks.posting import serving
from benchmarks.reads import RUNS, first_run, kept_store
from runvis_core.model.state import State
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import runs

LOADS = 20
DAYS_AGO = timedelta(days=30)


class Bar(NamedTuple):
    """What a figure of a page has to stay under."""

    words: str
    limit: float
    unit: str
    figure: Callable[[Sequence[Opened]], float]


BARS = (
    Bar("first paint, p95", 500, "ms", lambda all_: p95([one.first_paint for one in all_])),
    Bar("key text, p95", 700, "ms", lambda all_: p95([one.key_text for one in all_])),
    Bar("server, p95", 150, "ms", lambda all_: p95([one.server for one in all_])),
    Bar("weight", 60, "kB", lambda all_: max(one.kilobytes for one in all_)),
    Bar("script", 15, "kB", lambda all_: max(one.script_kilobytes for one in all_)),
    Bar("requests", 4, "requests", lambda all_: max(one.requests for one in all_)),
)


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one."""
    for name, databases in DATABASES.items():
        if part in ("", name):
            with databases() as (make, versions):
                url, history = kept_store(make()) if name == "sqlite" else (make(), kept_store("")[1])
                yield from measure_store(name, url, history, versions | own_versions("jinja2", "playwright"))


def measure_store(name: str, url: str, history: History, versions: dict[str, str]) -> Iterator[Result]:
    """Fill the store at an address unless it is filled, serve it, and open every page of it."""
    with closing(open_store(url)) as store:
        if not store.log.head().position:
            fill_store(store, history)
        pages = dict(_pages(store, history))
    with serving(url) as server, chromium() as browser:
        opened = {
            words: _load(opener(browser, page._replace(address=f"http://127.0.0.1:{server.port}{page.address}")))
            for words, page in pages.items()
        }
        yield from _worst(f"bars {name}, {RUNS:,} runs", opened, versions | {"chromium": browser.version})


def _load(opens: Callable[[], Opened]) -> list[Opened]:
    return [opens() for _ in range(LOADS)]


def _worst(case: str, opened: Mapping[str, Sequence[Opened]], versions: dict[str, str]) -> Iterator[Result]:
    for bar in BARS:
        figures = {words: bar.figure(loads) for words, loads in opened.items()}
        worst = max(figures, key=lambda words: figures[words])
        words = f"{case}: {bar.words}, worst of {len(figures)} pages ({worst}) / {bar.limit:g} {bar.unit}"
        yield judge(words, figures[worst], bar.limit, unit=bar.unit, goal=Goal("<=", 1), versions=versions)


def _pages(store: Store, history: History) -> Iterator[tuple[str, Page]]:
    """Yield every page as it is now, and those that have a past as they were, with what a person looks for on them."""
    shop = {"name": "shop_3", "deployment": "prod"}
    failed, well = (_last_run(store, "shop_3", state) for state in (State.FAILED, State.SUCCEEDED))
    dataset = {"node": "s3://lake/mart.table_3"}
    with_past = {
        "overview": ("/", {}, "shop_"),
        "runs": ("/runs", {}, "shop_"),
        "failed runs": ("/runs", {"state": "Failed", "all": "true"}, "shop_"),
        "definition": ("/definition", shop, "shop_3"),
        "failed run": (f"/runs/{failed}", {}, "shop_3"),
        "graph": ("/graph", dataset, "table_3"),
        "loops": ("/graph", {}, "oop"),
    }
    for words, (path, query, text) in with_past.items():
        yield words, Page(_address(path, query), text)
        as_of = {"as_of": (history.until - DAYS_AGO).isoformat()}
        if words != "failed run":
            yield f"{words}, {DAYS_AGO.days} days ago", Page(_address(path, query | as_of), text)
    yield "failed run, as known now", Page(_address(f"/runs/{failed}", {"known_at": _head(store)}), "shop_3")
    yield f"run with {history.wide:,} tasks", Page(f"/runs/{first_run(store, 'wide')}", "wide")
    yield "comparison", Page(_address("/compare", {"left": well, "right": failed}), "shop_3")
    yield "definitions", Page("/definitions", "fleet")
    yield "completeness", Page("/completeness", "airflow")
    yield "search", Page(_address("/search", {"q": "deadlock"}), "deadlock")


def _address(path: str, query: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _head(store: Store) -> int:
    return store.log.head().position


def _last_run(store: Store, definition: str, state: State) -> str:
    query = select(runs.c.run_id).where(runs.c.definition == definition, runs.c.effective_state == state.value)
    with store.engine.connect() as connection:
        return str(connection.execute(query.order_by(runs.c.sort_at.desc()).limit(1)).scalar_one())
