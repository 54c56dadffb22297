"""Processes that are killed, that fork, and that are many: what `record` returned for is stored once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.scale import ROUNDS, found
from tests.faults.told import assert_sound, received_ranges

from runvis_core.emit.dead_letters import ASIDE_FOLDER
from runvis_core.emit.drain import drain_spool
from runvis_core.settings import Settings
from runvis_core.store.database import open_store

FARM = Path(__file__).parent / "farm.py"


def farm(url: str, spool: Path, **said: Any) -> dict[str, list[int]]:
    """Let processes record; return, by child, the numbers for which `record` returned."""
    given = {"url": url, "spool": str(spool), "seed": 1, **said}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(FARM), json.dumps(given)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=280 * ROUNDS,
    )
    return json.loads(done.stdout)


def drain(url: str, spool: Path) -> int:
    """Deliver all that is left; return how many lines were cut short."""
    report = drain_spool(Settings(url=url, deployment="prod", spool_dir=spool))
    assert report.failure is None
    assert report.tally.refused == 0
    return report.tally.set_aside


def test_what_record_returned_for_survives_kills_and_is_stored_once(store_url: str, tmp_path: Path) -> None:
    kills, events = 15 * ROUNDS, 200
    returned = farm(store_url, tmp_path / "spool", children=kills, events=events, kills=True)
    cut = drain(store_url, tmp_path / "spool")
    # The kernel may end a write in its middle, of which `record` then has not returned: it is a producer's last.
    aside = [path.read_bytes().count(b"\n") for path in (tmp_path / "spool" / ASIDE_FOLDER).glob("*.lines")]
    assert aside == [1] * cut
    told = [f"{child}/{number}" for child, numbers in returned.items() for number in numbers]
    assert len(told) >= kills
    store = open_store(store_url)
    assert_sound(store, told, maybe=[f"{child}/{number}" for child in returned for number in range(events)])
    # What was cut short is the last that a producer wrote, so that no producer's numbers have a gap.
    assert [len(ranges) for ranges in received_ranges(store)] == [1] * len(received_ranges(store))
    store.close()
    found("process crash", kills=kills, events=len(told), cut_short=cut, lost=0, doubled=0)


def test_many_processes_at_once_lose_nothing(store_url: str, tmp_path: Path) -> None:
    children, events = 50, 10 * ROUNDS
    farm(store_url, tmp_path / "spool", children=children, events=events, at_once=True, budget=1)
    assert drain(store_url, tmp_path / "spool") == 0
    store = open_store(store_url)
    assert_sound(store, [f"{child}/{number}" for child in range(children) for number in range(events)])
    assert len(received_ranges(store)) == children
    # The opening, the events, the end and the closing of each.
    assert received_ranges(store) == [[[0, events + 2]]] * children
    store.close()
    found("positions", processes=children, events=children * events, lost=0, gaps=0)


def test_a_fork_in_the_middle_makes_two_producers_that_lose_nothing(sqlite_url: str, tmp_path: Path) -> None:
    open_store(sqlite_url).close()
    children = 3 * ROUNDS
    farm(sqlite_url, tmp_path / "spool", children=children, events=20, fork_at=10)
    assert drain(sqlite_url, tmp_path / "spool") == 0
    told = [f"{child}/{number}" for child in range(children) for number in range(20)]
    told += [f"{child}-fork/{number}" for child in range(children) for number in range(3)]
    store = open_store(sqlite_url)
    assert_sound(store, told)
    assert len(received_ranges(store)) == 2 * children
    store.close()
