"""Processes to harm, by forks of one that is warm: it takes one job a line from its input, as JSON, and answers each.

Each job is done by a child that waits until somebody watches it: its id is the first answer, and any line lets it go.
The second answer says what it told before it ended: for which events `record`, or the store, returned, and what it
counted as lost. A child says so by `writev`, so that a fault in `write` is a fault of what is under test.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.told import an_end, numbered

# Loaded before the forks, not by each child.
from runvis_core.emit import circuit
from runvis_core.emit.recorder import Recorder
from runvis_core.errors import StoreError
from runvis_core.model.state import Witness
from runvis_core.plugins import plugin_manager
from runvis_core.services import transport  # noqa: F401
from runvis_core.services.ingest import ingest_events
from runvis_core.settings import Settings
from runvis_core.store.database import open_store

EVENTS: Final = 6
_PR_SET_PTRACER: Final = 0x59616D61
_ANYBODY: Final = ctypes.c_ulong(-1)

Say = Callable[[Any], None]


def spool(job: Mapping[str, Any], say: Say) -> None:
    """Record, with a thread that delivers to the store meanwhile, and close."""
    settings = Settings(url=job["url"], deployment="prod", spool_dir=Path(job["spool"]))
    recorder = Recorder(settings, component="task", engine="airflow", witness=Witness.WORKER)
    for number in range(EVENTS):
        recorder.record([numbered("x", number)])
        say({"returned": f"x/{number}"})
    recorder.record([an_end("x")])
    delivery = recorder._delivery
    recorder.close(budget_seconds=2)
    if delivery is not None:
        # What waits in memory, because the spool could not be written, goes with the process.
        say({"lost": recorder.refused + delivery.outbox.lost + len(delivery.outbox._memory)})


def store(job: Mapping[str, Any], say: Say) -> None:
    """Take events into the store, each once more where that failed, and close it."""
    try:
        opened = open_store(job["url"])
    except StoreError:
        opened = open_store(job["url"])
    for number in range(EVENTS):
        for _ in range(2):
            try:
                ingest_events(opened, [numbered("x", number)], principal="local")
            except StoreError:
                continue
            say({"returned": f"x/{number}"})
            break
    opened.close()


def _be_harmed(job: Mapping[str, Any], waits: int, tells: int) -> None:
    # Where only a parent may trace, anybody may trace this one.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    os.read(waits, 1)
    work = {"spool": spool, "store": store}[job["work"]]
    work(job, lambda said: os.writev(tells, [json.dumps(said).encode() + b"\n"]))


def _do(job: Mapping[str, Any]) -> dict[str, Any]:
    waits, lets_go = os.pipe()
    listens, tells = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(lets_go)
        os.close(listens)
        try:
            _be_harmed(job, waits, tells)
        except BaseException as error:  # noqa: BLE001 - it is told, and the test says whether it may be
            os.writev(tells, [json.dumps({"error": repr(error)}).encode() + b"\n"])
        finally:
            os._exit(0)
    os.close(waits)
    os.close(tells)
    print(pid, flush=True)
    sys.stdin.readline()
    os.write(lets_go, b"x")
    os.close(lets_go)
    with os.fdopen(listens) as heard:
        said = [json.loads(line) for line in heard]
    _, status = os.waitpid(pid, 0)
    return {
        "returned": [one["returned"] for one in said if "returned" in one],
        "lost": sum(one.get("lost", 0) for one in said),
        "errors": [one["error"] for one in said if "error" in one],
        "killed": os.WIFSIGNALED(status),
    }


def main() -> None:
    circuit.FIRST_RETRY_SECONDS = circuit.LONGEST_RETRY_SECONDS = 0.05
    plugin_manager()
    while line := sys.stdin.readline():
        print(json.dumps(_do(json.loads(line))), flush=True)


main()
