"""One producer's events, numbered, and kept until they are delivered: in its spool file, else in bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Final
from uuid import UUID, uuid4

from runvis_core.emit.notice import plural, warn
from runvis_core.emit.sealing import Parcel
from runvis_core.emit.spool import (
    Batch,
    SpoolFullError,
    SpoolReader,
    SpoolWriter,
    encode_line,
    remove_spool,
    write_ack,
)

MAX_MEMORY_ITEMS: Final = 1_000
MAX_MEMORY_BYTES: Final = 4 * 1024 * 1024
"""What may wait in memory where the spool can't be written."""
RESTART_BYTES: Final = 8 * 1024 * 1024
"""A file of this size is emptied when everything in it is delivered: a scheduler's would grow for ever."""


class Outbox:
    """Numbers events and keeps them. Any thread may append; one thread delivers."""

    def __init__(self, folder: Path, opening: Callable[[UUID], Parcel], *, max_bytes: int) -> None:
        self.lost = 0
        """Events that have a number, but found no room in the spool nor in memory."""
        # Reentrant: a signal's handler may record while the thread that it interrupts does.
        self._lock = RLock()
        self._appending = 0
        self._is_closed = False
        # A file's number that was let go of may soon be another file's: none is let go of while it is read from.
        self._reading = RLock()
        self._numbers = itertools.count()
        self._memory: deque[bytes] = deque()
        self._memory_bytes = 0
        self._acknowledged = 0
        self._reader: SpoolReader | None = None
        self._writer = self._create_writer(folder, max_bytes)
        self.producer = self._writer.producer if self._writer else uuid4()
        self._stamp = f'"producer":"{self.producer}","sequence":'.encode()
        # It goes with the first event, in one write.
        self._opening: list[Parcel] = [opening(self.producer)]

    @staticmethod
    def _create_writer(folder: Path, max_bytes: int) -> SpoolWriter | None:
        try:
            return SpoolWriter.create(folder, max_bytes=max_bytes)
        except OSError as error:
            warn(
                f"RunVis can't write its spool in {folder} ({error}): events wait in memory, and are lost if this "
                "process ends before they are delivered. Set RUNVIS_SPOOL_DIR to a folder that can be written to."
            )
            return None

    def append(self, parcels: Sequence[Parcel], *, durable: bool = False) -> bool:
        """Number events and keep them; with `durable`, wait until a loss of power would not take them.

        Where the disk can't promise that, they are kept all the same, and it is said. Returns False when the outbox is
        closed: then nothing was kept.
        """
        with self._lock:
            self._appending += 1
            try:
                if self._is_closed:
                    return False
                self._append(parcels)
            finally:
                self._appending -= 1
                if self._is_closed and not self._appending:
                    self._let_go()
        writer = self._writer
        if durable and writer is not None:
            try:
                writer.sync()
            except OSError as error:
                warn(f"RunVis can't sync its spool to the disk: {error}. A loss of power may take the last events.")
        return True

    def _append(self, parcels: Sequence[Parcel]) -> None:
        if self._opening:
            # Taken in one step, so that a signal's handler can't send it too.
            opening, self._opening = self._opening, []
            parcels = [*opening, *parcels]
        stamp, numbers = self._stamp, self._numbers
        self._keep([parcel.stamped(stamp, next(numbers)) for parcel in parcels])

    def sync_entry(self) -> None:
        """Have the spool file's place on the disk by the time when a durable event comes, on a thread that may wait."""
        writer = self._writer
        if writer is not None:
            # What is wrong will be said when it counts.
            with suppress(OSError):
                writer.sync_entry()

    def _keep(self, items: list[bytes]) -> None:
        if self._writer is not None:
            try:
                self._writer.append([encode_line(item) for item in items])
            except (OSError, SpoolFullError) as error:
                warn(
                    f"RunVis can't write its spool: {error}. Events wait in memory; what finds no room there is "
                    "counted as lost."
                )
            else:
                return
        for item in items:
            if len(self._memory) >= MAX_MEMORY_ITEMS or self._memory_bytes + len(item) > MAX_MEMORY_BYTES:
                self.lost += 1
                warn(f"RunVis lost {plural(self.lost, 'event')}: neither the spool nor memory has room.")
            else:
                self._memory.append(item)
                self._memory_bytes += len(item)

    @property
    def has_begun(self) -> bool:
        """Whether any event was numbered."""
        return not self._opening

    @property
    def is_pending(self) -> bool:
        """Whether anything is undelivered."""
        writer = self._writer
        return bool(self._memory) or (writer is not None and self._acknowledged < writer.end)

    def read(self, *, max_items: int, max_bytes: int) -> Batch:
        """Return the next events to deliver; they stay until they are acknowledged."""
        writer = self._writer
        if writer is not None and self._acknowledged < writer.end:
            with self._reading:
                if self._writer is None:  # Let go of meanwhile.
                    return Batch((), (), 0)
                if self._reader is None:
                    self._reader = SpoolReader(writer.path)
                return self._reader.read(self._acknowledged, writer.end, max_items=max_items, max_bytes=max_bytes)
        items: list[bytes] = []
        size = 0
        for item in itertools.islice(self._memory, max_items):
            if items and size + len(item) > max_bytes:
                break
            items.append(item)
            size += len(item)
        return Batch(tuple(items), (), 0)

    def acknowledge(self, batch: Batch) -> None:
        """Let go of a batch that was delivered."""
        with self._lock:
            if not batch.end:
                for item in batch.items:
                    self._memory.popleft()
                    self._memory_bytes -= len(item)
                return
            if self._writer is None:
                # Closed while the batch was under way: whoever drains the file sends it again, and it is stored once.
                return
            self._acknowledged = batch.end
            # An acknowledgement that can't be written costs a second delivery, which changes nothing.
            with suppress(OSError):
                if self._acknowledged == self._writer.end >= RESTART_BYTES:
                    self._writer.restart()
                    self._acknowledged = 0
                else:
                    write_ack(self._writer.path, self._acknowledged)

    def close(self) -> None:
        """Take no more, and let go of the spool file; remove it if everything was delivered.

        Else it is for whoever drains. A signal's handler may close in the middle of an append, which then ends first.
        """
        with self._lock:
            self._is_closed = True
            if not self._appending:
                self._let_go()

    def _let_go(self) -> None:
        # What was taken here is let go of once, also when a signal's handler closes in the middle of this.
        writer, self._writer = self._writer, None
        with self._reading:
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.close()
        if writer is not None:
            if self._acknowledged >= writer.end:
                with suppress(OSError):
                    remove_spool(writer.path)
            writer.close()

    def abandon(self) -> None:
        """Let go of a parent process's file in a forked child, without touching what the parent has."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()
