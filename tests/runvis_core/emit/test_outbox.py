from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from uuid import UUID

import pytest

from runvis_core.emit.outbox import Outbox
from runvis_core.emit.sealing import Parcel
from runvis_core.emit.spool import read_ack


def a_parcel(_producer: UUID | None = None) -> Parcel:
    return Parcel(b"{", b'"kind":"metric"}}', is_terminal=False)


def test_a_batch_that_is_delivered_after_the_close_is_left_to_whoever_drains(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, a_parcel, max_bytes=10_000)
    outbox.append([a_parcel()])
    batch = outbox.read(max_items=10, max_bytes=10_000)
    outbox.close()
    outbox.acknowledge(batch)
    (left,) = tmp_path.glob("*.spool")
    assert read_ack(left) == 0
    assert left.stat().st_size == batch.end


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_the_spool_is_read_does_not_hold_up_the_child(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, a_parcel, max_bytes=10_000_000)
    outbox.append([a_parcel()] * 20_000)
    stop = threading.Event()

    def keep_reading() -> None:
        while not stop.is_set():
            outbox.read(max_items=100_000, max_bytes=10_000_000)

    thread = threading.Thread(target=keep_reading)
    thread.start()
    try:
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(10)
                outbox.abandon()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
        outbox.close()
