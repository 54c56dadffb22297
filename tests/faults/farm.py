"""Processes that record, by forks of one that is warm: `python farm.py '{"url": …, "spool": …, "children": …, …}'`.

Each child records numbered events and says of each when `record` has returned. With `"kills"` it is killed after a
number of them that a seeded generator gives; else it closes its recorder and ends. At the end this prints, as JSON, by
child the numbers for which `record` returned.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.told import an_end, numbered

# Loaded before the forks, not by each child.
from runvis_core.emit import circuit
from runvis_core.emit.recorder import Recorder
from runvis_core.model.state import Witness
from runvis_core.plugins import plugin_manager
from runvis_core.services import transport  # noqa: F401
from runvis_core.settings import Settings


def record(said: Mapping[str, Any], child: int, pipe: int) -> None:
    settings = Settings(url=said["url"], deployment="prod", spool_dir=Path(said["spool"]))
    recorder = Recorder(settings, component="task", engine="airflow", witness=Witness.WORKER)
    for number in range(said["events"]):
        recorder.record([numbered(child, number)])
        os.write(pipe, number.to_bytes(4, "big"))
        if number == said.get("fork_at"):
            _fork_in_the_middle(recorder, child)
    recorder.record([an_end(child)])
    recorder.close(budget_seconds=said.get("budget", 0))


def _fork_in_the_middle(recorder: Recorder, child: int) -> None:
    """Let a forked child record with the recorder that it inherited, while its parent goes on."""
    if (pid := os.fork()) == 0:
        recorder.record([numbered(f"{child}-fork", number) for number in range(3)])
        recorder.close(budget_seconds=0)
        os._exit(0)
    os.waitpid(pid, 0)


def run_child(said: Mapping[str, Any], child: int, kill_after: int | None) -> list[int]:
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(reading)
        try:
            record(said, child, writing)
        finally:
            os._exit(0)
    os.close(writing)
    returned = _follow(reading, pid, kill_after)
    os.close(reading)
    os.waitpid(pid, 0)
    return returned


def _follow(reading: int, pid: int, kill_after: int | None) -> list[int]:
    said = b""
    while more := os.read(reading, 65536):
        said += more
        if kill_after is not None and len(said) // 4 >= kill_after:
            os.kill(pid, signal.SIGKILL)
            kill_after = None
    return [int.from_bytes(said[place : place + 4], "big") for place in range(0, len(said) // 4 * 4, 4)]


def main() -> None:
    said = json.loads(sys.argv[1])
    circuit.FIRST_RETRY_SECONDS = circuit.LONGEST_RETRY_SECONDS = 0.05
    plugin_manager()
    chance = random.Random(said["seed"])
    if said.get("at_once"):
        children = [_start(said, child) for child in range(said["children"])]
        for pid in children:
            os.waitpid(pid, 0)
        print(json.dumps({child: list(range(said["events"])) for child in range(said["children"])}))
        return
    returned = {}
    for child in range(said["children"]):
        kill_after = chance.randrange(1, said["events"]) if said.get("kills") else None
        returned[child] = run_child(said, child, kill_after)
    print(json.dumps(returned))


def _start(said: Mapping[str, Any], child: int) -> int:
    if (pid := os.fork()) == 0:
        with open(os.devnull, "wb") as nobody:  # noqa: PTH123
            record(said, child, nobody.fileno())
        os._exit(0)
    return pid


main()
