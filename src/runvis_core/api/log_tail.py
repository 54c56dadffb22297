"""The end of the log, read once for all who follow it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from runvis_core.errors import RunVisError
from runvis_core.services.entries import RawEntry

LEAST_PAUSE_SECONDS: Final = 0.2
MOST_PAUSE_SECONDS: Final = 0.5
"""How long the log is left alone between two looks at what came: the longer, the more work a look was."""
PAUSE_FACTOR: Final = 10
"""By how much a pause is longer than the look before it: what is told must not slow what is recorded."""
PAGE_ENTRIES: Final = 500
"""Entries that are sent together: each stream has some work for each page, and holds one at most."""
READ_PAGES: Final = 4
"""How many pages are read together where there are so many: a look at the store is work, however little it finds."""
MAX_PAGES: Final = 32
"""How many pages are kept for others to read: what one server keeps for all its streams."""
MAX_CHOICES: Final = 64
"""Of how many choices a page keeps what it has for them."""


class Choice(NamedTuple):
    """Which entries a stream tells of; all of them if nothing is named."""

    engine: str | None = None
    deployment: str | None = None
    kinds: frozenset[str] = frozenset()
    run: str | None = None


class Told:
    """An entry, and the event of a stream that tells of it. Each is read and written when somebody asks, once."""

    __slots__ = ("_event", "_frame", "entry")

    def __init__(self, entry: RawEntry) -> None:
        self.entry = entry
        self._event: dict[str, Any] | None = None
        self._frame: bytes | None = None

    @property
    def event(self) -> dict[str, Any]:
        """What the entry says."""
        said = self._event
        if said is None:
            said = self._event = orjson.loads(self.entry.entry)["event"]
        return said

    @property
    def frame(self) -> bytes:
        """The event of the stream."""
        made = self._frame
        if made is None:
            made = self._frame = _frame(self.entry)
        return made

    def is_of(self, choice: Choice) -> bool:
        """Whether it is what a stream tells of, as far as kind, engine and deployment go."""
        return (
            (not choice.kinds or self.entry.kind in choice.kinds)
            and (choice.engine is None or choice.engine == self.event.get("engine"))
            and (choice.deployment is None or choice.deployment == self.event.get("deployment"))
        )


class TailPage:
    """Some entries, made ready once for all streams that tell of the same of them."""

    def __init__(self, entries: Sequence[RawEntry], *, after: int) -> None:
        self.items = [Told(entry) for entry in entries]
        self.after = entries[-1].position if entries else after
        """The position of the last one, or that after which there are none yet."""
        self._frames: dict[Choice, bytes] = {}
        self._by_run: dict[bytes, list[Told]] | None = None

    def frames_of(self, choice: Choice) -> bytes:
        """Return what it has for a stream; nothing if there is nothing of what the stream tells of."""
        told = self.items if choice.run is None else self._runs().get(_run_key(choice.run))
        if not told:
            return b""
        made = self._frames.get(choice)
        if made is None:
            made = b"".join([one.frame for one in told if one.is_of(choice)])
            if len(self._frames) < MAX_CHOICES:
                self._frames[choice] = made
        return made

    def _runs(self) -> dict[bytes, list[Told]]:
        found = self._by_run
        if found is None:
            found = self._by_run = defaultdict(list)
            for told in self.items:
                if told.entry.run_id is not None:
                    found[told.entry.run_id].append(told)
        return found


@lru_cache(maxsize=1000)
def _run_key(name: str) -> bytes:
    """Return the bytes of a run's whole id; none for a name that is not one, which no run has."""
    try:
        run_id = UUID(name)
    except ValueError:
        return b""
    return run_id.bytes if str(run_id) == name else b""


def _frame(entry: RawEntry) -> bytes:
    """Return the event of an entry, as an `EntryView` says it. What the log holds is passed on as it is, unread."""
    beside = orjson.dumps({"position": entry.position, "definition": entry.definition, "native_id": entry.native_id})
    # The version of the schema stands last in each envelope.
    end = entry.entry.rindex(b',"schema":')
    return b"id: %d\nevent: entry\ndata: %b,%b}\n\n" % (entry.position, beside[:-1], entry.entry[1:end])


def _split(entries: Sequence[RawEntry], *, after: int) -> list[TailPage]:
    """Return the pages of entries, in order; an empty one if there are none."""
    return [TailPage(entries[at : at + PAGE_ENTRIES], after=after) for at in range(0, len(entries) or 1, PAGE_ENTRIES)]


def _done(page: TailPage) -> asyncio.Future[TailPage]:
    done: asyncio.Future[TailPage] = asyncio.get_running_loop().create_future()
    done.set_result(page)
    return done


class Place(NamedTuple):
    """Where in the log a stream is after a wait."""

    after: int
    """Up to this position there is nothing that it has not told of."""
    has_more: bool
    """Whether there may be something after it; otherwise the time is over."""


class _Wait:
    """What those wait for who tell of the same."""

    __slots__ = ("over", "streams")

    def __init__(self) -> None:
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Up to which position there was nothing for them."""
        self.streams = 0


class LogTail:
    """Reads pages of the log, each once for all who ask at the same place, and wakes those who wait for what came.

    While somebody waits, one task looks at what came, rests, and looks again: many streams cost hardly more than one,
    and one that is not concerned is left asleep. Lives in one event loop. `stopping` ends every wait.
    """

    def __init__(
        self, read: Callable[[int, int], Sequence[RawEntry]], find_head: Callable[[], int], stopping: asyncio.Event
    ) -> None:
        self.stopping = stopping
        self._read = read
        self._find_head = find_head
        self._pages: OrderedDict[int, asyncio.Future[TailPage]] = OrderedDict()
        self._waits: dict[Choice, _Wait] = {}
        self._looker: asyncio.Task[None] | None = None
        self._looked_to: int | None = None
        """All up to this position was looked at for those who wait; None while nobody looks."""
        self._is_lost = False
        """Whether the last look found no store."""

    async def find_head(self) -> int:
        """Return the log's last position."""
        return await run_in_threadpool(self._find_head)

    async def read(self, after: int) -> TailPage:
        """Return the next entries after a position; none if there are none yet."""
        reading = self._pages.get(after)
        if reading is not None and reading.done() and not reading.cancelled() and reading.exception() is None:
            return reading.result()
        if reading is None:
            reading = asyncio.create_task(self._fetch(after))
            self._keep(after, reading)
        # One that goes away must not take the page from the others.
        return await asyncio.shield(reading)

    def _keep(self, after: int, page: asyncio.Future[TailPage]) -> None:
        self._pages[after] = page
        while len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)

    async def _fetch(self, after: int) -> TailPage:
        keep = False
        # What was looked at was there: where nothing of it is left, it has left the store.
        beyond = max(after, self._looked_to or 0)
        try:
            entries = await run_in_threadpool(self._read, after, READ_PAGES * PAGE_ENTRIES)
            keep = bool(entries)
            pages = _split(entries, after=beyond)
            for before, page in pairwise(pages):
                if before.after not in self._pages:
                    self._keep(before.after, _done(page))
            return pages[0]
        finally:
            # What is not there yet is asked for again, and so is what could not be read.
            if not keep:
                self._pages.pop(after, None)

    async def wait(self, after: int, choice: Choice, seconds: float, *ends: asyncio.Future[None]) -> Place:
        """Return once there may be something for a stream after a position, the server stops, or the time is over.

        What `ends` is done ends the wait, too.
        """
        if self._looked_to is not None and after < self._looked_to:
            return Place(after, has_more=True)
        waited = self._waits.setdefault(choice, _Wait())
        waited.streams += 1
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look_on())
        try:
            await asyncio.wait([waited.over, *ends], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waited.streams -= 1
            if not waited.streams and self._waits.get(choice) is waited:
                del self._waits[choice]
        if waited.over.done():
            return Place(max(after, waited.over.result()), has_more=True)
        # A store that is not found is told of by the next read.
        return Place(max(after, self._looked_to or 0), has_more=self._is_lost)

    async def _look_on(self) -> None:
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            self._looked_to = await self.find_head()
            # Who waits already may be behind that.
            self._release(self._waits, 0)
            await asyncio.sleep(0)
            while not stopping.done():
                began = time.monotonic()
                await self._look()
                pause = PAUSE_FACTOR * (time.monotonic() - began)
                await asyncio.wait([stopping], timeout=min(max(pause, LEAST_PAUSE_SECONDS), MOST_PAUSE_SECONDS))
                if not self._waits:
                    return
        except (RunVisError, SQLAlchemyError):
            # Told to whoever reads next: that is all who are released here.
            pass
        finally:
            stopping.cancel()
            self._looked_to = None
            self._release(self._waits, 0)

    async def _look(self) -> None:
        """Look at what came, and wake those who tell of it."""
        goes_on = True
        while goes_on:
            before = self._looked_to or 0
            try:
                page = await self.read(before)
            except (RunVisError, SQLAlchemyError):
                # One that can't be reached now may be there again at the next look.
                self._is_lost = True
                return
            self._is_lost = False
            self._looked_to = page.after
            self._release([choice for choice in self._waits if page.frames_of(choice)], before)
            goes_on = len(page.items) == PAGE_ENTRIES

    def _release(self, choices: Iterable[Choice], position: int) -> None:
        for choice in list(choices):
            self._waits.pop(choice).over.set_result(position)
