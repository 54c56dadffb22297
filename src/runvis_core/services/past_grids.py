"""A definition's grid as it was in a past: its cells are the states that the intervals tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, bindparam, literal, null, select, tuple_

from runvis_core.model.state import State, Witness
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.grids import DEFAULT_RUNS, Named, Place, build_grid, get_grid
from runvis_core.services.past import PastRun, PastRuns, bounds, covers, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_trees import find_carried_over
from runvis_core.services.reading import LISTED, RUN_IDS, chunks, find_entries, plain_rows
from runvis_core.services.stats_answers import Grid
from runvis_core.store.database import Store
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import definition_versions, entries, run_intervals
from runvis_core.store.types import Id, Moment

_CELL: Final = (
    run_intervals.c.parent_run_id.label("parent"),
    run_intervals.c.run_id,
    run_intervals.c.sort_at,
    run_intervals.c.engine,
    run_intervals.c.deployment,
    run_intervals.c.definition,
    run_intervals.c.native_key,
    run_intervals.c.effective_state,
    run_intervals.c.native_state,
    run_intervals.c.corrected,
    *(
        null().label(name)
        for name in ("native_id", "attempt", "state", "presumed", "queued_at", "started_at", "ended_at")
    ),
)
"""What cells are made of. To know the rest, thousands of runs would have to be folded from their entries."""
_BEFORE: Final = bindparam("before", type_=BigInteger)
# By who told it, which the index has: the kind is that of the few entries that are left.
_PRESUMED: Final = select(entries.c.run_id).where(
    is_among(entries.c.run_id, RUN_IDS),
    entries.c.position <= _BEFORE,
    entries.c.witness == Witness.RECONCILER.value,
    entries.c.kind == "presumption",
)


def get_grid_at(
    store: Store, name: str, filters: DefinitionFilter, past: PastFilter, *, limit: int = DEFAULT_RUNS,
    cursor: str | None = None, first_step: int = 0, now: datetime,
) -> Grid:  # fmt: skip
    """Return a definition's grid as it is or was known; see `get_grid`, whose cursors it takes and gives.

    Of an attempt of the past it says whose it is and its effective state, not when it began and ended. What was due
    counts until the past's moment; what was paused then nobody kept. Raises `PastError` too.
    """
    if past.is_present:
        return get_grid(store, name, filters, limit=limit, cursor=cursor, first_step=first_step, now=now)
    with reading_past(store, past, now=now) as (connection, found):
        source = _PastSource(PastRuns(connection, found), now)
        return build_grid(source, name, filters, limit=limit, cursor=cursor, first_step=first_step)


class _PastSource:
    """The runs as they were in a past."""

    def __init__(self, runs: PastRuns, now: datetime) -> None:
        self.connection = runs.connection
        self._runs = runs
        self._shown: dict[UUID, PastRun] = {}
        moment, position = runs.past
        self.until = moment or _recorded_at(runs) or now
        version = definition_versions.c
        by_then = [] if moment is None else [version.occurred_at <= moment]
        self.are_known: Sequence[ColumnElement[bool]] = [version.position <= position, *by_then]

    def find_runs(self, definition: Any, before: Place | None, *, limit: int) -> Sequence[Any]:
        column = run_intervals.c
        query = select(column.run_id).where(
            *covers(self._runs.past),
            *bounds(self.connection, self._runs.past),
            column.engine == definition.engine,
            column.deployment == definition.deployment,
            column.definition == definition.definition,
            column.became_run_id.is_(None),
        )
        if before is not None:
            place = tuple_(literal(before[0], Moment), literal(before[1], Id))
            query = query.where(tuple_(column.sort_at, column.run_id) < place)
        query = query.order_by(column.sort_at.desc(), column.run_id.desc()).limit(limit)
        found = self._runs.load(self.connection.scalars(query))
        # Of one name there may be two kinds.
        kept = [run for run in found if run.row.definition_kind == definition.definition_kind]
        self._shown.update((run.row.run_id, run) for run in kept)
        return [SimpleNamespace(**vars(run.row), is_corrected=bool(run.record.corrections)) for run in kept]

    def find_children(self, run_ids: list[UUID], named: Named | None, *, limit: int) -> list[Any]:
        column = run_intervals.c
        query = select(*_CELL).where(
            *covers(self._runs.past), column.parent_run_id.in_(run_ids), column.became_run_id.is_(None)
        )
        if named is not None:
            query = query.where(column.definition.in_(named.definitions))
        query = query.order_by(column.sort_at.desc(), column.run_id.desc()).limit(limit)
        # SQLite would choose another index.
        query = query.with_hint(run_intervals, "INDEXED BY run_intervals_parent", "sqlite")
        inside = self._with_doubts(plain_rows(self.connection.execute(query)))
        carried = self._find_carried(run_ids, {(row.parent, row.run_id) for row in inside}, named)
        found = sorted((*inside, *carried), key=lambda row: (row.sort_at, row.run_id), reverse=True)
        return found[:limit]

    def _with_doubts(self, rows: list[Any]) -> list[Any]:
        """Return rows of cells; of the few runs that are presumed or were corrected with what no interval tells."""
        doubted = {row.run_id for row in rows if row.corrected}
        others = [row.run_id for row in rows if row.effective_state != State.SUCCEEDED]
        for chunk in chunks(others, LISTED):
            said = {RUN_IDS.key: chunk, _BEFORE.key: self._runs.past.position}
            doubted.update(self.connection.scalars(_PRESUMED, said))
        told = {run.row.run_id: run.row for run in self._runs.load(sorted(doubted))}
        return [
            row._replace(state=told[row.run_id].state, presumed=told[row.run_id].presumed)
            if row.run_id in told
            else row
            for row in rows
        ]

    def _find_carried(self, run_ids: list[UUID], known: set[tuple[UUID, UUID]], named: Named | None) -> list[Any]:
        """Return the tries that reopened runs keep and that are not right inside them."""
        found: dict[tuple[UUID, UUID], Any] = {}
        for parent in run_ids:
            for run in find_carried_over(self._runs, self._shown[parent]):
                is_shown = named is None or run.row.definition in named.definitions
                if is_shown and (parent, run.row.run_id) not in known:
                    found[parent, run.row.run_id] = SimpleNamespace(**vars(run.row), parent=parent)
        return list(found.values())

    def is_paused(self, definition: Any) -> bool:  # noqa: ARG002 - nobody kept what was paused then
        return False


def _recorded_at(runs: PastRuns) -> datetime | None:
    position = runs.past.position
    entry = find_entries(runs.connection, [position]).get(position)
    return entry.recorded_at if entry else None
