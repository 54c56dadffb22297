"""What a start costs the caller's thread: `Recorder.record` beside building and serialising OpenLineage's event.

RunVis's time holds redaction, sealing with the digests of bodies, and the write into the spool file. The address
refuses: nobody takes anything away, and the delivery thread tries, backs off and competes for the interpreter.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from benchmarks.environments import Peer, own_versions, python_of
from benchmarks.figures import median, p99
from benchmarks.harness import Goal, Result, alternate, compare
from benchmarks.posting import free_port
from benchmarks.workload import DEPLOYMENT, ENGINE, context, start
from runvis_core.emit.recorder import Recorder
from runvis_core.model.state import Witness
from runvis_core.settings import load_settings

ROUNDS = 10
STARTS = 300


def measure(_part: str = "") -> Iterator[Result]:
    """Measure `record` by itself, which the goals are for, and with the making of the events."""
    with tempfile.TemporaryDirectory() as folder, Peer("openlineage_event.py", python=python_of("openlineage")) as peer:
        settings = load_settings(
            url=f"http://127.0.0.1:{free_port()}", deployment=DEPLOYMENT, spool_dir=Path(folder, "spool")
        )
        recorder = Recorder(settings, component="task", engine=ENGINE, witness=Witness.WORKER)
        contexts = [context(number) for number in range(STARTS)]
        try:
            rounds = alternate(
                {
                    "record": lambda: _record(recorder),
                    "make and record": lambda: _make_and_record(recorder),
                    "openlineage": lambda: peer.figures(contexts=contexts),
                },
                rounds=ROUNDS,
            )
        finally:
            recorder.close(budget_seconds=0)
        if recorder.refused:
            raise RuntimeError(f"{recorder.refused} events were not recorded, so their time says nothing")
        versions = own_versions("pydantic", "orjson") | peer.versions
        beside = rounds["openlineage"]
        for name, (p50_goal, p99_goal) in {
            "record": (Goal("<=", 0.25), Goal("<=", 1)),
            "make and record": (None, None),
        }.items():
            case = f"{name} a start / OpenLineage builds and serialises"
            yield compare(
                f"{case}: p50", rounds[name], beside, unit="us", summary=median, goal=p50_goal, versions=versions
            )
            yield compare(
                f"{case}: p99", rounds[name], beside, unit="us", summary=p99, goal=p99_goal, versions=versions
            )


def _record(recorder: Recorder) -> Sequence[float]:
    salt, figures = uuid4().hex, []
    for events in [start(number, salt=salt) for number in range(STARTS)]:
        began = time.perf_counter_ns()
        recorder.record(events)
        figures.append((time.perf_counter_ns() - began) / 1000)
    return figures


def _make_and_record(recorder: Recorder) -> Sequence[float]:
    salt, figures = uuid4().hex, []
    for number in range(STARTS):
        began = time.perf_counter_ns()
        recorder.record(start(number, salt=salt))
        figures.append((time.perf_counter_ns() - began) / 1000)
    return figures
