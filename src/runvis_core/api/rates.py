"""How fast one token may ask: a bucket per principal, which refills as time goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MOST_BUCKETS: Final = 10_000


class RateLimiter:
    """Counts requests by principal. For one thread: the loop that serves."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """A principal may ask `per_second` on average, and two seconds' worth at once."""
        self._per_second = per_second
        self._most = max(1.0, 2 * per_second)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, principal: str) -> float:
        """Take one request of a principal's; return 0, or in how many seconds there is room for it."""
        now = self._clock()
        left, at = self._buckets.pop(principal, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        # The one that asked last is last, so that the first is the one to forget.
        self._buckets[principal] = (left - 1 if wait == 0 else left, now)
        if len(self._buckets) > MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return wait
