"""Spools whose process is gone: what is in them, and their delivery."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runvis_core.emit.circuit import Circuit, Outage, find_outage
from runvis_core.emit.courier import Courier, Tally
from runvis_core.emit.dead_letters import ASIDE_FOLDER, DEAD_FOLDER, count_lines
from runvis_core.emit.spool import SUFFIX, SpoolReader, lock, read_ack, remove_spool, write_ack
from runvis_core.emit.switch import DISABLED_FILE
from runvis_core.emit.transport import Transport, open_transport
from runvis_core.errors import DeliveryError, SettingsError
from runvis_core.worker_settings import WorkerSettings

MAX_BATCH_ITEMS: Final = 500
MAX_BATCH_BYTES: Final = 1024 * 1024
WATCH_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class SpoolFileStatus:
    """One producer's spool file."""

    path: Path
    deployment: str
    producer: str
    pending_bytes: int
    pending_events: int
    is_alive: bool
    """Whether the process that writes it still runs."""
    is_closed: bool
    """Whether its last event says that the producer had said all."""


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What lies in a spool's folder."""

    files: tuple[SpoolFileStatus, ...]
    dead_letters: int
    lines_set_aside: int
    outage: Outage | None
    is_disabled: bool


@dataclass(slots=True)
class DrainReport:
    """What a drain did: events delivered, refused and kept, lines set aside; files emptied; files left and why."""

    tally: Tally
    files: int = 0
    owned: int = 0
    """Files left to their living processes."""
    failure: str | None = None
    """Why delivery stopped; what was not delivered is still in the spool."""


def find_spools(folder: Path) -> Iterator[Path]:
    """Return the spool files of a deployment's folder, the oldest first."""
    return iter(sorted(folder.glob(f"*{SUFFIX}"), key=_modified_at))


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # Its process was quicker and removed it.
        return 0.0


def find_deployments(spool_dir: Path) -> list[Path]:
    """Return the folders of a spool's folder that hold deployments' spools."""
    if not spool_dir.is_dir():
        return []
    return sorted(
        path for path in spool_dir.iterdir() if path.is_dir() and path.name not in {DEAD_FOLDER, ASIDE_FOLDER}
    )


@contextmanager
def _owned(path: Path) -> Generator[bool]:
    """Hold an abandoned file's lock; say whether it could be had."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield lock(descriptor) and bool(os.fstat(descriptor).st_nlink)
    finally:
        os.close(descriptor)


def deliver_abandoned(path: Path, courier: Courier) -> bool:
    """Deliver a spool file whose process is gone, and remove it; return whether it was abandoned.

    Raises `DeliveryError` and `OSError`; what was delivered until then is acknowledged.
    """
    with _owned(path) as is_ours:
        if not is_ours:
            return False
        with closing(SpoolReader(path)) as reader:
            position, end = read_ack(path), reader.size()
            while position < end:
                batch = reader.read(position, end, max_items=MAX_BATCH_ITEMS, max_bytes=MAX_BATCH_BYTES)
                courier.deliver(path.stem, batch)
                position = batch.end
                write_ack(path, position)
        remove_spool(path)
    return True


def drain_spool(
    settings: WorkerSettings,
    *,
    watch: bool = False,
    progress: Callable[[DrainReport], None] | None = None,
    opener: Callable[[WorkerSettings], Transport] = open_transport,
) -> DrainReport:
    """Deliver what dead processes left in the spool's folder, of all deployments. Living ones keep their own files.

    With `watch`, go on until interrupted. `progress` is called after each file. Raises `SettingsError` without a
    `RUNVIS_URL`, `StoreAddressError` for one that no transport answers to.
    """
    if settings.url is None:
        raise SettingsError("RUNVIS_URL is not set: name the server or store that the spooled events are for")
    transport = opener(settings)
    courier = Courier(settings.spool_dir, transport)
    report = DrainReport(courier.tally)
    circuit = Circuit(settings.spool_dir, settings.url)
    with closing(transport):
        while True:
            _drain_once(settings.spool_dir, courier, circuit, report, progress or _no_progress)
            if not watch:
                return report
            time.sleep(max(WATCH_SECONDS, circuit.wait_seconds()))


def _no_progress(report: DrainReport) -> None:
    """Show nothing."""


def _drain_once(
    spool_dir: Path, courier: Courier, circuit: Circuit, report: DrainReport, progress: Callable[[DrainReport], None]
) -> None:
    report.failure, report.owned = None, 0
    try:
        for folder in find_deployments(spool_dir):
            for path in find_spools(folder):
                if deliver_abandoned(path, courier):
                    report.files += 1
                    circuit.note_success()
                else:
                    report.owned += 1
                progress(report)
    except (DeliveryError, OSError) as error:
        circuit.note_failure(str(error), retry_after_seconds=getattr(error, "retry_after_seconds", None))
        report.failure = str(error)
        progress(report)


def spool_status(spool_dir: Path) -> SpoolStatus:
    """Return what lies in a spool's folder; nothing is changed."""
    return SpoolStatus(
        files=tuple(_file_status(path) for folder in find_deployments(spool_dir) for path in find_spools(folder)),
        dead_letters=count_lines(spool_dir / DEAD_FOLDER),
        lines_set_aside=count_lines(spool_dir / ASIDE_FOLDER),
        outage=find_outage(spool_dir),
        is_disabled=(spool_dir / DISABLED_FILE).exists(),
    )


def _file_status(path: Path) -> SpoolFileStatus:
    with _owned(path) as is_abandoned, closing(SpoolReader(path)) as reader:
        position, end, events, last = read_ack(path), reader.size(), 0, b""
        pending = max(0, end - position)
        while position < end:
            batch = reader.read(position, end, max_items=MAX_BATCH_ITEMS, max_bytes=MAX_BATCH_BYTES)
            events, position = events + len(batch.items), batch.end
            last = batch.items[-1] if batch.items else last
    is_closed = b'"kind":"producer_closed"' in last
    return SpoolFileStatus(path, path.parent.name, path.stem, pending, events, not is_abandoned, is_closed)
