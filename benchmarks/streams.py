"""Open streams of one server: whether they slow ingest, and how soon an event is on them.

Two servers take the same posts in turn, each with a store of its own: one has a hundred streams open, as pages open
them, whose readers are in a process of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.environments import Peer, own_versions
from benchmarks.figures import p95
from benchmarks.harness import Goal, Result, alternate, compare, judge
from benchmarks.ingest import DATABASES
from benchmarks.posting import Poster, serving
from benchmarks.workload import items

STREAMS = 100
ROUNDS = 7
POSTED, POSTS = 100, 200
TOLD = 40
WITHIN_MS = 1000.0
PAUSE_SECONDS = 0.3


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one."""
    for name, databases in DATABASES.items():
        if part in ("", name):
            with databases() as (make, versions), ExitStack() as stack:
                quiet = stack.enter_context(serving(make()))
                watched = stack.enter_context(serving(make()))
                for server in (quiet, watched):
                    # The runs that streams follow.
                    server.rate([items(POSTED)])
                readers = stack.enter_context(Peer("stream_readers.py", str(watched.port), str(STREAMS)))
                versions |= own_versions("starlette", "uvicorn")
                yield from _measure(name, quiet, watched, readers, versions)


def _measure(name: str, quiet: Poster, watched: Poster, readers: Peer, versions: dict[str, str]) -> Iterator[Result]:
    sides = {
        "with": lambda: [_rate(watched)],
        "without": lambda: [_rate(quiet)],
    }
    rounds = alternate(sides, rounds=ROUNDS)
    case = f"streams {name}: ingest with {STREAMS} open streams / with none"
    yield compare(case, rounds["with"], rounds["without"], unit="events/s", goal=Goal(">=", 0.9), versions=versions)
    taken = [_until_told(watched, readers) for _ in range(TOLD)]
    case = f"streams {name}: from a post to the last of {STREAMS} streams, p95 / {WITHIN_MS:g} ms"
    yield judge(case, p95(taken), WITHIN_MS, unit="ms", goal=Goal("<=", 1), versions=versions)


def _rate(poster: Poster) -> float:
    events = items(POSTED * POSTS)
    return poster.rate([events[begin : begin + POSTED] for begin in range(0, len(events), POSTED)])


def _until_told(poster: Poster, readers: Peer) -> float:
    """Return the milliseconds from before an event is posted until all streams of all events have it."""
    # The streams have told of all that was before, and wait.
    time.sleep(PAUSE_SECONDS)
    (event,) = items(1)
    began = time.monotonic()
    poster.rate([[event]])
    return (float(readers.ask(until="quiet")["last_at"]) - began) * 1000
