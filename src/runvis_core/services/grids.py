"""A definition's recent runs beside one another: steps by runs, with all attempts of each step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, literal, select, tuple_

from runvis_core.model.state import TriggerKind
from runvis_core.services.cursors import read_cursor, read_moment, write_cursor
from runvis_core.services.definitions import find_definition
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.grid_cells import make_cell
from runvis_core.services.grid_missed import Missed, find_missed_in
from runvis_core.services.grid_versions import Versions, find_schedule
from runvis_core.services.paused import find_paused
from runvis_core.services.reading import plain_rows, reading
from runvis_core.services.run_refs import ATTEMPT_COLUMNS, REF_COLUMNS, run_refs
from runvis_core.services.stats_answers import Grid, GridCell, GridColumn, GridRow
from runvis_core.services.tree_statements import PARENTS, child_edges
from runvis_core.store.database import Store
from runvis_core.store.tables import runs
from runvis_core.store.types import Id, Moment

DEFAULT_RUNS: Final = 30
MAX_RUNS: Final = 200
MAX_CHILDREN: Final = 20_000
"""How many attempts of steps a grid reads."""
MAX_STEPS: Final = 200
"""How many steps a grid shows; more are counted."""
_LIST: Final = "grid"

Place = tuple[datetime, UUID]
"""Where a run stands in lists: by `sort_at` and its id."""


def get_grid(
    store: Store, name: str, filters: DefinitionFilter, *, limit: int = DEFAULT_RUNS, cursor: str | None = None,
    first_step: int = 0, now: datetime,
) -> Grid:  # fmt: skip
    """Return the last runs of a definition, or those before a cursor, with the steps that ran right inside them.

    Steps that a run's version of the definition has and that did not run have a cell without attempts. A run that was
    due by the schedule (in UTC) and is absent has a column without a run: the last ones, at most as many as runs, and a
    note counts those before. What its engine has paused misses nothing after its last run. Of more than `MAX_STEPS`
    steps those from the `first_step` on are shown, counted from 0. Raises `NotFoundError` and `CursorError`.
    """
    with reading(store) as connection:
        source = _Present(connection, now)
        return build_grid(source, name, filters, limit=limit, cursor=cursor, first_step=first_step)


class GridSource(Protocol):
    """Where a grid finds runs: those of now, or of a past."""

    connection: Connection
    until: datetime
    """Until when runs were due."""
    are_known: Sequence[ColumnElement[bool]]
    """The conditions under which a version of a definition counts."""

    def find_runs(self, definition: Any, before: Place | None, *, limit: int) -> Sequence[Any]:
        """Return the last runs of a definition, the newest first, with what names them, and their version."""
        ...

    def find_children(self, run_ids: list[UUID], named: Named | None, *, limit: int) -> list[Any]:
        """Return the last of the attempts that ran right inside runs, or were carried over, the newest first.

        With `named` only those of the steps that it has.
        """
        ...

    def is_paused(self, definition: Any) -> bool:
        """Return whether the engine has the definition paused."""
        ...


def build_grid(
    source: GridSource, name: str, filters: DefinitionFilter, *, limit: int, cursor: str | None, first_step: int
) -> Grid:
    """Return the grid of a definition's runs that a source finds; see `get_grid`."""
    connection = source.connection
    row = find_definition(connection, name, filters)
    of = _Shown(engine=row.engine, deployment=row.deployment, definition=row.definition, kind=row.definition_kind)
    before = None if cursor is None else _read_place(cursor, of)
    found = source.find_runs(row, before, limit=limit + 1)
    shown, more = found[:limit][::-1], len(found) > limit
    versions = Versions(connection, shown, source.are_known)
    named = Named.of(row.definition, versions.steps_of_all(shown), first_step)
    children = source.find_children([run.run_id for run in shown], named, limit=MAX_CHILDREN + 1)
    missed = _find_missed(source, row, shown, before, most=limit)
    columns = _columns(shown, versions, missed.due_at)
    rows = _rows(row.definition, columns, shown, children, versions)
    step_count = len(rows) if named is None else named.step_count
    if named is not None:
        wanted = dict.fromkeys(named.steps)
        rows = [one for one in rows if one.step in wanted]
    elif step_count > MAX_STEPS:
        rows = rows[first_step : first_step + MAX_STEPS]
    notes = list(missed.notes)
    if len(children) > MAX_CHILDREN:
        notes.append(f"these runs have more than {MAX_CHILDREN:,} steps; the last ones are shown")
    last = found[limit - 1] if more else None
    return Grid(
        engine=row.engine,
        deployment=row.deployment,
        definition=row.definition,
        kind=row.definition_kind,
        columns=columns,
        rows=rows,
        step_count=step_count,
        first_step=first_step,
        next_cursor=write_cursor([last.sort_at.isoformat(), str(last.run_id)], of=_LIST, filters=of) if last else None,
        notes=notes,
    )


class _Shown(BaseModel):
    """Of which definition a grid is: what its cursors are bound to."""

    engine: str
    deployment: str
    definition: str
    kind: str


def _read_place(cursor: str, of: _Shown) -> Place:
    sort_at, run_id = read_cursor(cursor, of=_LIST, filters=of, kinds=(read_moment, UUID))
    return sort_at, run_id


class _Present:
    """The runs as they stand now."""

    are_known: Sequence[ColumnElement[bool]] = ()

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.until = now

    def find_runs(self, definition: Any, before: Place | None, *, limit: int) -> Sequence[Any]:
        query = select(runs.c.sort_at, runs.c.definition_version_id, runs.c.trigger_kind, *REF_COLUMNS).where(
            runs.c.engine == definition.engine,
            runs.c.deployment == definition.deployment,
            runs.c.definition == definition.definition,
            runs.c.definition_kind == definition.definition_kind,
            runs.c.became_run_id.is_(None),
        )
        if before is not None:
            place = tuple_(literal(before[0], Moment), literal(before[1], Id))
            query = query.where(tuple_(runs.c.sort_at, runs.c.run_id) < place)
        return self.connection.execute(query.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(limit)).all()

    def find_children(self, run_ids: list[UUID], named: Named | None, *, limit: int) -> list[Any]:
        given: dict[str, Any] = {PARENTS.key: run_ids, "most": limit}
        if named is not None:
            given[_DEFINITIONS.key] = named.definitions
        return plain_rows(self.connection.execute(_children(of_named=named is not None), given))

    def is_paused(self, definition: Any) -> bool:
        return (definition.engine, definition.deployment, definition.definition) in find_paused(self.connection)


class Named(NamedTuple):
    """Of very many steps that the versions name those that are shown."""

    steps: list[str]
    definitions: list[str]
    """How runs of them may be called."""
    step_count: int

    @staticmethod
    def of(definition: str, steps: list[str], first_step: int) -> Named | None:
        """Return those from the `first_step` on of so many; None where all are shown."""
        if len(steps) <= MAX_STEPS:
            return None
        shown = steps[first_step : first_step + MAX_STEPS]
        return Named(shown, [*shown, *(f"{definition}.{step}" for step in shown)], len(steps))


_CHILD_COLUMNS: Final = (
    *ATTEMPT_COLUMNS,
    runs.c.sort_at,
    runs.c.engine,
    runs.c.deployment,
    runs.c.definition,
    runs.c.native_key,
    runs.c.native_id,
    runs.c.queued_at,
)
"""What cells are made of: a grid reads thousands of such rows."""
_DEFINITIONS: Final[BindParameter[Any]] = bindparam("definitions", expanding=True)


@cache
def _children(*, of_named: bool) -> Any:
    """Select what ran right inside `PARENTS`, or of that what is named so. Built once: to build it takes long."""
    edges = child_edges()
    query = select(edges.c.parent, *_CHILD_COLUMNS).join(runs, runs.c.run_id == edges.c.child)
    query = query.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(bindparam("most"))
    return query.where(runs.c.definition.in_(_DEFINITIONS)) if of_named else query


def _columns(shown: Sequence[Any], versions: Versions, missed: Sequence[datetime]) -> list[GridColumn]:
    columns: list[tuple[datetime, int, GridColumn]] = []
    before: str | None = None
    for place, (run, ref) in enumerate(zip(shown, run_refs(shown), strict=True)):
        name = versions.name_of(run.definition_version_id)
        is_new = before is not None and name is not None and name != before
        columns.append((run.sort_at, place, GridColumn(run=ref, version=name, is_new_version=is_new)))
        before = name or before
    columns += [(moment, -1, GridColumn(due_at=moment)) for moment in missed]
    return [column for _, _, column in sorted(columns, key=lambda one: one[:2])]


def _find_missed(
    source: GridSource, definition: Any, shown: Sequence[Any], before: Place | None, *, most: int
) -> Missed:
    """Return which runs were due since the first scheduled one that is shown, and are not there.

    Until now, or until the first run of the page from which the cursor is.
    """
    scheduled = [run.sort_at for run in shown if run.trigger_kind in (TriggerKind.SCHEDULE.value, None)]
    schedule = find_schedule(source.connection, definition, source.are_known) if scheduled else None
    if schedule is None:
        return Missed([], [])
    if before is not None:
        until = before[0]
    else:
        until = shown[-1].sort_at if source.is_paused(definition) else source.until
    return find_missed_in(schedule, scheduled, until=until, most=most)


def _rows(
    definition: str,
    columns: list[GridColumn],
    shown: Sequence[Any],
    children: Sequence[Any],
    versions: Versions,
) -> list[GridRow]:
    steps: dict[str, dict[UUID, list[Any]]] = {}
    expected: dict[UUID, Mapping[str, None]] = {}
    inside: dict[UUID, list[Any]] = defaultdict(list)
    for child in reversed(children[:MAX_CHILDREN]):
        inside[child.parent].append(child)
    for run in shown:
        for child in inside[run.run_id]:
            steps.setdefault(_step(child.definition, definition), {}).setdefault(run.run_id, []).append(child)
        expected[run.run_id] = versions.steps_of(run.definition_version_id)
    for names in expected.values():
        for name in names:
            steps.setdefault(name, {})
    if len(children) > MAX_CHILDREN:
        # What is not among the attempts that were read may have run all the same.
        expected = {}
    begun = {run.run_id: run.started_at or run.queued_at or run.sort_at for run in shown}
    rows: list[GridRow] = []
    for step, of_runs in steps.items():
        cells = [
            _cell(step, column.run.run_id, of_runs, expected, begun) if column.run is not None else None
            for column in columns
        ]
        rows.append(GridRow(step=step, cells=cells))
    return rows


def _step(name: str | None, definition: str) -> str:
    return (name or "unnamed").removeprefix(f"{definition}.")


def _cell(
    step: str,
    run_id: UUID,
    of_runs: dict[UUID, list[Any]],
    expected: Mapping[UUID, Mapping[str, None]],
    begun: dict[UUID, datetime],
) -> GridCell | None:
    attempts = of_runs.get(run_id)
    if not attempts:
        return GridCell() if step in expected.get(run_id, ()) else None
    return make_cell(attempts, begun[run_id])
