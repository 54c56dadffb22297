"""A list of all runs as a file, of a large store and of one a tenth as large: the memory that the server takes for it.

A real `runvis serve` is asked for all runs, as JSON lines and as CSV; its peak memory is the kernel's own count.
`RUNVIS_BENCH_EXPORT_RUNS` says how many runs (20,000), `RUNVIS_BENCH_STORES` names a folder in which the stores stay,
for a next time.
"""

from __future__ import annotations

import http.client
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.big_store import fill_store
from benchmarks.environments import own_versions
from benchmarks.harness import Goal, Result, judge
from benchmarks.history import History
from benchmarks.posting import serving
from benchmarks.reads import STORES
from runvis_core.store.database import open_store

RUNS = int(os.environ.get("RUNVIS_BENCH_EXPORT_RUNS", "20000"))
KINDS = {"JSON lines": "application/x-ndjson", "CSV": "text/csv"}


def measure(part: str = "") -> Iterator[Result]:
    """Measure both kinds of files."""
    del part
    with tempfile.TemporaryDirectory(prefix="runvis-bench-") as folder:
        urls = {runs: f"sqlite:///{Path(STORES or folder) / f'runs-{runs}.db'}" for runs in (RUNS // 10, RUNS)}
        for runs, url in urls.items():
            with closing(open_store(url)) as store:
                if not store.log.head().position:
                    fill_store(store, History(runs))
        for kind, media_type in KINDS.items():
            small, large = (_peak(url, media_type, runs) for runs, url in urls.items())
            case = f"export of {RUNS:,} runs as {kind}: peak memory / of {RUNS // 10:,} runs"
            yield judge(case, large, small, unit="MiB", goal=Goal("<=", 1.1), versions=own_versions("starlette"))


def _peak(url: str, media_type: str, runs: int) -> float:
    with serving(url) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3600)
        connection.request("GET", "/api/v1/runs", headers={"Accept": media_type})
        answer = connection.getresponse()
        lines = 0
        while part := answer.read(1 << 20):
            lines += part.count(b"\n")
        connection.close()
        if answer.status != 200 or lines < runs:
            raise RuntimeError(f"the server answered {answer.status}, with {lines} lines of {runs}")
        return server.peak_mebibytes()
