"""What a run is counted as, and in which rows of `rollups`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from runvis_core.store import tables as t
from runvis_core.store.health import DefinitionKey
from runvis_core.store.sketches import Sketch, add_to, find_bin, write_sketch
from runvis_core.store.statements import key_of

HOUR: Final = "hour"
DAY: Final = "day"
KIND: Final = "kind"
"""A day of a kind of definition: the rows whose definition is empty."""
_MICROSECOND: Final = timedelta(microseconds=1)

CellKey = tuple[str, datetime, str, str, str, str, str]
KEY_NAMES: Final = key_of(t.rollups)

COUNTED: Final = tuple(column.label(f"was_{column.name}") for column in t.rollup_runs.c)
"""The columns of `rollup_runs`, as `find_counted` wants them beside those of `runs`."""


class Counted(NamedTuple):
    """What a run is counted as."""

    engine: str
    deployment: str
    definition: str
    kind: str
    state: str
    sort_at: datetime
    duration_bin: int | None
    queue_bin: int | None

    @property
    def definition_key(self) -> DefinitionKey:
        """The definition whose run it is."""
        return DefinitionKey(self.engine, self.deployment, self.definition, self.kind)

    def cells(self) -> Iterable[CellKey]:
        """Yield the keys of the rows that count it."""
        hour = self.sort_at.replace(minute=0, second=0, microsecond=0)
        day = hour.replace(hour=0)
        yield (HOUR, hour, self.engine, self.deployment, self.definition, self.kind, self.state)
        yield (DAY, day, self.engine, self.deployment, self.definition, self.kind, self.state)
        yield (KIND, day, self.engine, self.deployment, "", self.kind, self.state)


class RunRow(NamedTuple):
    """What a run's row says of what it is to be counted as, and what it is counted as."""

    run_id: UUID
    became_run_id: UUID | None
    engine: str
    deployment: str
    definition: str | None
    definition_kind: str | None
    effective_state: str | None
    sort_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    was_run_id: UUID | None = None
    was_definition: str = ""
    was_definition_kind: str = ""
    was_state: str = ""
    was_duration_bin: int | None = None
    was_queue_bin: int | None = None


RUN_NAMES: Final = tuple(name for name in RunRow._fields if not name.startswith("was_"))
"""The columns of `runs` among them; the rest are those of `rollup_runs`."""


class Cell:
    """One row of `rollups` on its way to another value."""

    def __init__(self) -> None:
        self.runs = 0
        self.durations: Sketch = {}
        self.queues: Sketch = {}

    def count(self, counted: Counted, times: int) -> None:
        """Put a run in, or take it out."""
        self.runs += times
        if counted.duration_bin is not None:
            add_to(self.durations, {counted.duration_bin: 1}, times=times)
        if counted.queue_bin is not None:
            add_to(self.queues, {counted.queue_bin: 1}, times=times)

    def row(self, key: CellKey) -> tuple[Any, ...]:
        """Return the row that says it, in the order of the table."""
        return (*key, self.runs, write_sketch(self.durations), write_sketch(self.queues))


def find_counted(row: Any) -> Counted | None:
    """Return what a run, joined with its `COUNTED`, is counted as now; None if it is not."""
    if row.was_run_id is None:
        return None
    said = (row.was_definition, row.was_definition_kind, row.was_state)
    return Counted(row.engine, row.deployment, *said, row.sort_at, row.was_duration_bin, row.was_queue_bin)


def count_run(row: Any) -> Counted | None:
    """Return what a run's row says that it is to be counted as; None if it is not."""
    if row.became_run_id is not None:
        # Lists show it under what it became.
        return None
    return Counted(
        row.engine,
        row.deployment,
        row.definition or "",
        row.definition_kind or "",
        row.effective_state or "",
        row.sort_at,
        _bin_between(row.started_at, row.ended_at),
        _bin_between(row.queued_at, row.started_at),
    )


def _bin_between(earlier: datetime | None, later: datetime | None) -> int | None:
    return None if earlier is None or later is None else find_bin((later - earlier) // _MICROSECOND)
