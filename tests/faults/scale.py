"""How much the fault tests do, what is promised, and what they found.

`RUNVIS_FAULTS_ROUNDS` is by how much a large form is larger than the small one that every test run has (1).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

ROUNDS: Final = int(os.environ.get("RUNVIS_FAULTS_ROUNDS", "1"))
IS_LARGE: Final = ROUNDS > 1


PROMISES: Final = {
    "process crash": ("what `record` returned for is stored once", "0 lost, 0 doubled in 1,000 kills, 100,000 events"),
    "system-call faults": ("consistent after any failure", "0 lost that is not counted, at every call"),
    "power loss": ("unsynced is never acknowledged", "0 violations in 10,000 seeds"),
    "disk full": ("the host is unharmed, loss is counted", "0 task failures, 0 uncounted"),
    "outage": ("the backlog drains", "0 lost, 0 doubled of 100,000 events"),
    "positions": ("no gaps under concurrency", "0 gaps, 0 lost, 8 writers x 1,000 on each store"),
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

AT_LEAST: Final[dict[str, dict[str, int]]] = {
    "process crash": {"kills": 1_000, "events": 100_000},
    "power loss": {"seeds": 10_000},
    "outage": {"events": 100_000},
    "positions": {"writers": 16, "events": 16_000},
    "model": {"lives": 1_000},
    "tampering": {"edits": 10_000},
    "interoperability": {"roots": 9, "note_vectors": 2, "checked_by_another": 1},
    "ingest": {"requests": 20_000, "bombs": 1},
    "secrets": {"canaries": 1_000},
    "paths, markup": {"payloads": 500},
}
"""How many of what have to be tried for that figure."""


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
    counts: dict[str, int]


FINDINGS: Final[list[Finding]] = []
"""What this session's tests counted, in their order."""


def found(area: str, **counts: int) -> None:
    """Keep what a test counted, for the table at the end. Whether it is as promised the test itself asserts."""
    assert area in PROMISES
    FINDINGS.append(Finding(area, counts))


def sum_up(findings: Iterable[Finding]) -> Iterator[dict[str, Any]]:
    """Yield a row for each promise: numbers added up over a session's tests, of peaks the highest."""
    findings = list(findings)
    for area, (promise, figure) in PROMISES.items():
        counts: dict[str, int] = defaultdict(int)
        for finding in findings:
            if finding.area == area:
                for name, value in finding.counts.items():
                    counts[name] = max(counts[name], value) if name.startswith("most_") else counts[name] + value
        holds = bool(counts) and not any(counts[name] for name in BAD & counts.keys())
        is_reached = holds and all(counts[name] >= number for name, number in AT_LEAST.get(area, {}).items())
        said = {name: value for name, value in counts.items() if value or name in BAD}
        yield {
            "case": area,
            "promise": promise,
            "goal": figure,
            "counts": said,
            "holds": holds,
            "reached": is_reached,
        }


def as_table(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield the rows as lines for a person, and then as JSON lines for a program."""
    rows = list(sum_up(findings))
    for row in rows:
        counted = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in row["counts"].items())
        verdict = "holds" if row["reached"] else "so far" if row["holds"] else "BROKEN" if counted else "NOT SHOWN"
        yield f"{verdict:<10} {row['case']:<20} {row['goal']}"
        yield f"{'':<10} {'':<20} {counted or 'no test of it ran'}"
    yield from (json.dumps(row, ensure_ascii=False) for row in rows)
