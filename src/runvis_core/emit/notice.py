"""What this process says in the host's log: at most one warning an hour, and never an exception."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

logger: Final = logging.getLogger("runvis")

WARNING_INTERVAL_SECONDS: Final = 3600.0

_P = ParamSpec("_P")
_R = TypeVar("_R")
_D = TypeVar("_D")


class _Notices:
    """When this process warned last, and what it need not say again."""

    def __init__(self) -> None:
        self.warned_at: float | None = None
        self.said: set[str] = set()


_notices: Final = _Notices()


def warn(message: str) -> None:
    """Warn in the host's log, unless this process did so within the hour."""
    now = time.monotonic()
    if _notices.warned_at is None or now - _notices.warned_at >= WARNING_INTERVAL_SECONDS:
        _notices.warned_at = now
        logger.warning("%s", message)
    else:
        logger.debug("%s", message)


def say_once(message: str) -> None:
    """Say something in the host's log that is no fault, once in the life of this process."""
    if message not in _notices.said:
        _notices.said.add(message)
        logger.info("%s", message)


def forget_notices() -> None:
    """Begin as a fresh process does."""
    _notices.warned_at = None
    _notices.said.clear()


class CountsFailures(Protocol):
    """What a guarded method belongs to."""

    def count_failure(self) -> None:
        """Count a call that failed."""
        ...


_S = TypeVar("_S", bound=CountsFailures)


def never_raises(
    otherwise: _D,
) -> Callable[[Callable[Concatenate[_S, _P], _R]], Callable[Concatenate[_S, _P], _R | _D]]:
    """Make a method count and report what goes wrong, and return `otherwise`.

    An engine calls these methods in the middle of its work: a fault of ours must never become one of its own.
    """

    def decorate(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R | _D]:
        @wraps(method)
        def guarded(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R | _D:
            try:
                return method(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001  # The one place: whatever it is, the host goes on.
                self.count_failure()
                report_failure(method.__name__, error)
                return otherwise

        return guarded

    return decorate


def report_failure(what: str, error: BaseException) -> None:
    """Say that a call of ours failed and the host went on."""
    warn(
        f"RunVis could not {what}: {type(error).__name__}: {error}. The host is not affected; the record may lack this."
    )
    logger.debug("RunVis could not %s", what, exc_info=error)


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 event`, `2 events`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
