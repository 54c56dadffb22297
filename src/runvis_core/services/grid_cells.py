"""A cell of a grid: a step in one run, with the attempts of each thing that ran of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final

from runvis_core.model.state import State
from runvis_core.services.answers import AttemptView
from runvis_core.services.run_refs import attempt_fields
from runvis_core.services.stats_answers import GridAttempt, GridCell, GridInstances

MAX_ATTEMPTS: Final = 20
"""How many attempts a cell shows."""
_NOT_ENDED: Final = (State.RUNNING, State.FINALIZING, State.INITIALIZING, State.QUEUED)
_ORDER: Final[dict[str | None, int]] = {
    state.value if state else None: place
    for place, state in enumerate(
        (State.FAILED, State.TIMED_OUT, State.CANCELLED, *_NOT_ENDED, None, State.SUCCEEDED),
    )
}
"""In which order a cell tells how its instances stand: what went wrong first."""


def make_cell(rows: Sequence[Any], begun: datetime) -> GridCell:
    """Return the cell of a step that has these attempts, in a run that began at a moment.

    What shares a native key is one thing, and a later attempt of it stands for it. Of several things, as a mapped task
    or a call in a loop has them, those that failed come first, so that they are never among those cut off.
    """
    if len(rows) == 1:
        return GridCell(attempts=list(_attempts(rows, begun)))
    instances = _instances(rows)
    if len(instances) == 1:
        (ordered,) = instances
        return GridCell(
            attempts=list(_attempts(ordered[-MAX_ATTEMPTS:], begun)),
            cut_attempts=max(0, len(ordered) - MAX_ATTEMPTS),
        )
    instances.sort(key=lambda attempts: _ORDER[_state(attempts[-1])])
    ordered = list(chain.from_iterable(instances))
    return GridCell(
        attempts=list(_attempts(ordered[:MAX_ATTEMPTS], begun)),
        cut_attempts=max(0, len(ordered) - MAX_ATTEMPTS),
        instances=_count(instances),
    )


def _instances(rows: Iterable[Any]) -> list[list[Any]]:
    """Return the attempts of each thing, the first one first; the things in the order in which they began."""
    found: dict[Any, list[Any]] = {}
    for row in rows:
        key = row.run_id if row.native_key is None else (row.native_key, row.engine, row.deployment)
        found.setdefault(key, []).append(row)
    for attempts in found.values():
        attempts.sort(key=lambda row: (row.attempt or 0, row.sort_at))
    return list(found.values())


def _state(row: Any) -> str | None:
    return row.effective_state or row.state


def _count(instances: Iterable[Sequence[Any]]) -> list[GridInstances]:
    alike: dict[tuple[Any, ...], list[Any]] = {}
    for attempts in instances:
        last = attempts[-1]
        looks = (_state(last), last.state, last.native_state, last.presumed)
        alike.setdefault(looks, []).append(last)
    return [
        GridInstances(count=len(same), last_attempt=AttemptView(**attempt_fields(same[0]))) for same in alike.values()
    ]


def _attempts(rows: Iterable[Any], begun: datetime) -> Iterable[GridAttempt]:
    for row in rows:
        started = row.started_at
        yield GridAttempt(
            **attempt_fields(row),
            native_key=row.native_key,
            native_id=row.native_id,
            queue_seconds=(started - row.queued_at).total_seconds() if started and row.queued_at else None,
            offset_seconds=(started - begun).total_seconds() if started else None,
        )
