"""A small file layer in place of `os` in the spool: it fails when it is told to, and forgets what was not synced.

`kill -9` can't find a missing fsync: what was written survives the process. A loss of power takes what was not synced,
in part and in any order of files, and an entry of a folder that was not synced with it.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any, Final

WRITING: Final = ("open", "write", "pwrite", "ftruncate", "fdatasync", "fsync", "unlink", "mkdir")
"""Calls that change something, and so may fail or be the last one."""

SYNCS: Final = ("fdatasync", "fsync")
"""Calls that nothing here waits for: the machine itself does not fail, and what a sync is good for is simulated."""


class KilledError(BaseException):
    """The process ends here. No code of its own runs any more, so no `except Exception` may see it."""


class Faults:
    """`os` for the spool, in which one call, the number `at`, fails: with an errno, by a part of a write, by a kill."""

    def __init__(self, at: int | None, fault: str | None) -> None:
        self.calls: list[str] = []
        self._at = at
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        real = os.fstat if name in SYNCS else getattr(os, name)  # Of a descriptor that is none it fails alike.
        if name not in WRITING:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 != self._at or self._fault is None:
                return real(*arguments, **options)
            return self._fail(name, real, arguments, options)

        return call

    def _fail(self, name: str, real: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if self._fault == "kill before":
            raise KilledError
        if self._fault == "kill after":
            real(*arguments, **options)
            raise KilledError
        if self._fault == "part":
            if name == "write":
                descriptor, data = arguments
                return real(descriptor, data[: len(data) // 2])
            return real(*arguments, **options)
        number = getattr(errno, self._fault or "")
        raise OSError(number, os.strerror(number))


class Disk:
    """`os` for the spool over a folder, which remembers what a disk would still have after a loss of power."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._synced: dict[int, bytes] = {}
        """By inode: the content that is on the disk for sure."""
        self._named: dict[Path, int] = {}
        """Entries of folders that are on the disk for sure."""
        self._removed_for_sure: set[Path] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fdatasync(self, descriptor: int) -> None:
        self.fsync(descriptor)

    def fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self._named = {known: inode for known, inode in self._named.items() if known.parent != path}
            self._named |= {entry: entry.stat().st_ino for entry in path.iterdir()}
        else:
            self._synced[os.fstat(descriptor).st_ino] = path.read_bytes()

    def lose_power(self, chance: random.Random) -> None:
        """Leave in the folder what a disk may have after the power is gone: at least what was synced."""
        written = {path: (path.stat().st_ino, path.read_bytes()) for path in self._folder.rglob("*") if path.is_file()}
        for path, (inode, now) in written.items():
            if not self._is_reachable(path) and chance.random() < 0.5:
                path.unlink()  # Its entry never reached the disk.
                continue
            path.write_bytes(self._survivor(self._synced.get(inode, b""), now, chance))

    def _is_reachable(self, path: Path) -> bool:
        """Whether the entries of a file and of all folders above it are on the disk for sure."""
        above = [path, *path.parents]
        return all(entry in self._named for entry in above[: above.index(self._folder)])

    @staticmethod
    def _survivor(synced: bytes, now: bytes, chance: random.Random) -> bytes:
        kind = chance.randrange(4)
        if kind == 0:
            return synced
        if kind == 1 or not now.startswith(synced):
            return now if chance.random() < 0.5 else synced
        # Appended: its first part, or a size that grew before the data came.
        cut = chance.randrange(len(now) - len(synced) + 1)
        kept = now[: len(synced) + cut]
        return kept if kind == 2 else kept + b"\0" * (len(now) - len(kept))
