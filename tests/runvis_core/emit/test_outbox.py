from __future__ import annotations

from pathlib import Path
from uuid import UUID

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
