"""Counts of runs by hour and by day, with the quantiles of their times: a step beside the log.

A run is counted under what its row says once the step has taken the run's last entry, wherever the entries' batches
ended. When the row says otherwise later (an end, a correction, a presumption, a late definition), the run moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, delete, select, tuple_

from runvis_core.store import tables as t
from runvis_core.store.health import DefinitionKey, judge_definitions
from runvis_core.store.log import StoredEntry
from runvis_core.store.sketches import Sketch, add_to, find_bin, read_sketch, write_sketch
from runvis_core.store.upsert import upsert

HOUR: Final = "hour"
DAY: Final = "day"
KIND: Final = "kind"
"""A day of a kind of definition: the rows whose definition is empty."""
_PARAMETERS: Final = 500
_MICROSECOND: Final = timedelta(microseconds=1)

Row = Any


class _Counted(NamedTuple):
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
        return DefinitionKey(self.engine, self.deployment, self.definition, self.kind)

    def cells(self) -> Iterable[_Key]:
        hour = self.sort_at.replace(minute=0, second=0, microsecond=0)
        day = hour.replace(hour=0)
        yield (HOUR, hour, self.engine, self.deployment, self.definition, self.kind, self.state)
        yield (DAY, day, self.engine, self.deployment, self.definition, self.kind, self.state)
        yield (KIND, day, self.engine, self.deployment, "", self.kind, self.state)


_Key = tuple[str, datetime, str, str, str, str, str]
_KEY_COLUMNS: Final = tuple(t.rollups.c[column.name] for column in t.rollups.primary_key)


class _Cell:
    """One row of `rollups` on its way to another value."""

    def __init__(self) -> None:
        self.runs = 0
        self.durations: Sketch = {}
        self.queues: Sketch = {}

    def count(self, counted: _Counted, times: int) -> None:
        """Put a run in, or take it out."""
        self.runs += times
        if counted.duration_bin is not None:
            add_to(self.durations, {counted.duration_bin: 1}, times=times)
        if counted.queue_bin is not None:
            add_to(self.queues, {counted.queue_bin: 1}, times=times)


class Rollups:
    """Keeps `rollups` and `definition_health`."""

    name = "rollups"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Count anew the runs that the entries are about, and judge their definitions."""
        run_ids = list(dict.fromkeys(entry.run_id for entry in entries if entry.run_id is not None))
        cells: dict[_Key, _Cell] = {}
        touched: set[DefinitionKey] = set()
        for start in range(0, len(run_ids), _PARAMETERS):
            touched |= _recount(connection, run_ids[start : start + _PARAMETERS], cells)
        _write_cells(connection, cells)
        touched |= {_defined(entry) for entry in entries if entry.kind == "definition"}
        judge_definitions(connection, touched)


def _defined(entry: StoredEntry) -> DefinitionKey:
    event: Any = entry.parse().event
    named = (event.engine, event.deployment, event.definition, event.definition_kind)
    return DefinitionKey(*(name.replace("\0", "\ufffd") for name in named))


def _recount(connection: Connection, run_ids: list[UUID], cells: dict[_Key, _Cell]) -> set[DefinitionKey]:
    """Move what changed between the cells; return the definitions of all these runs."""
    columns = (t.runs, t.rollup_runs.c.run_id.label("counted_id"))
    named = [column.label(f"was_{column.name}") for column in t.rollup_runs.c if column.name != "run_id"]
    query = (
        select(*columns, *named)
        .outerjoin(t.rollup_runs, t.rollup_runs.c.run_id == t.runs.c.run_id)
        .where(t.runs.c.run_id.in_(run_ids))
    )
    changed: list[dict[str, Any]] = []
    gone: list[UUID] = []
    touched: set[DefinitionKey] = set()
    for row in connection.execute(query):
        before, after = _before(row), _after(row)
        touched |= {one.definition_key for one in (before, after) if one is not None and one.definition}
        if before == after:
            continue
        for counted, times in ((before, -1), (after, 1)):
            if counted is not None:
                for key in counted.cells():
                    cells.setdefault(key, _Cell()).count(counted, times)
        if after is None:
            gone.append(row.run_id)
        else:
            changed.append(_counted_row(row.run_id, after))
    if gone:
        connection.execute(delete(t.rollup_runs).where(t.rollup_runs.c.run_id.in_(gone)))
    if changed:
        connection.execute(upsert(connection, t.rollup_runs), changed)
    return touched


def _before(row: Row) -> _Counted | None:
    if row.counted_id is None:
        return None
    said = (row.was_definition, row.was_definition_kind, row.was_state)
    return _Counted(row.engine, row.deployment, *said, row.sort_at, row.was_duration_bin, row.was_queue_bin)


def _after(row: Row) -> _Counted | None:
    if row.became_run_id is not None:
        # Lists show it under what it became.
        return None
    return _Counted(
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


def _counted_row(run_id: UUID, counted: _Counted) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "definition": counted.definition,
        "definition_kind": counted.kind,
        "state": counted.state,
        "duration_bin": counted.duration_bin,
        "queue_bin": counted.queue_bin,
    }


def _write_cells(connection: Connection, cells: dict[_Key, _Cell]) -> None:
    keys = sorted(cells)
    for start in range(0, len(keys), _PARAMETERS // 10):
        part = keys[start : start + _PARAMETERS // 10]
        query = select(t.rollups).where(tuple_(*_KEY_COLUMNS).in_(part))
        for row in connection.execute(query):
            cell = cells[tuple(row)[: len(_KEY_COLUMNS)]]
            cell.runs += row.runs
            add_to(cell.durations, read_sketch(row.durations))
            add_to(cell.queues, read_sketch(row.queues))
        full = [_cell_row(key, cells[key]) for key in part if cells[key].runs]
        empty = [key for key in part if not cells[key].runs]
        if full:
            connection.execute(upsert(connection, t.rollups), full)
        if empty:
            connection.execute(delete(t.rollups).where(tuple_(*_KEY_COLUMNS).in_(empty)))


def _cell_row(key: _Key, cell: _Cell) -> dict[str, Any]:
    named = dict(zip((column.name for column in _KEY_COLUMNS), key, strict=True))
    times = {"durations": write_sketch(cell.durations), "queues": write_sketch(cell.queues)}
    return {**named, "runs": cell.runs, **times}
