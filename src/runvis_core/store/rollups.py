"""Counts of runs by hour and by day, with the quantiles of their times: a step beside the log.

A run is counted under what its row says once the step has taken the run's last entry, wherever the entries' batches
ended. When the row says otherwise later (an end, a correction, a presumption, a late definition), the run moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, delete, select, tuple_

from runvis_core.store import tables as t
from runvis_core.store.health import DefinitionKey, judge_definitions
from runvis_core.store.log import StoredEntry
from runvis_core.store.rollup_cells import COUNTED, KEY_COLUMNS, Cell, CellKey, Counted, count_run, find_counted
from runvis_core.store.rollup_check import check_rollups
from runvis_core.store.sketches import add_to, read_sketch
from runvis_core.store.step_rows import find_position
from runvis_core.store.upsert import upsert

_PARAMETERS: Final = 500


class Rollups:
    """Keeps `rollups` and `definition_health`."""

    name = "rollups"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Count anew the runs that the entries are about, and judge their definitions."""
        run_ids = list(dict.fromkeys(entry.run_id for entry in entries if entry.run_id is not None))
        cells: dict[CellKey, Cell] = {}
        touched: set[DefinitionKey] = set()
        for start in range(0, len(run_ids), _PARAMETERS):
            touched |= _recount(connection, run_ids[start : start + _PARAMETERS], cells)
        _write_cells(connection, cells)
        touched |= {_defined(entry) for entry in entries if entry.kind == "definition"}
        judge_definitions(connection, touched)

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, up to where the step is."""
        yield from check_rollups(connection, until=find_position(connection, self.name))


def _defined(entry: StoredEntry) -> DefinitionKey:
    event: Any = entry.parse().event
    named = (event.engine, event.deployment, event.definition, event.definition_kind)
    return DefinitionKey(*(name.replace("\0", "\ufffd") for name in named))


def _recount(connection: Connection, run_ids: list[UUID], cells: dict[CellKey, Cell]) -> set[DefinitionKey]:
    """Move what changed between the cells; return the definitions of all these runs."""
    query = (
        select(t.runs, *COUNTED)
        .outerjoin(t.rollup_runs, t.rollup_runs.c.run_id == t.runs.c.run_id)
        .where(t.runs.c.run_id.in_(run_ids))
    )
    changed: list[dict[str, Any]] = []
    gone: list[UUID] = []
    touched: set[DefinitionKey] = set()
    for row in connection.execute(query):
        before, after = find_counted(row), count_run(row)
        touched |= {one.definition_key for one in (before, after) if one is not None and one.definition}
        if before == after:
            continue
        for counted, times in ((before, -1), (after, 1)):
            if counted is not None:
                for key in counted.cells():
                    cells.setdefault(key, Cell()).count(counted, times)
        if after is None:
            gone.append(row.run_id)
        else:
            changed.append(_counted_row(row.run_id, after))
    if gone:
        connection.execute(delete(t.rollup_runs).where(t.rollup_runs.c.run_id.in_(gone)))
    if changed:
        connection.execute(upsert(connection, t.rollup_runs), changed)
    return touched


def _counted_row(run_id: UUID, counted: Counted) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "definition": counted.definition,
        "definition_kind": counted.kind,
        "state": counted.state,
        "duration_bin": counted.duration_bin,
        "queue_bin": counted.queue_bin,
    }


def _write_cells(connection: Connection, cells: dict[CellKey, Cell]) -> None:
    keys = sorted(cells)
    for start in range(0, len(keys), _PARAMETERS // 10):
        part = keys[start : start + _PARAMETERS // 10]
        query = select(t.rollups).where(tuple_(*KEY_COLUMNS).in_(part))
        for row in connection.execute(query):
            cell = cells[tuple(row)[: len(KEY_COLUMNS)]]
            cell.runs += row.runs
            add_to(cell.durations, read_sketch(row.durations))
            add_to(cell.queues, read_sketch(row.queues))
        full = [cells[key].row(key) for key in part if cells[key].runs]
        empty = [key for key in part if not cells[key].runs]
        if full:
            connection.execute(upsert(connection, t.rollups), full)
        if empty:
            connection.execute(delete(t.rollups).where(tuple_(*KEY_COLUMNS).in_(empty)))
