"""How the rows of a step beside the log are held against what the log makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Table, select

from runvis_core.store import tables as t

RUNS: Final = 400
"""How many runs are looked at together."""


def find_position(connection: Connection, step: str) -> int:
    """Return the last position that a step took, 0 at the beginning."""
    return connection.scalar(select(t.steps.c.position).where(t.steps.c.name == step)) or 0


def walk_runs(connection: Connection, *, until: int) -> Iterator[Sequence[Any]]:
    """Yield the runs that were first told of up to a position, in parts."""
    columns, after = t.runs.c, 0
    names = (columns.run_id, columns.first_position, columns.sort_at, columns.engine, columns.deployment)
    while True:
        query = select(*names).where(columns.first_position > after, columns.first_position <= until)
        runs = connection.execute(query.order_by(columns.first_position).limit(RUNS)).all()
        if not runs:
            return
        yield runs
        after = runs[-1].first_position


def name_differences(table: Table, standing: Iterable[Any], expected: Iterable[Any]) -> Iterator[str]:
    """Yield each row that stands there and should not, or should and does not, by its key.

    Rows are tuples in the order of the table's columns.
    """
    wanted = set(expected)
    for row in sorted({tuple(row) for row in standing} ^ wanted, key=repr):
        said = dict(zip((column.name for column in table.columns), row, strict=True))
        what = "is not what the log says" if row in wanted else "stands there, and the log does not say so"
        yield f"{table.name}: {_named(table, said)} {what}"


def find_foreign_rows(connection: Connection, table: Table) -> Iterator[str]:
    """Yield the rows of runs of which the log does not tell."""
    foreign = select(table.c.run_id).where(table.c.run_id.not_in(select(t.runs.c.run_id)))
    for run_id in connection.scalars(foreign.distinct()):
        yield f"{table.name}: a row of run {run_id} stands there, and the log does not say so"


def _named(table: Table, said: dict[str, Any]) -> str:
    if isinstance(said.get("run_id"), UUID):
        return f"a row of run {said['run_id']}"
    return "the row " + ", ".join(f"{column.name} {said[column.name]}" for column in table.primary_key)
