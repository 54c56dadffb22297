"""Python's search for garbage, while a batch is on its way or a store is gone through."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

BATCH_OBJECTS: Final = 200_000
"""More new objects than any delivery brings: so many bring a search about all the same."""


class _Rarely:
    """How many batches are on their way in this process, and what stood before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = 0
        self._before = (0, 0, 0)

    def begin(self) -> None:
        with self._lock:
            if self._batches == 0:
                self._before = gc.get_threshold()
                # A first threshold of 0 says that the process wants no search at all.
                if self._before[0] > 0:
                    gc.set_threshold(max(BATCH_OBJECTS, self._before[0]), *self._before[1:])
            self._batches += 1

    def end(self) -> None:
        with self._lock:
            self._batches -= 1
            if self._batches == 0:
                gc.set_threshold(*self._before)


_RARELY: Final = _Rarely()


@contextmanager
def searched_rarely() -> Generator[None, None, None]:
    """Let Python search for garbage more rarely until the block ends.

    A batch makes tens of thousands of objects, and all of them are in use until it is stored: to search among them, as
    Python does after every 700, finds nothing and takes a sixth of the time, and more of that of a store's check. They
    are freed without a search.
    """
    _RARELY.begin()
    try:
        yield
    finally:
        _RARELY.end()
