"""System calls that the kernel fails, or at which it kills: strace puts the fault in, into a process that is real.

The file layer of `test_spool_faults` reaches every call of the spool; this reaches what is below Python, SQLite too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.faults.scale import ROUNDS, found
from tests.faults.told import assert_sound

from runvis_core.emit.drain import drain_spool
from runvis_core.services.steps import STEPS
from runvis_core.services.verification import verify_store
from runvis_core.settings import Settings
from runvis_core.store.database import open_store
from runvis_core.store.steps import catch_up

VICTIM: Final = Path(__file__).parent / "victim.py"
EVENTS: Final = [f"x/{number}" for number in range(6)]
CALLS: Final = {
    "spool": ("write", "fdatasync", "fsync", "pwrite64", "ftruncate", "rename"),
    "store": ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink"),
}
FAULTS: Final = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "SIGKILL": "signal=KILL"}
OCCURRENCES: Final = tuple(range(1, 2 + 2 * ROUNDS))


class Harmed(NamedTuple):
    """What became of a process."""

    returned: list[str]
    lost: int
    errors: list[str]
    killed: bool
    hit: bool
    """Whether the call came so often that the fault went in."""


class Victims:
    """A warm process, whose children are harmed one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(VICTIM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def harm(self, job: dict[str, str], call: str, fault: str, occurrence: int, log: Path) -> Harmed:
        pid = self._ask(json.dumps(job))
        inject = f"inject={call}:{FAULTS[fault]}:when={occurrence}"
        options = ["-f", "-e", f"trace={call}", "-e", inject, "-o", str(log), "-p", pid]
        with subprocess.Popen(["strace", *options], stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            assert "attached" in said, f"strace can't watch a process here: {said}{strace.stderr.read()}"
            harmed = json.loads(self._ask("go"))
            strace.communicate(timeout=120)
        traced = log.read_text()
        return Harmed(**harmed, hit="(INJECTED)" in traced or harmed["killed"])

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer, "the victims' own process has ended"
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture
def victims() -> Iterator[Victims]:
    process = Victims()
    yield process
    process.close()


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """The file of an empty store."""
    file = tmp_path / "empty.db"
    open_store(f"sqlite:///{file}").close()
    return file


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("work", CALLS)
def test_a_system_call_that_fails_or_kills_leaves_a_sound_store_and_exact_counts(
    work: str, fault: str, victims: Victims, empty: Path, tmp_path: Path
) -> None:
    points: dict[str, int] = {}
    counted = 0
    for call in CALLS[work]:
        for occurrence in OCCURRENCES:
            folder = tmp_path / f"{call}-{occurrence}"
            folder.mkdir()
            shutil.copy(empty, folder / "runvis.db")
            job = {"work": work, "url": f"sqlite:///{folder / 'runvis.db'}", "spool": str(folder / "spool")}
            harmed = victims.harm(job, call, fault, occurrence, folder / "strace.log")
            if not harmed.hit:
                break
            assert harmed.errors == [], (call, occurrence)
            assert harmed.killed == (fault == "SIGKILL"), (call, occurrence)
            lost = _look_at(job, harmed, where=(call, occurrence))
            counted += lost
            points[call] = points.get(call, 0) + 1
            shutil.rmtree(folder)
    assert sum(points.values()) > 4, points
    found(
        "system-call faults",
        "consistent after any failure",
        work=work,
        fault=fault,
        points=points,
        lost=0,
        counted_lost=counted,
    )


def _look_at(job: dict[str, str], harmed: Harmed, *, where: Any) -> int:
    """Hold what is there afterwards against what was promised; return how many events were lost, and counted so."""
    settings = Settings(url=job["url"], deployment="prod", spool_dir=Path(job["spool"]))
    if job["work"] == "spool":
        report = drain_spool(settings)
        assert (report.failure, report.tally.refused) == (None, 0), where
    store = open_store(job["url"])
    stored = {name for name in EVENTS if any(f'"{name}"'.encode() in entry.entry for entry in store.log.read())}
    missing = set(harmed.returned) - stored
    assert len(missing) <= harmed.lost, (where, harmed, missing)
    assert_sound(store, sorted(set(harmed.returned) - missing), maybe=EVENTS)
    catch_up(store, STEPS)
    assert verify_store(store, keys=[]).problems == [], where
    store.close()
    return len(missing)
