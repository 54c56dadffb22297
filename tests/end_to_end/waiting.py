"""Waiting for what another process will do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 3
"""How many times as long as on a machine that has nothing else to do is waited at most: engines start slowly on a busy
one."""


class TooLateError(AssertionError):
    """Something that a test waits for did not come about in time."""


def until(what: str, check: Callable[[], Any], *, seconds: float = 60, pause: float = 0.25) -> Any:
    """Return the first truthy value of ``check``; raise when there is none in time (see `PATIENCE`)."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TooLateError(f"waited {seconds:.0f} s for {what}; last seen: {value!r}")
        time.sleep(pause)
