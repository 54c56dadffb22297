"""How much the fault tests do, what is promised, and what they found.

`RUNVIS_FAULTS_ROUNDS` is by how much a large form is larger than the small one that every test run has (1).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

ROUNDS: Final = int(os.environ.get("RUNVIS_FAULTS_ROUNDS", "1"))
IS_LARGE: Final = ROUNDS > 1

PROMISES: Final = {
    "process crash": ("what `record` returned for is stored once", "0 lost, 0 doubled in 1,000 kills"),
    "system-call faults": ("consistent after any failure", "0 lost that is not counted, at every call"),
    "power loss": ("unsynced is never acknowledged", "0 violations in 10,000 seeds"),
    "disk full": ("the host is unharmed, loss is counted", "0 task failures, 0 uncounted"),
    "outage": ("the backlog drains", "0 lost, 0 doubled"),
    "positions": ("no gaps under concurrency", "0 gaps, 0 lost"),
    "model": ("the store says what the model says", "0 divergences in 1,000 x 50 steps"),
    "tampering": ("every edit is named", "0 undetected of 10,000"),
    "interoperability": ("others verify us", "9 roots, 2 note vectors, a second implementation; 0 wrong"),
    "append-only": ("stated roles are refused", "0 of the matrix let through"),
    "ingest": ("bounded, no 5xx", "0 server errors in 20,000 requests, under 64 MiB more on bombs"),
    "authorisation": ("denied by default", "0 let through, each route x each set of scopes"),
    "secrets": ("none at rest", "0 leaked of 1,000, under 1% masked falsely"),
    "paths, markup": ("contained", "0 escaped of 500"),
}
"""What is promised, by area: the promise, and the figure for the large form."""

BAD: Final = frozenset(
    (
        *("lost", "doubled", "violations", "task_failures", "uncounted", "gaps", "divergences", "undetected"),
        *("wrong", "let_through", "server_errors", "leaked", "escaped"),
    )
)
"""Counts that are promised to be 0."""


class Finding(NamedTuple):
    """What one test counted."""

    area: str
    counts: dict[str, Any]


FINDINGS: Final[list[Finding]] = []
"""What this session's tests counted, in their order."""


def found(area: str, **counts: Any) -> None:
    """Keep what a test counted, for the table at the end. Whether it is as promised the test itself asserts."""
    assert area in PROMISES
    FINDINGS.append(Finding(area, counts))


def sum_up() -> Iterator[dict[str, Any]]:
    """Yield a row for each promise: numbers added up over this session's tests, of peaks the highest."""
    for area, (promise, figure) in PROMISES.items():
        counts: dict[str, Any] = defaultdict(int)
        for finding in FINDINGS:
            if finding.area == area:
                for name, value in finding.counts.items():
                    counts[name] = max(counts[name], value) if name.startswith("most_") else counts[name] + value
        is_shown = bool(counts)
        holds = is_shown and not any(counts[name] for name in BAD & counts.keys())
        yield {"case": area, "promise": promise, "goal": figure, "counts": dict(counts), "holds": holds}


def as_table() -> Iterator[str]:
    """Yield the rows as lines for a person, and then as JSON lines for a program."""
    rows = list(sum_up())
    for row in rows:
        counted = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in row["counts"].items())
        yield f"{'holds' if row['holds'] else 'NOT SHOWN':<10} {row['case']:<20} {row['goal']}"
        yield f"{'':<10} {'':<20} {counted or 'no test of it ran'}"
    yield from (json.dumps(row, ensure_ascii=False) for row in rows)
