"""The end of the log, read once for all who follow it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from runvis_core.errors import RunVisError
from runvis_core.services.entries import RawEntry

POLL_SECONDS: Final = 0.25
"""How often the log's head is looked at while somebody waits for it."""
PAGE_ENTRIES: Final = 250
MAX_PAGES: Final = 64
"""How many pages are kept for others to read: what one server keeps for all its streams."""


class Told:
    """An entry, and the event of a stream that tells of it."""

    __slots__ = ("_event", "entry", "frame")

    def __init__(self, entry: RawEntry) -> None:
        self.entry = entry
        self.frame = _frame(entry)
        self._event: dict[str, Any] | None = None

    @property
    def event(self) -> dict[str, Any]:
        """What the entry says; read when somebody asks."""
        said = self._event
        if said is None:
            said = self._event = orjson.loads(self.entry.entry)["event"]
        return said


@dataclass(frozen=True, slots=True)
class TailPage:
    """Some entries, made ready once for all streams that tell of them."""

    items: list[Told]
    after: int
    """The position of the last one, or that after which there are none yet."""
    frames: bytes
    """All of them, one after the other."""
    by_run: dict[str, list[Told]]

    @staticmethod
    def of(entries: Sequence[RawEntry], *, after: int) -> TailPage:
        """Return the page of these entries, which come after a position."""
        items = [Told(entry) for entry in entries]
        by_run: dict[str, list[Told]] = defaultdict(list)
        for told in items:
            if told.entry.run_id is not None:
                by_run[str(told.entry.run_id)].append(told)
        last = items[-1].entry.position if items else after
        return TailPage(items, last, b"".join(told.frame for told in items), dict(by_run))


def _frame(entry: RawEntry) -> bytes:
    """Return the event of an entry, as an `EntryView` says it. What the log holds is passed on as it is, unread."""
    beside = orjson.dumps({"position": entry.position, "definition": entry.definition, "native_id": entry.native_id})
    # The version of the schema stands last in each envelope.
    envelope, _, _ = entry.entry.rpartition(b',"schema":')
    return b"id: %d\nevent: entry\ndata: %s,%s}\n\n" % (entry.position, beside[:-1], envelope[1:])


class LogTail:
    """Reads pages of the log, each once for all who ask at the same place, and wakes those who wait for more.

    Lives in one event loop. `stopping` ends every wait.
    """

    def __init__(
        self, read: Callable[[int, int], Sequence[RawEntry]], find_head: Callable[[], int], stopping: asyncio.Event
    ) -> None:
        self.stopping = stopping
        self._read = read
        self._find_head = find_head
        self._pages: OrderedDict[int, asyncio.Task[TailPage]] = OrderedDict()
        self._head = 0
        self._moved = asyncio.Event()
        self._waiting = 0
        self._poller: asyncio.Task[None] | None = None

    async def find_head(self) -> int:
        """Return the log's last position."""
        return await run_in_threadpool(self._find_head)

    async def read(self, after: int) -> TailPage:
        """Return the next entries after a position; none if there are none yet."""
        task = self._pages.get(after)
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        if task is None:
            task = asyncio.create_task(self._fetch(after))
            self._pages[after] = task
            while len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        # One that goes away must not take the page from the others.
        return await asyncio.shield(task)

    async def _fetch(self, after: int) -> TailPage:
        keep = False
        try:
            page = await run_in_threadpool(lambda: TailPage.of(self._read(after, PAGE_ENTRIES), after=after))
            keep = bool(page.items)
            return page
        finally:
            # What is not there yet is asked for again, and so is what could not be read.
            if not keep:
                self._pages.pop(after, None)

    async def wait_beyond(self, position: int, seconds: float) -> None:
        """Return once the log goes on after a position, the server stops, or the time is over."""
        self._waiting += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._head <= position and not self.stopping.is_set():
                        await self._moved.wait()
        finally:
            self._waiting -= 1

    async def _poll(self) -> None:
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            while self._waiting:
                # A store that can't be reached now is one that does not go on: whoever reads next is told.
                with suppress(RunVisError, SQLAlchemyError):
                    self._head = await self.find_head()
                self._wake()
                await asyncio.wait([stopping], timeout=POLL_SECONDS)
                if stopping.done():
                    self._wake()
                    return
        finally:
            stopping.cancel()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
