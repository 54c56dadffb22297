"""What wakes a thread, and may be rung from anywhere."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue


class Bell:
    """An event that a signal's handler or a finalizer may set in the middle of anything; one thread waits and clears.

    `threading.Event` has a lock that is not reentrant: a handler that sets one while the thread that it interrupts
    does so would wait for itself, for ever. `SimpleQueue.put` is made to be reentrant.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._rings: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        """Whether it was set since it was last cleared."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits, and let nobody wait until it is cleared."""
        if not self._is_set:
            self._is_set = True
            self._rings.put(None)

    def clear(self) -> None:
        """Let the thread wait again. What it was set for before is seen by whoever looks after this."""
        self._is_set = False
        with suppress(Empty):
            while True:
                self._rings.get_nowait()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, at most for the time given; return whether it is."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._is_set:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                self._rings.get(timeout=left)
            except Empty:
                break
        return self._is_set
