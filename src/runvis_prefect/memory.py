"""What was used last of many things, so that a follower's memory stays flat."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar
from uuid import UUID

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values of the keys that were used last, at most `size` of them. May be used by several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._values

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)

    def find(self, key: K) -> V | None:
        """Return the value of a key; None when it was never set, or not used for long."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def set(self, key: K, value: V) -> None:
        """Set a value, and forget the one that was set or found longest ago if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)


class RecentIds:
    """The ids that were added last: at most `size` of them, and at least half as many. May be used by several threads.

    Two sets of numbers, of which the older one is dropped as a whole: that takes a third of what `Recent` does.
    """

    def __init__(self, size: int) -> None:
        self._half = size // 2
        self._new: set[int] = set()
        self._old: set[int] = set()
        self._lock = Lock()

    def __contains__(self, known: UUID) -> bool:
        with self._lock:
            return known.int in self._new or known.int in self._old

    def add(self, known: UUID) -> None:
        """Add an id."""
        with self._lock:
            self._new.add(known.int)
            if len(self._new) >= self._half:
                self._old, self._new = self._new, set()

    def clear(self) -> None:
        """Forget all ids."""
        with self._lock:
            self._old, self._new = set(), set()
