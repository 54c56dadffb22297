"""Whole runs from their beginning to their end, for tests that need many."""

from __future__ import annotations

from typing import Any

from runvis_core.model.event import ContextEvent, EventBase, FailureEvent, IdentityEvent, SnapshotEvent, StateEvent
from runvis_core.model.state import State
from runvis_core.testing.factories import ENGINE, a_run_id, at, make

ROWS_ERROR = {"message": "upstream returned 0 rows\nlook there"}


def a_run(
    name: str,
    *,
    begins: float,
    seconds: float = 10,
    waits: float = 0,
    state: State | None = State.SUCCEEDED,
    definition: str = "etl",
    kind: str = "dag",
    inside: str | None = None,
    attempt: int = 1,
    key: str | None = None,
    engine: str = ENGINE,
    said: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
) -> list[EventBase]:
    """Return the events of one run: heard of `begins` seconds after the tests' morning, started `waits` seconds later.

    A run that fails says why; one whose `state` is None goes on running.
    """
    common: dict[str, Any] = {"run_id": a_run_id(name), "engine": engine}
    started, ended = begins + waits, begins + waits + seconds
    events: list[EventBase] = [
        make(
            IdentityEvent,
            seconds=begins,
            **common,
            definition=definition,
            definition_kind=kind,
            native_key=key or name,
            native_id=f"{name}/{attempt}",
            attempt=attempt,
            parent_run_id=a_run_id(inside) if inside else None,
            **(said or {}),
        ),
        make(ContextEvent, seconds=begins, **common, **(context or {})),
        make(StateEvent, seconds=started, **common, state=State.RUNNING),
    ]
    if waits:
        events.append(make(SnapshotEvent, seconds=started, **common, queued_at=at(begins), started_at=at(started)))
    if state is State.FAILED:
        events.append(make(FailureEvent, seconds=ended, **common, error_type="shop.RowsError", content=ROWS_ERROR))
    if state is not None:
        events.append(make(StateEvent, seconds=ended, **common, state=state))
    return events
