"""What a large store answers, and how soon: the feed narrowed in every way, a definition, a run, the overview, search.

A real `runvis serve` stands before a store that `big_store` made, and is asked over one connection, cold pages first.
`RUNVIS_BENCH_RUNS` says how many runs (100,000), `RUNVIS_BENCH_STORES` names a folder in which the SQLite file stays,
for a next time.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import select

from benchmarks.big_store import fill_store
from benchmarks.environments import own_versions
from benchmarks.figures import median, p95
from benchmarks.harness import Goal, Result, judge
from benchmarks.history import History
from benchmarks.ingest import DATABASES
from benchmarks.posting import serving
from runvis_core.services.cursors import write_cursor
from runvis_core.services.filters import RunFilter
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import runs

RUNS = int(os.environ.get("RUNVIS_BENCH_RUNS", "100000"))
STORES = os.environ.get("RUNVIS_BENCH_STORES")
ASKS = 20
LIMIT_MS = 50.0
DEEP_SHARE = 0.9

FILTERS: Mapping[str, Sequence[str]] = {
    "engine": ("airflow", "ci"),
    "deployment": ("staging", "nowhere"),
    "definition": ("shop_3", "shop_3.load_5", "nothing"),
    "kind": ("task", "job"),
    "state": ("Failed", "Succeeded", "TimedOut"),
    "native_state": ("failed", "cancelled", "nothing"),
    "tag": ("prod", "audit", "nothing"),
    "trigger": ("schedule", "manual", "backfill"),
    "top": ("true",),
    "silent": ("true",),
    "conflicting": ("true",),
    "unnamed": ("true",),
    "text": ("deadlock process", "rows", "nothing"),
    "since": ("-50",),
    "until": ("-50",),
}
"""Each filter with a value of many runs, one of few, and one of none; days before the end where it is a moment."""


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one."""
    for name, databases in DATABASES.items():
        if part in ("", name):
            with databases() as (make, versions):
                url, history = kept_store(make()) if name == "sqlite" else (make(), large_history())
                yield from measure_store(name, url, history, versions | own_versions("sqlalchemy", "psycopg"))


def measure_store(name: str, url: str, history: History, versions: dict[str, str]) -> Iterator[Result]:
    """Fill the store at an address unless it is filled, serve it, and ask."""
    with closing(open_store(url)) as store:
        if not store.log.head().position:
            fill_store(store, history)
        questions = list(_questions(store, history))
        first, deep = _first_and_deep(store, history)
    case = f"reads {name}, {RUNS:,} runs"
    with serving(url) as server, asking(server.port) as ask:
        for question, paths in {"": (first,), "deep": (deep,)}.items():
            [ask(path) for path in paths for _ in range(3)]
            del question
        slowest = max(
            ((pair, [ask(path) for _ in range(ASKS)]) for pair, path in _pairs(history)),
            key=lambda one: p95(one[1]),
        )
        yield _held(f"{case}: feed, slowest of any two filters ({slowest[0]})", slowest[1], versions)
        for question, path in questions:
            yield _held(f"{case}: {question}", [ask(path) for _ in range(ASKS)], versions)
        rounds = [(ask(deep), ask(first)) for _ in range(2 * ASKS)]
        ratio = median([below / above for below, above in rounds])
        figures = [median([one[place] for one in rounds]) for place in (0, 1)]
        goal, words = Goal("<=", 1.5), f"{case}: page at {DEEP_SHARE:.0%} of the list / its first page"
        yield judge(words, *figures, unit="ms", ratio=ratio, goal=goal, versions=versions)


def _held(case: str, figures: Sequence[float], versions: dict[str, str]) -> Result:
    goal = Goal("<=", 1)
    return judge(f"{case}, p95 / {LIMIT_MS:g} ms", p95(figures), LIMIT_MS, unit="ms", goal=goal, versions=versions)


def large_history() -> History:
    """Return a history of `RUNS` that ends within this hour."""
    from datetime import UTC, datetime

    return History(RUNS, until=datetime.now(UTC).replace(minute=0, second=0, microsecond=0))


def kept_store(url: str) -> tuple[str, History]:
    """Return where the store of the large history is kept, if it is, and what is or will be in it."""
    if STORES is None:
        return url, large_history()
    return f"sqlite:///{Path(STORES) / f'runs-{RUNS}.db'}", large_history()


@dataclass(frozen=True)
class _Narrowed:
    """One filter with one value."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def _pairs(history: History) -> Iterator[tuple[str, str]]:
    """Yield each pair of filters with each of their values, as words and as the path of the page."""
    narrowed = [_Narrowed(name, value) for name, values in FILTERS.items() for value in values]
    for one, other in combinations(narrowed, 2):
        if one.name != other.name:
            asked = {filter_.name: _value(filter_, history) for filter_ in (one, other)}
            yield f"{one}, {other}", f"/api/v1/runs?{urlencode({'limit': 50, **asked})}"


def _value(filter_: _Narrowed, history: History) -> str:
    from datetime import timedelta

    if filter_.name in ("since", "until"):
        return (history.until + timedelta(days=int(filter_.value))).isoformat()
    return filter_.value


def _questions(store: Store, history: History) -> Iterator[tuple[str, str]]:
    big = first_run(store, "wide")
    yield "feed, the page", "/runs"
    yield "feed, the page, failed ones of all", "/runs?state=Failed&all=true"
    yield "overview", "/"
    yield "health, the answer", "/api/v1/health"
    yield "definitions, the page", "/definitions"
    yield "definition, the page", f"/definition?{urlencode({'name': 'shop_3', 'deployment': 'prod'})}"
    yield "definition, the answer", "/api/v1/definitions/shop_3?deployment=prod"
    yield "definition's grid, the answer", "/api/v1/definitions/shop_3/grid?deployment=prod"
    yield f"run with {history.wide:,} tasks, the page", f"/runs/{big}"
    yield f"run with {history.wide:,} tasks, the answer", f"/api/v1/runs/{big}"
    for words in ("deadlock", "shop_3", "mart.table", "4f1c2d9e", big, "nothing at all"):
        yield f"search for {words if words != big else 'an id'}", f"/search?{urlencode({'q': words})}"
    yield "search, the answer", f"/api/v1/search?{urlencode({'q': 'no partition for batch 12'})}"


def first_run(store: Store, definition: str) -> str:
    """Return the id of the earliest run of a definition."""
    query = select(runs.c.run_id).where(runs.c.definition == definition).order_by(runs.c.sort_at).limit(1)
    with store.engine.connect() as connection:
        return str(connection.execute(query).scalar_one())


def _first_and_deep(store: Store, history: History) -> tuple[str, str]:
    """Return the path of the list's first page, and of that which begins at a share of its length."""
    order = select(runs.c.sort_at, runs.c.run_id).order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
    with store.engine.connect() as connection:
        row = connection.execute(order.offset(int(history.runs * DEEP_SHARE)).limit(1)).one()
    cursor = write_cursor([row.sort_at.isoformat(), str(row.run_id)], of="runs", filters=RunFilter())
    return "/api/v1/runs?limit=50", f"/api/v1/runs?{urlencode({'limit': 50, 'cursor': cursor})}"


Ask = Callable[[str], float]


@contextmanager
def asking(port: int) -> Iterator[Ask]:
    """A function that asks for a path over one connection, and returns the milliseconds until the whole answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def ask(path: str) -> float:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept": "application/json, text/html", "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        if answer.status not in (200, 302, 303, 307):
            raise RuntimeError(f"{path}: the server answered {answer.status}: {body[:300]!r}")
        return took * 1000

    try:
        yield ask
    finally:
        connection.close()
