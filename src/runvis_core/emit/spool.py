"""The spool: one file per producer, one line per event, `crc32 SP item LF`.

A file belongs to the process that holds its lock; the lock goes when the process does, however it ends. Beside it lies
`.ack`, the offset up to which its events are delivered. An acknowledgement that is lost is no harm, since what is
delivered twice is recorded once; so it is not synced, but when it goes back to the beginning.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from runvis_core.errors import RunVisError

SUFFIX: Final = ".spool"
ACK_SUFFIX: Final = ".ack"
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""No line is longer; a longer one is no line of ours."""

_CRC_BYTES: Final = 8
_ACK_BYTES: Final = 26
_READ_BYTES: Final = 256 * 1024


class SpoolFullError(RunVisError):
    """The spool file has reached its largest size."""


def encode_line(item: bytes) -> bytes:
    """Return an item as a line of the spool."""
    return b"%08x %b\n" % (zlib.crc32(item), item)


def decode_line(line: bytes) -> bytes | None:
    """Return the item of a whole line, None when the line was cut short or changed."""
    if len(line) < _CRC_BYTES + 2 or line[_CRC_BYTES : _CRC_BYTES + 1] != b" " or not line.endswith(b"\n"):
        return None
    item = line[_CRC_BYTES + 1 : -1]
    return item if line[:_CRC_BYTES] == b"%08x" % zlib.crc32(item) else None


class Batch(NamedTuple):
    """What was read from one stretch of a spool file."""

    items: tuple[bytes, ...]
    torn: tuple[bytes, ...]
    """Lines that were cut short, or are none of ours."""
    end: int
    """The offset after it."""


class SpoolReader:
    """Reads a spool file in batches, so that memory stays bounded however large the file is.

    By a bare descriptor: a file object has a lock, and where a process forks while another thread reads, the child
    would wait for that lock for ever.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, start: int, end: int, *, max_items: int, max_bytes: int) -> Batch:
        """Return the lines between two offsets, at least one if there is any, until one of the limits is reached."""
        items: list[bytes] = []
        torn: list[bytes] = []
        size, position = 0, start
        for line in self._lines(start, end):
            if len(items) >= max_items or (items and size + len(line) > max_bytes):
                break
            position += len(line)
            item = decode_line(line)
            if item is None:
                torn.append(line)
            else:
                items.append(item)
                size += len(line)
        return Batch(tuple(items), tuple(torn), position)

    def _lines(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the lines between two offsets, the last one as far as it goes; what is too long comes in pieces."""
        waiting, position = b"", start
        while True:
            length = min(waiting.find(b"\n") + 1 or len(waiting), MAX_LINE_BYTES)
            if length and (waiting[length - 1 : length] == b"\n" or length == MAX_LINE_BYTES):
                yield waiting[:length]
                waiting = waiting[length:]
                continue
            more = os.pread(self._descriptor, min(_READ_BYTES, end - position), position)
            if not more:
                if waiting:
                    yield waiting
                return
            waiting += more
            position += len(more)

    def size(self) -> int:
        """Return how many bytes the file has."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


class SpoolWriter:
    """Appends to a producer's own spool file, which it holds locked."""

    def __init__(self, producer: UUID, path: Path, descriptor: int, *, max_bytes: int) -> None:
        self.producer = producer
        self.path = path
        self.end = 0
        """The offset after the last whole line."""
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._torn = False
        self._is_entered = False
        """Whether the folder's entry of the file, and those of the folders above, are on the disk for sure."""

    @classmethod
    def create(cls, folder: Path, *, max_bytes: int) -> SpoolWriter:
        """Make a producer's spool file, readable by its owner alone. Raises `OSError` where that is impossible."""
        make_private_folder(folder)
        while True:
            producer = uuid4()
            path = folder / f"{producer}{SUFFIX}"
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            # Between its making and its locking the file looks abandoned: somebody who drains may have taken it.
            if lock(descriptor) and os.fstat(descriptor).st_nlink:
                return cls(producer, path, descriptor, max_bytes=max_bytes)
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines with one write, so that a kill leaves all of them or none.

        Raises `OSError` and `SpoolFullError`; then nothing of it is in the file, or a torn line that readers set aside.
        """
        data = b"".join(lines) if len(lines) > 1 else lines[0]
        if self.end + len(data) > self._max_bytes:
            raise SpoolFullError(
                f"the spool file {self.path} has reached {self._max_bytes:,} bytes (RUNVIS__EMIT__SPOOL_MAX_BYTES)"
            )
        if self._torn:
            data = b"\n" + data
        written = os.write(self._descriptor, data)
        if written != len(data):
            self._take_back()
            raise OSError(f"{self.path}: only {written:,} of {len(data):,} bytes could be written")
        self._torn = False
        # Asked of the file, not added up: a signal's handler that appended since the write has moved the end too, and
        # must not leave it within a line.
        self.end = os.lseek(self._descriptor, 0, os.SEEK_END)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.end)
        except OSError:
            self._torn = True
            self.end = os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        """Wait until what was appended would survive a loss of power. Raises `OSError`."""
        os.fdatasync(self._descriptor)
        self.sync_entry()

    def sync_entry(self) -> None:
        """Wait until the file itself, and the folders above, would still be found. Once is enough. Raises `OSError`."""
        if not self._is_entered:
            _sync_folders(self.path.parent)
            self._is_entered = True

    def restart(self) -> None:
        """Empty a file of which all was delivered. Its acknowledgement goes first, or new lines would count as old.

        So it must for whoever finds the file after a loss of power: as it goes back here, it is synced here.
        """
        write_ack(self.path, 0, sync=True)
        os.ftruncate(self._descriptor, 0)
        self.end = 0

    def close(self) -> None:
        """Let go of the file; what is in it can be drained from now on."""
        os.close(self._descriptor)


def lock(descriptor: int) -> bool:
    """Take a file's lock for this process; return whether nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_ack(path: Path) -> int:
    """Return up to which offset a spool file was delivered; 0 when that is not known."""
    try:
        text = path.with_suffix(ACK_SUFFIX).read_bytes()
    except FileNotFoundError:
        return 0
    number, _, crc = text.rstrip(b"\n").partition(b" ")
    return int(number) if len(text) == _ACK_BYTES and crc == b"%08x" % zlib.crc32(number) else 0


def write_ack(path: Path, offset: int, *, sync: bool = False) -> None:
    """Note up to which offset a spool file was delivered; with `sync`, so that a loss of power does not take that."""
    number = b"%016d" % offset
    descriptor = os.open(path.with_suffix(ACK_SUFFIX), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, b"%b %08x\n" % (number, zlib.crc32(number)), 0)
        if sync:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def remove_spool(path: Path) -> None:
    """Remove a spool file of which everything was delivered."""
    # The acknowledgement goes last: without it, what is left of the file after a crash would only be sent again.
    path.unlink(missing_ok=True)
    path.with_suffix(ACK_SUFFIX).unlink(missing_ok=True)


def append_private(path: Path, data: bytes) -> None:
    """Append durably, since it leaves the spool, to a file that its owner alone can read. Raises `OSError`."""
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(f"{path}: could not be written whole")
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folders(path.parent)


def _sync_folders(folder: Path) -> None:
    """Wait until a folder's entries, and its own above, would survive a loss of power. Raises `OSError`."""
    # A deployment's folder in the spool's, in one that was perhaps made for it, too.
    for path in (folder, *folder.parents[:2]):
        with suppress(PermissionError):  # One that we may not read was there before us.
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone. Raises `OSError`."""
    missing = [folder, *folder.parents]
    for path in reversed(missing[: next((i for i, path in enumerate(missing) if path.is_dir()), len(missing))]):
        path.mkdir(mode=0o700, exist_ok=True)
