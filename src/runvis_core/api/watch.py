"""Whether those who are told for long still may be told: asked for all of them together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from runvis_core.api.access import StillMay

_log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 2.0
"""How often it is asked: a token may be revoked, or a session over."""

Over = asyncio.Future[None]
"""Is done once who is told may be told no more."""


class Watch:
    """Asks from time to time whether those who follow still may, and ends what they follow.

    One task asks for all, one after the other, and rests: a stream that is told nothing is not woken for it. Lives in
    one event loop.
    """

    def __init__(self) -> None:
        self._followers: dict[Over, StillMay] = {}
        self._asker: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, still_may: StillMay) -> Generator[Over]:
        """Ask for somebody until the block ends."""
        over: Over = asyncio.get_running_loop().create_future()
        self._followers[over] = still_may
        if self._asker is None or self._asker.done():
            self._asker = asyncio.create_task(self._ask_on())
        try:
            yield over
        finally:
            del self._followers[over]

    async def _ask_on(self) -> None:
        try:
            while self._followers:
                await asyncio.sleep(CHECK_SECONDS)
                for over, still_may in list(self._followers.items()):
                    # Those who left meanwhile are asked for no more.
                    if over in self._followers and not over.done() and not await still_may():
                        _end(over)
        except Exception:  # noqa: BLE001 - whatever the door fails at, nobody may be told on who is not asked for
            _log.exception("it can't be asked whether streams still may be told: all of them end")
        finally:
            # Whom nobody asks for is told no more.
            for over in self._followers:
                _end(over)


def _end(over: Over) -> None:
    if not over.done():
        over.set_result(None)
