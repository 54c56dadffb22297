"""What a machine's processes remember together of a store that doesn't answer: `circuit.json` in the spool's folder.

A process that starts while the store is known to be down doesn't wait for it, and tries only when it is time to.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from runvis_core.emit.spool import make_private_folder

CIRCUIT_FILE: Final = "circuit.json"
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0
LONGEST_ASKED_SECONDS: Final = 3600.0
"""A server may ask us to wait, but not for ever."""


class Outage(NamedTuple):
    """A store that can't be delivered to."""

    url: str
    down_since: float
    retry_at: float
    """Both times in seconds since 1970, so that they mean the same in every process."""
    failures: int
    reason: str


class Circuit:
    """Knows whether the store is down, and when to try again. Delays double, with jitter, up to a minute."""

    def __init__(
        self,
        spool_dir: Path,
        url: str,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._path = spool_dir / CIRCUIT_FILE
        self._url = public_address(url)
        self._now = now
        self._jitter = jitter
        self._outage: Outage | None = None
        self._stamp: tuple[int, int] | None = None

    def find_outage(self) -> Outage | None:
        """Return the outage that this or another process met, None when the store isn't known to be down."""
        stamp = self._file_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self._outage = self._read() if stamp else None
        return self._outage

    def wait_seconds(self) -> float:
        """Return how long to wait before the next try; 0 when it is time, or nothing is known to be wrong."""
        outage = self.find_outage()
        return max(0.0, outage.retry_at - self._now()) if outage else 0.0

    def note_failure(self, reason: str, *, retry_after_seconds: float | None = None) -> Outage:
        """Remember that the store can't be delivered to now; others learn of it too."""
        known = self.find_outage()
        now, failures = self._now(), known.failures + 1 if known else 1
        if retry_after_seconds is not None:
            delay = min(max(retry_after_seconds, FIRST_RETRY_SECONDS), LONGEST_ASKED_SECONDS)
        else:
            delay = min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16), LONGEST_RETRY_SECONDS)
            delay *= 0.5 + 0.5 * self._jitter()
        outage = Outage(self._url, known.down_since if known else now, now + delay, failures, reason)
        self._write(outage)
        self._outage = outage
        return outage

    def note_success(self) -> None:
        """Remember that the store takes events."""
        if self.find_outage() is None:
            return
        self._outage = None
        # Where the file can't be removed, others go on believing it until the time for their next try has come.
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._stamp = self._file_stamp()

    def _file_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_ino)

    def _read(self) -> Outage | None:
        known = find_outage(self._path.parent)
        return known if known and known.url == self._url else None

    def _write(self, outage: Outage) -> None:
        """Share what was learnt. Without a folder that can be written to, this process knows it alone."""
        temporary = self._path.with_name(f".{CIRCUIT_FILE}.{uuid4().hex}")
        try:
            make_private_folder(self._path.parent)
            temporary.write_text(json.dumps(outage._asdict()), encoding="utf-8")
            os.replace(temporary, self._path)  # noqa: PTH105  # Readers see the old or the new one, never a half.
        except OSError:
            return
        self._stamp = self._file_stamp()


def find_outage(spool_dir: Path) -> Outage | None:
    """Return the outage that the processes of a spool's folder met, None when they know of none."""
    try:
        known = json.loads((spool_dir / CIRCUIT_FILE).read_bytes())
        return Outage(
            str(known["url"]),
            float(known["down_since"]),
            float(known["retry_at"]),
            int(known["failures"]),
            str(known["reason"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def public_address(url: str) -> str:
    """Return an address without what may be secret in it: user, password and query."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
