"""How what goes on until it is ended is ended."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ended_by_sigterm() -> Generator[None]:
    """Let SIGTERM end this as Ctrl-C does, so that what was begun is ended in order."""

    def interrupt(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
