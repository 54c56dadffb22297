"""Group commit: one thread that takes all batches waiting at the door into the store, in one transaction."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from runvis_core.errors import RunVisError, UnreachableError

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 64
"""How many batches may wait. A sender who finds no room keeps its events and comes again."""
MAX_GROUP: Final = 2000
"""How many items share one transaction."""

Ingest = Callable[[Sequence[Any], Any], Sequence[Any]]
Outcomes = Future[Sequence[Any]]


class CrowdedError(RunVisError):
    """Too many batches wait already."""


class _Batch(NamedTuple):
    items: Sequence[Any]
    principal: Hashable
    outcomes: Outcomes
    is_alone: bool = False
    """Whether it must not share a transaction, since one that it shared failed."""


class Committer:
    """Takes batches one group after the other: what arrives while one is written shares the next transaction."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._waiting: deque[_Batch] = deque()
        self._changed = threading.Condition()
        self._is_writing = False
        self._is_closed = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="runvis-committer")

    def submit(self, items: Sequence[Any], *, principal: Hashable) -> Outcomes:
        """Take a batch; the future gives its outcomes once they are durable. Raises `CrowdedError`."""
        outcomes: Outcomes = Future()
        with self._changed:
            if self._is_closed:
                raise UnreachableError("the server is stopping")
            if len(self._waiting) >= MAX_WAITING:
                raise CrowdedError(f"{MAX_WAITING} batches wait already")
            self._waiting.append(_Batch(items, principal, outcomes))
            if self._is_writing:
                return outcomes
            self._is_writing = True
        self._write_next()
        return outcomes

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_writing)
        self._writer.shutdown(wait=True)

    def _write_next(self) -> None:
        with self._changed:
            group = self._take_group()
            if not group:
                self._is_writing = False
                self._changed.notify_all()
                return
        items = [item for batch in group for item in batch.items]
        writing = self._writer.submit(self._ingest, items, group[0].principal)
        writing.add_done_callback(partial(self._finish, group))

    def _take_group(self) -> list[_Batch]:
        group: list[_Batch] = []
        size = 0
        while self._waiting:
            batch = self._waiting[0]
            shares = not batch.is_alone and bool(group) and not group[0].is_alone
            # The log names one principal per append; and a group must end somewhere.
            if group and not (
                shares and batch.principal == group[0].principal and size + len(batch.items) <= MAX_GROUP
            ):
                break
            self._waiting.popleft()
            # Nobody waits any more for a cancelled one: its sender is gone, and comes again.
            if batch.is_alone or batch.outcomes.set_running_or_notify_cancel():
                group.append(batch)
                size += len(batch.items)
        return group

    def _finish(self, group: list[_Batch], writing: Future[Sequence[Any]]) -> None:
        error = writing.exception()
        if error is None:
            _hand_out(group, writing.result())
        elif len(group) > 1 and not isinstance(error, UnreachableError):
            # One batch must not take the others down with it.
            with self._changed:
                self._waiting.extendleft(batch._replace(is_alone=True) for batch in reversed(group))
        else:
            _log.error("%d batches were not stored", len(group), exc_info=error)
            for batch in group:
                batch.outcomes.set_exception(error)
        self._write_next()


def _hand_out(group: list[_Batch], outcomes: Sequence[Any]) -> None:
    start = 0
    for batch in group:
        batch.outcomes.set_result(outcomes[start : start + len(batch.items)])
        start += len(batch.items)
