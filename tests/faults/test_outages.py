"""Stores, servers and networks that go away in the middle: the backlog drains, and all of it is stored once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.faults.scale import ROUNDS, found
from tests.faults.servers import BadProxy, free_port, own_postgresql, serving, start_server
from tests.faults.told import assert_sound_at, numbered, wait_until

from runvis_core.emit.drain import drain_spool
from runvis_core.emit.recorder import Recorder
from runvis_core.model.state import Witness
from runvis_core.settings import Settings
from runvis_core.store import database
from runvis_core.store.database import open_store


def a_recorder(url: str, folder: Path) -> Recorder:
    settings = Settings(url=url, deployment="prod", spool_dir=folder / "spool")
    return Recorder(settings, component="task", engine="airflow", witness=Witness.WORKER)


def record(recorder: Recorder, who: str, numbers: range) -> list[str]:
    for number in numbers:
        recorder.record([numbered(who, number)])
    return [f"{who}/{number}" for number in numbers]


def position_of(url: str) -> int:
    store = open_store(url)
    position = store.log.head().position
    store.close()
    return position


def deliver_all(recorder: Recorder) -> None:
    """Wait until all that was recorded is delivered, however often the store has to be asked."""
    wait_until(lambda: recorder.flush(budget_seconds=5), seconds=240)
    recorder.close(budget_seconds=60)
    assert recorder.refused == 0


def test_a_server_that_is_killed_again_and_again_loses_and_doubles_nothing(store_url: str, tmp_path: Path) -> None:
    rounds, told = 2 * ROUNDS, list[str]()
    port = free_port()
    recorder = a_recorder(f"http://127.0.0.1:{port}", tmp_path)
    for _ in range(rounds):
        server, _ = start_server(store_url, port=port)
        first = len(told)
        told += record(recorder, "killed", range(first, first + 300))
        wait_until(lambda first=first: position_of(store_url) > first)
        told += record(recorder, "killed", range(first + 300, first + 400))
        os.kill(server.pid, signal.SIGKILL)
        server.communicate(timeout=120)
        told += record(recorder, "killed", range(first + 400, first + 500))
    server, _ = start_server(store_url, port=port)
    deliver_all(recorder)
    server.terminate()
    server.communicate(timeout=120)
    assert_sound_at(store_url, told)
    found("outage", kills=rounds, events=len(told), lost=0, doubled=0)


def test_a_postgresql_that_is_stopped_at_once_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with own_postgresql() as (url, stop, start):
        open_store(url).close()
        recorder = a_recorder(url, tmp_path)
        told = list[str]()
        for _ in range(2 * ROUNDS):
            told += record(recorder, "stopped", range(len(told), len(told) + 200))
            stop()
            told += record(recorder, "stopped", range(len(told), len(told) + 50))
            start()
        deliver_all(recorder)
        assert_sound_at(url, told)
    found("outage", stops=2 * ROUNDS, events=len(told), lost=0, doubled=0)


def test_a_sqlite_file_that_another_process_locks_is_waited_for(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    open_store(sqlite_url).close()
    with sqlite3.connect(tmp_path / "runvis.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        recorder = a_recorder(sqlite_url, tmp_path)
        told = record(recorder, "locked", range(50))
        # It gave up waiting, and will come again.
        wait_until(lambda: (tmp_path / "spool" / "circuit.json").exists())
        other.execute("ROLLBACK")
    other.close()
    deliver_all(recorder)
    assert_sound_at(sqlite_url, told)


def test_a_proxy_that_cuts_repeats_and_lies_loses_and_doubles_nothing(store_url: str, tmp_path: Path) -> None:
    with serving(store_url) as address:
        proxy = BadProxy(address, seed=1)
        try:
            recorder = a_recorder(proxy.url, tmp_path)
            told = list[str]()
            for _ in range(30 * ROUNDS):
                told += record(recorder, "proxied", range(len(told), len(told) + 10))
                wait_until(lambda: recorder.flush(budget_seconds=5))
            deliver_all(recorder)
            assert all(proxy.done.values()), "each way was gone"
        finally:
            proxy.close()
    assert_sound_at(store_url, told)
    found("outage", events=len(told), requests=sum(proxy.done.values()), lost=0, doubled=0)


def test_two_servers_on_one_store_give_each_position_once(store_url: str, tmp_path: Path) -> None:
    with serving(store_url) as one, serving(store_url) as other:
        recorders = [a_recorder(address, tmp_path / f"{place}") for place, address in enumerate([one, other] * 4)]
        numbers = range(100 * ROUNDS)
        threads = [
            threading.Thread(target=record, args=(recorder, f"writer-{place}", numbers))
            for place, recorder in enumerate(recorders)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        for recorder in recorders:
            deliver_all(recorder)
    told = [f"writer-{place}/{number}" for place in range(len(recorders)) for number in numbers]
    assert_sound_at(store_url, told)
    found("positions", writers=8, events=len(told), gaps=0)


SERVE_WITHOUT_ROOM = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.argv = ["runvis", "serve", "--port", sys.argv[3], "--url", sys.argv[1]]
from runvis_core.cli import main
main()
"""


def test_a_server_whose_disk_is_full_keeps_what_it_has_and_takes_the_rest_later(
    sqlite_url: str, tmp_path: Path
) -> None:
    open_store(sqlite_url).close()
    size = (tmp_path / "runvis.db").stat().st_size
    port = free_port()
    arguments = [sys.executable, "-c", SERVE_WITHOUT_ROOM, sqlite_url, str(size + 400_000), str(port)]
    with (
        Path("server.log").open("w") as log,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        assert server.stdout is not None
        assert server.stdout.readline().startswith("RunVis serves at ")
        recorder = a_recorder(f"http://127.0.0.1:{port}", tmp_path)
        told = list[str]()
        # What doesn't fit is refused for now, with a 5xx or by no reply: nothing of it is let go of.
        while not (tmp_path / "spool" / "circuit.json").exists():
            told += record(recorder, "full", range(len(told), len(told) + 200))
            recorder.flush(budget_seconds=5)
            assert len(told) < 50_000
        server.kill()
    server, _ = start_server(sqlite_url, port=port)
    told += record(recorder, "full", range(len(told), len(told) + 10))
    deliver_all(recorder)
    server.terminate()
    server.communicate(timeout=120)
    assert_sound_at(sqlite_url, told)


RECORD_WITHOUT_ROOM = """
import json, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.faults.told import numbered
from runvis_core.emit import outbox
from runvis_core.emit.recorder import Recorder
from runvis_core.model.state import Witness
from runvis_core.settings import Settings
outbox.MAX_MEMORY_ITEMS = 100
settings = Settings(url="http://127.0.0.1:9", deployment="prod", spool_dir=Path(sys.argv[1]))
recorder = Recorder(settings, component="task", engine="airflow", witness=Witness.WORKER)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for number in range(int(sys.argv[2])):
    recorder.record([numbered("full", number)])
kept = recorder._delivery.outbox
print(json.dumps({"lost": kept.lost, "in_memory": len(kept._memory), "refused": recorder.refused}), flush=True)
"""


def test_a_full_disk_harms_no_task_and_what_is_lost_is_counted(sqlite_url: str, tmp_path: Path) -> None:
    events, spool = 1000 * ROUNDS, tmp_path / "spool"
    project = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", RECORD_WITHOUT_ROOM, str(spool), str(events), project],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    counted = json.loads(done.stdout)
    assert counted["refused"] == 0
    open_store(sqlite_url).close()
    report = drain_spool(Settings(url=sqlite_url, deployment="prod", spool_dir=spool))
    spooled = report.tally.delivered - 1  # but for the producer's opening
    assert 0 < spooled < events
    assert spooled + counted["in_memory"] + counted["lost"] == events
    assert_sound_at(sqlite_url, [f"full/{number}" for number in range(spooled)])
    found("disk full", events=events, task_failures=0, uncounted=0)
