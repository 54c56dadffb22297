"""Counts of runs by hour and by day, with the quantiles of their times: a step beside the log.

A run is counted under what its row says once the step has taken the run's last entry, wherever the entries' batches
ended. When the row says otherwise later (an end, a correction, a presumption, a late definition), the run moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from runvis_core.store import tables as t
from runvis_core.store.bulk import Bulk, single
from runvis_core.store.driver import Row
from runvis_core.store.health import DefinitionKey, judge_definitions
from runvis_core.store.log import StoredEntry
from runvis_core.store.rollup_cells import KEY_NAMES, RUN_NAMES, Cell, CellKey, RunRow, count_run, find_counted
from runvis_core.store.rollup_check import check_rollups
from runvis_core.store.sketches import add_to, read_sketch
from runvis_core.store.step_rows import find_position


class Rollups:
    """Keeps `rollups` and `definition_health`."""

    name = "rollups"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Count anew the runs that the entries are about, and judge their definitions."""
        bulk = Bulk(connection)
        run_ids = list(dict.fromkeys(entry.run_id for entry in entries if entry.run_id is not None))
        cells: dict[CellKey, Cell] = {}
        touched = _recount(bulk, run_ids, cells)
        _write_cells(bulk, cells)
        touched |= {_defined(entry) for entry in entries if entry.kind == "definition"}
        judge_definitions(connection, touched)

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, up to where the step is."""
        yield from check_rollups(connection, until=find_position(connection, self.name))


def _defined(entry: StoredEntry) -> DefinitionKey:
    event: Any = entry.parse().event
    named = (event.engine, event.deployment, event.definition, event.definition_kind)
    return DefinitionKey(*(name.replace("\0", "\ufffd") for name in named))


def _recount(bulk: Bulk, run_ids: list[UUID], cells: dict[CellKey, Cell]) -> set[DefinitionKey]:
    """Move what changed between the cells; return the definitions of all these runs."""
    counted_as = {row[0]: row for row in bulk.find(t.rollup_runs, None, ("run_id",), single(run_ids))}
    changed: list[Row] = []
    gone: list[Row] = []
    touched: set[DefinitionKey] = set()
    for found in bulk.find(t.runs, RUN_NAMES, ("run_id",), single(run_ids)):
        row = RunRow(*found, *counted_as.get(found[0], ()))
        before, after = find_counted(row), count_run(row)
        touched |= {one.definition_key for one in (before, after) if one is not None and one.definition}
        if before == after:
            continue
        for counted, times in ((before, -1), (after, 1)):
            if counted is not None:
                for key in counted.cells():
                    cells.setdefault(key, Cell()).count(counted, times)
        if after is None:
            gone.append((row.run_id,))
        else:
            said = (after.definition, after.kind, after.state)
            changed.append((row.run_id, *said, after.duration_bin, after.queue_bin))
    bulk.delete(t.rollup_runs, gone)
    bulk.upsert(t.rollup_runs, changed)
    return touched


def _write_cells(bulk: Bulk, cells: dict[CellKey, Cell]) -> None:
    for *key, runs, durations, queues in bulk.find(t.rollups, None, KEY_NAMES, cells):
        cell = cells[tuple(key)]
        cell.runs += runs
        add_to(cell.durations, read_sketch(durations))
        add_to(cell.queues, read_sketch(queues))
    bulk.upsert(t.rollups, [cells[key].row(key) for key in sorted(cells) if cells[key].runs])
    bulk.delete(t.rollups, [key for key in sorted(cells) if not cells[key].runs])
