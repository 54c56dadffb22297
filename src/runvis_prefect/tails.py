"""The last log lines of runs that failed and whose own process gave none, out of Prefect's logs.

A process that captures gives the end of its runs' logs itself; one that does not, or that was killed, leaves them to
Prefect's server. What a process gives is believed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final, NamedTuple
from uuid import UUID

from runvis_core.emit.logring import LogRing
from runvis_core.model.event import EventBase
from runvis_core.model.identity import timestamp
from runvis_core.model.state import State
from runvis_prefect.books import Books
from runvis_prefect.history import Kind, Placed, Source
from runvis_prefect.memory import RecentIds
from runvis_prefect.reader import Reader
from runvis_prefect.rest import PAGE_SIZE, PrefectApi
from runvis_prefect.rows import LogRow
from runvis_prefect.states import canonical_state

WAITS: Final = timedelta(seconds=10)
"""How long after the end is asked: a flow sends its lines every other second, and its own word on them comes first."""
AT_ONCE: Final = 100
"""Runs whose logs are read in one go, so that many failures don't hold up the sweeps; the others wait for the next."""
MAX_WAITING: Final = 5_000
MAX_PAGES: Final = 25
"""Pages of a run's log that are read. Of a longer log the lines are not counted."""
KEPT: Final = 20_000


class _Failed(NamedTuple):
    kind: Kind
    native: UUID
    attempt: int
    at: datetime


class Tails:
    """Remembers which runs failed, for any thread, and tells the ends of their logs, for one."""

    def __init__(
        self,
        api: PrefectApi,
        books: Books,
        source: Source,
        reader: Reader,
        *,
        tell: Callable[[Iterable[EventBase]], None],
        find_logged: Callable[[Iterable[UUID]], set[UUID]],
    ) -> None:
        self._api = api
        self._books = books
        self._source = source
        self._reader = reader
        self._tell = tell
        self._find_logged = find_logged
        self._asked = RecentIds(KEPT)
        self._waiting: dict[UUID, _Failed] = {}
        self._lock = Lock()

    def note(self, kind: Kind, native: UUID, placed: Placed) -> None:
        """Remember an attempt if the state is one in which it failed."""
        if canonical_state(placed.state) not in (State.FAILED, State.TIMED_OUT):
            return
        run_id = self._source.run_id(kind, native, placed.attempt)
        with self._lock:
            if run_id not in self._asked and len(self._waiting) < MAX_WAITING:
                self._waiting.setdefault(run_id, _Failed(kind, native, placed.attempt, placed.state.timestamp))

    def read(self, now: datetime) -> None:
        """Tell the ends of the logs of those who failed a while before `now`, by the server's clock."""
        due = [run_id for run_id, failed in self._waiting.copy().items() if failed.at <= now - WAITS][:AT_ONCE]
        logged = self._find_logged(due)
        for run_id in due:
            if run_id not in logged:
                self._tell(self._tail(self._waiting[run_id]))
            with self._lock:
                self._asked.add(run_id)
                del self._waiting[run_id]

    def _tail(self, failed: _Failed) -> Iterator[EventBase]:
        lines, is_whole = self._lines(failed)
        if not lines:
            return
        ring = LogRing()
        for line in reversed(lines):
            ring.append(line.text, line.severity)
        event = ring.event(
            **self._source.report(failed.kind, failed.native, failed.attempt, failed.at).fields,
            url=self._source.page(failed.kind, failed.native),
        )
        yield event if is_whole else event.model_copy(update={"counts": {}})

    def _lines(self, failed: _Failed) -> tuple[list[LogRow], bool]:
        """Return the lines of an attempt, the last one first, and whether they are all."""
        filters = {"logs": {**_of(failed), **self._between(failed)}, "sort": "TIMESTAMP_DESC"}
        lines: list[LogRow] = []
        for number, page in enumerate(self._api.pages("/logs/filter", filters), start=1):
            lines += self._reader.rows(LogRow, page)
            if len(page) < PAGE_SIZE:
                return lines, True
            if number == MAX_PAGES:
                break
        return lines, False

    def _between(self, failed: _Failed) -> dict[str, Any]:
        """Return the times of an attempt, since Prefect's lines don't say to which one they belong."""
        begun: dict[int, datetime] = {}
        for placed in self._books.history(failed.kind, failed.native):
            begun.setdefault(placed.attempt, placed.state.timestamp)
        found: dict[str, str] = {}
        if failed.attempt in begun and failed.attempt > min(begun):
            found["after_"] = timestamp(begun[failed.attempt])
        if following := [at for attempt, at in begun.items() if attempt > failed.attempt]:
            found["before_"] = timestamp(min(following))
        return {"timestamp": found} if found else {}


def _of(failed: _Failed) -> dict[str, Any]:
    by_id = {"any_": [str(failed.native)]}
    if failed.kind == "task":
        return {"task_run_id": by_id}
    # The lines of a flow run's tasks name the flow run as well.
    return {"flow_run_id": by_id, "task_run_id": {"is_null_": True}}
