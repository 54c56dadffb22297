"""Which runs are alive in this process, and when each of them is to say so next."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from runvis_core.model.heartbeat import Heartbeat

FIRST_SECONDS: Final = 5.0
"""When a run says for the first time that it is alive, if its interval is longer: what is killed soon is missed, too,
and what ends sooner has nothing to say."""


@dataclass(slots=True)
class _Life:
    """One run's: when its next sign is due, and how many seconds lie between two."""

    due_at: float
    interval: float


class Pulse:
    """Signs of life that come by themselves, each run's at its own interval.

    Whoever delivers asks for what is due. Every step can be interrupted by a signal's handler that takes another.
    """

    def __init__(
        self, sign: Callable[[UUID, float], Heartbeat], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`sign` makes a run's sign of life, of now, from its id and its interval in seconds."""
        self._sign = sign
        self._monotonic = monotonic
        self._alive: dict[UUID, _Life] = {}

    def begin(self, run_id: UUID, interval_seconds: float) -> None:
        """Have a run say that it is alive, for the first time after `FIRST_SECONDS`, or its interval if that is less.

        Raises `ValueError` for an interval that is no time.
        """
        if not interval_seconds > 0:
            raise ValueError(f"an interval of {interval_seconds:g} s is no time")
        self._alive[run_id] = _Life(self._monotonic() + min(FIRST_SECONDS, interval_seconds), interval_seconds)

    def end(self, run_id: UUID) -> None:
        """Let a run say so no more."""
        self._alive.pop(run_id, None)

    def seconds_left(self) -> float | None:
        """Return how long it is until the next sign is due, 0 where one is; None where there is none to come."""
        due_at = [life.due_at for life in list(self._alive.values())]
        return max(0.0, min(due_at) - self._monotonic()) if due_at else None

    def take_due(self) -> list[Heartbeat]:
        """Return the signs that are due, of now; the next ones are due an interval later."""
        now = self._monotonic()
        due = [(run_id, life) for run_id, life in list(self._alive.items()) if life.due_at <= now]
        for _, life in due:
            # Not put back: another thread may have ended it meanwhile.
            life.due_at = now + life.interval
        return [self._sign(run_id, life.interval) for run_id, life in due]
