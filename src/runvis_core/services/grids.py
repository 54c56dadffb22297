"""A definition's recent runs beside one another: steps by runs, with all attempts of each step."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, pairwise
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import orjson
from sqlalchemy import BindParameter, Connection, bindparam, literal, select, tuple_

from runvis_core.model.state import TriggerKind
from runvis_core.services.cursors import read_cursor, read_moment, write_cursor
from runvis_core.services.definitions import find_definition
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.grid_cells import make_cell
from runvis_core.services.reading import chunks, find_bodies_at, plain_rows, reading
from runvis_core.services.run_refs import REF_COLUMNS, run_refs
from runvis_core.services.run_trees import PARENTS, child_edges
from runvis_core.services.schedules import find_due_times
from runvis_core.services.stats_answers import Grid, GridCell, GridColumn, GridRow
from runvis_core.store.database import Store
from runvis_core.store.tables import definition_versions, runs
from runvis_core.store.types import Id, Moment

DEFAULT_RUNS: Final = 30
MAX_RUNS: Final = 200
MAX_CHILDREN: Final = 20_000
"""How many attempts of steps a grid reads."""
MAX_STEPS: Final = 200
"""How many steps a grid shows; more are counted."""
MAX_DUE: Final = 100
_LIST: Final = "grid"


def get_grid(
    store: Store, name: str, filters: DefinitionFilter, *, limit: int = DEFAULT_RUNS, cursor: str | None = None,
    first_step: int = 0, now: datetime,
) -> Grid:  # fmt: skip
    """Return the last runs of a definition, or those before a cursor, with the steps that ran right inside them.

    Steps that a run's version of the definition has and that did not run have a cell without attempts. A run that was
    due by the schedule (in UTC) and is absent has a column without a run. Of more than `MAX_STEPS` steps those from the
    `first_step` on are shown, counted from 0. Raises `NotFoundError` and `CursorError`.
    """
    with reading(store) as connection:
        row = find_definition(connection, name, filters)
        found = _find_runs(connection, row, limit, cursor, filters)
        shown, more = found[:limit][::-1], len(found) > limit
        versions = _Versions(connection, shown)
        named = _Named.of(row.definition, versions.steps_of_all(shown), first_step)
        children, is_cut = _find_children(connection, [run.run_id for run in shown], named)
        columns = _columns(connection, row, shown, versions, until=now if cursor is None else None)
    rows = _rows(row.definition, columns, shown, children, versions, is_cut=is_cut)
    step_count = len(rows) if named is None else named.step_count
    if named is not None:
        wanted = dict.fromkeys(named.steps)
        rows = [one for one in rows if one.step in wanted]
    elif step_count > MAX_STEPS:
        rows = rows[first_step : first_step + MAX_STEPS]
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
        next_cursor=write_cursor([last.sort_at.isoformat(), str(last.run_id)], of=_LIST, filters=filters)
        if last
        else None,
        notes=[f"these runs have more than {MAX_CHILDREN:,} steps; the last ones are shown"] if is_cut else [],
    )


def _find_runs(
    connection: Connection, row: Any, limit: int, cursor: str | None, filters: DefinitionFilter
) -> Sequence[Any]:
    query = select(runs.c.sort_at, runs.c.definition_version_id, runs.c.trigger_kind, *REF_COLUMNS).where(
        runs.c.engine == row.engine,
        runs.c.deployment == row.deployment,
        runs.c.definition == row.definition,
        runs.c.definition_kind == row.definition_kind,
        runs.c.became_run_id.is_(None),
    )
    if cursor is not None:
        sort_at, run_id = read_cursor(cursor, of=_LIST, filters=filters, kinds=(read_moment, UUID))
        place = tuple_(literal(sort_at, Moment), literal(run_id, Id))
        query = query.where(tuple_(runs.c.sort_at, runs.c.run_id) < place)
    return connection.execute(query.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(limit + 1)).all()


class _Named(NamedTuple):
    """Of very many steps that the versions name those that are shown."""

    steps: list[str]
    definitions: list[str]
    """How runs of them may be called."""
    step_count: int

    @staticmethod
    def of(definition: str, steps: list[str], first_step: int) -> _Named | None:
        if len(steps) <= MAX_STEPS:
            return None
        shown = steps[first_step : first_step + MAX_STEPS]
        return _Named(shown, [*shown, *(f"{definition}.{step}" for step in shown)], len(steps))


_CHILD_COLUMNS: Final = (
    runs.c.run_id,
    runs.c.sort_at,
    runs.c.engine,
    runs.c.deployment,
    runs.c.definition,
    runs.c.native_key,
    runs.c.native_id,
    runs.c.attempt,
    runs.c.state,
    runs.c.effective_state,
    runs.c.native_state,
    runs.c.queued_at,
    runs.c.started_at,
    runs.c.ended_at,
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


def _find_children(
    connection: Connection, run_ids: list[UUID], named: _Named | None
) -> tuple[dict[UUID, list[Any]], bool]:
    """Return by run the attempts that ran right inside it, carried-over ones too, in the order in which they began.

    Of too many the last ones; then it says so.
    """
    given = {
        PARENTS.key: run_ids,
        "most": MAX_CHILDREN + 1,
        **({_DEFINITIONS.key: named.definitions} if named is not None else {}),
    }
    rows = plain_rows(connection.execute(_children(of_named=named is not None), given))
    children: dict[UUID, list[Any]] = defaultdict(list)
    for child in reversed(rows[:MAX_CHILDREN]):
        children[child.parent].append(child)
    return children, len(rows) > MAX_CHILDREN


class _Versions:
    """The versions of the definition that some runs ran: what each is called, and which steps it has."""

    def __init__(self, connection: Connection, shown: Sequence[Any]) -> None:
        self._rows: dict[UUID, Any] = {}
        for chunk in chunks(list({run.definition_version_id for run in shown if run.definition_version_id})):
            query = select(definition_versions).where(definition_versions.c.definition_version_id.in_(chunk))
            self._rows.update((row.definition_version_id, row) for row in connection.execute(query))
        refs = {
            row.position: bytes.fromhex(said["structure"]["digest"])
            for row in self._rows.values()
            if "structure" in (said := orjson.loads(row.bodies))
        }
        structures = find_bodies_at(connection, refs)
        self._steps = {version_id: _steps_of(structures.get(row.position)) for version_id, row in self._rows.items()}

    def name_of(self, version_id: UUID | None) -> str | None:
        row = self._rows.get(version_id) if version_id else None
        return (row.native_version or row.version[:12]) if row is not None else None

    def steps_of_all(self, shown: Sequence[Any]) -> list[str]:
        names = (self.steps_of(version_id) for version_id in {run.definition_version_id: None for run in shown})
        return list(dict.fromkeys(chain.from_iterable(names)))

    def steps_of(self, version_id: UUID | None) -> Mapping[str, None]:
        """Return the steps in their order, as keys: each cell of a grid asks whether its step is among them."""
        return self._steps.get(version_id, {}) if version_id else {}


def _steps_of(structure: Any) -> dict[str, None]:
    tasks = cast("dict[str, Any]", structure).get("tasks") if isinstance(structure, dict) else None
    return dict.fromkeys(str(task.get("id")) for task in cast("list[dict[str, Any]]", tasks or []))


def _columns(
    connection: Connection, definition: Any, shown: Sequence[Any], versions: _Versions, *, until: datetime | None
) -> list[GridColumn]:
    columns: list[GridColumn] = []
    before: str | None = None
    for run, ref in zip(shown, run_refs(shown), strict=True):
        name = versions.name_of(run.definition_version_id)
        is_new = before is not None and name is not None and name != before
        columns.append(GridColumn(run=ref, version=name, is_new_version=is_new))
        before = name or before
    absent = _find_absent(connection, definition, shown, until)
    begun = dict(zip((run.run_id for run in shown), (run.sort_at for run in shown), strict=True))
    columns += [GridColumn(due_at=moment) for moment in absent]
    return sorted(columns, key=lambda column: column.due_at or begun[column.run.run_id if column.run else UUID(int=0)])


def _find_absent(
    connection: Connection, definition: Any, shown: Sequence[Any], until: datetime | None
) -> list[datetime]:
    """Return when runs were due, between the first one shown and the last one or `until`, that are not there."""
    schedule = _find_schedule(connection, definition)
    scheduled = sorted(run.sort_at for run in shown if run.trigger_kind in (TriggerKind.SCHEDULE.value, None))
    if schedule is None or not scheduled:
        return []
    end = until or shown[-1].sort_at
    due = find_due_times(schedule, after=scheduled[0], until=end, limit=MAX_DUE)
    absent: list[datetime] = []
    # The last one has until the next one to begin; whether it is late is told by the health of definitions.
    for moment, following in pairwise(due):
        slack = (following - moment) / 100 + timedelta(seconds=1)
        first = bisect_left(scheduled, moment - slack)
        if first == len(scheduled) or scheduled[first] >= following - slack:
            absent.append(moment)
    return absent


def _find_schedule(connection: Connection, definition: Any) -> str | None:
    version = definition_versions.c
    query = select(version.schedule).where(
        version.definition == definition.definition,
        version.engine == definition.engine,
        version.deployment == definition.deployment,
        version.definition_kind == definition.definition_kind,
    )
    return connection.scalar(query.order_by(version.position.desc()).limit(1))


def _rows(
    definition: str,
    columns: list[GridColumn],
    shown: Sequence[Any],
    children: dict[UUID, list[Any]],
    versions: _Versions,
    *,
    is_cut: bool,
) -> list[GridRow]:
    steps: dict[str, dict[UUID, list[Any]]] = {}
    expected: dict[UUID, Mapping[str, None]] = {}
    for run in shown:
        for child in children.get(run.run_id, ()):
            steps.setdefault(_step(child.definition, definition), {}).setdefault(run.run_id, []).append(child)
        expected[run.run_id] = versions.steps_of(run.definition_version_id)
    for names in expected.values():
        for name in names:
            steps.setdefault(name, {})
    if is_cut:
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
