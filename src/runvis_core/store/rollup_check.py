"""Whether the counts of runs, and how definitions stand, are what the runs' rows make of them.

The runs' rows are held against the log by themselves. What the step has not taken yet may have changed a run already:
of a run that an entry after the step's position tells of, it can't be said what it should be counted as.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, false, select, tuple_

from runvis_core.store import tables as t
from runvis_core.store.health import DefinitionKey, can_fail, judge
from runvis_core.store.rollup_cells import (
    COUNTED,
    DAY,
    HOUR,
    KIND,
    RUN_NAMES,
    Cell,
    CellKey,
    Counted,
    count_run,
    find_counted,
)
from runvis_core.store.step_rows import find_foreign_rows, name_differences
from runvis_core.store.types import Id, Moment

_CHUNK: Final = 1000
_SPANS: Final = (HOUR, DAY, KIND)
_RUN_COLUMNS: Final = tuple(t.runs.c[name] for name in RUN_NAMES)


def check_rollups(connection: Connection, *, until: int) -> Iterator[str]:
    """Yield each row that the runs do not support, and each that is lacking, once the step has taken `until`."""
    seen: set[DefinitionKey] = set()
    moved: set[DefinitionKey] = set()
    cells: dict[CellKey, Cell] = {}
    begin: datetime | None = None
    for row in _walk(connection, until=until):
        day = row.sort_at.replace(hour=0, minute=0, second=0, microsecond=0)
        if day != begin:
            # All rows of a day count runs of that day only, so that no more than a day is held at once.
            yield from _compare_cells(connection, cells, begin, day)
            begin, cells = day, {}
        counted, expected = find_counted(row), count_run(row)
        if row.has_moved:
            moved |= {one.definition_key for one in (counted, expected) if one is not None}
            expected = counted
        elif counted != expected:
            yield f"rollup_runs: a row of run {row.run_id} is not what the log says"
        if expected is not None:
            _count(cells, expected)
            if expected.definition:
                seen.add(expected.definition_key)
    yield from _compare_cells(connection, cells, begin, None)
    yield from _check_health(connection, seen, moved, until=until)
    strange = select(t.rollups).where(t.rollups.c.span.not_in(_SPANS))
    yield from name_differences(t.rollups, connection.execute(strange), [])
    yield from find_foreign_rows(connection, t.rollup_runs)


def _walk(connection: Connection, *, until: int) -> Iterator[Any]:
    """Yield all runs in order of time, each with what it is counted as, and whether it may have moved since."""
    place = tuple_(t.runs.c.sort_at, t.runs.c.run_id)
    told_since = select(t.entries.c.position).where(t.entries.c.run_id == t.runs.c.run_id, t.entries.c.position > until)
    is_behind = connection.execute(select(t.head.c.position)).scalar_one() > until
    has_moved = (told_since.exists() if is_behind else false()).label("has_moved")
    query = (
        select(*_RUN_COLUMNS, *COUNTED, has_moved)
        .outerjoin(t.rollup_runs, t.rollup_runs.c.run_id == t.runs.c.run_id)
        .order_by(t.runs.c.sort_at, t.runs.c.run_id)
        .limit(_CHUNK)
    )
    rows = connection.execute(query).all()
    while rows:
        yield from rows
        last = tuple_(bindparam("at", rows[-1].sort_at, type_=Moment), bindparam("id", rows[-1].run_id, type_=Id))
        rows = connection.execute(query.where(place > last)).all()


def _count(cells: dict[CellKey, Cell], counted: Counted) -> None:
    for key in counted.cells():
        cells.setdefault(key, Cell()).count(counted, 1)


def _compare_cells(
    connection: Connection, cells: dict[CellKey, Cell], begin: datetime | None, end: datetime | None
) -> Iterator[str]:
    """Compare the rows that begin between two moments; None for no bound."""
    query = select(t.rollups).where(t.rollups.c.span.in_(_SPANS))
    if begin is not None:
        query = query.where(t.rollups.c.begins_at >= begin)
    if end is not None:
        query = query.where(t.rollups.c.begins_at < end)
    expected = [cell.row(key) for key, cell in cells.items()]
    yield from name_differences(t.rollups, connection.execute(query), expected)


def _check_health(
    connection: Connection, seen: set[DefinitionKey], moved: set[DefinitionKey], *, until: int
) -> Iterator[str]:
    versions, health = t.definition_versions.c, t.definition_health
    named = (versions.engine, versions.deployment, versions.definition, versions.definition_kind)
    keys = {DefinitionKey(*row) for row in connection.execute(select(*named).distinct())} | seen
    moved |= {DefinitionKey(*row) for row in connection.execute(select(*named).where(versions.position > until))}
    standing = {DefinitionKey(*row[:4]): row for row in connection.execute(select(health))}
    certain = sorted({*keys, *standing} - moved)
    for key, said in zip(certain, judge(connection, certain), strict=True):
        expected = [_in_order(health, said)] if can_fail(said) else []
        yield from name_differences(health, [standing[key]] if key in standing else [], expected)


def _in_order(table: Table, said: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(said[column.name] for column in table.columns)
