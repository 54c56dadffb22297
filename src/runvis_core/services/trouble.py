"""What is wrong between a follower and its engine, said once and not at every sweep."""

from __future__ import annotations

import logging
from threading import Lock

_log = logging.getLogger(__name__)


class Trouble:
    """What is wrong with following one engine. May be used by several threads."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._said: set[str] = set()
        self._is_down = False
        self._lock = Lock()

    def say(self, message: str) -> None:
        """Say that a sweep could not be finished."""
        self._is_down = True
        self.note(message)

    def note(self, message: str) -> None:
        """Say what is wrong with a part of what was read."""
        with self._lock:
            is_new = message not in self._said
            self._said.add(message)
        if is_new:
            _log.warning("following %s: %s", self._engine, message)

    def over(self, url: str) -> None:
        """Say that sweeps go through again, if they didn't."""
        if not self._is_down:
            return
        self._is_down = False
        with self._lock:
            self._said.clear()
        _log.warning("following %s: %s is read again", self._engine, url)
