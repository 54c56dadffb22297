"""The statements of the append path, built once from the tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table

from runvis_core.store import tables as t
from runvis_core.store.rows import READ_COLUMNS, RUN_COLUMNS

COLUMNS: Final = {table.name: tuple(column.name for column in table.columns) for table in t.metadata.sorted_tables} | {
    "runs": RUN_COLUMNS
}
"""The columns of each table in the order of the rows that the append path writes."""

INSERTED_ONCE: Final = (t.definitions, t.definition_versions, t.worker_definitions, t.run_teams)
"""Tables whose rows a batch may bring although they are there already."""

RUN_READ: Final = ", ".join(READ_COLUMNS)

WRITE_ORDER: Final = tuple(
    table.name
    # Corrections first: the guard of `runs` looks for the one that supports a run's effective state.
    for table in sorted(t.PROJECTIONS, key=lambda table: (table is not t.corrections, table is t.runs, table.name))
)


def key_of(table: Table) -> tuple[str, ...]:
    """Return the names of a table's primary key."""
    return tuple(column.name for column in table.primary_key)


def upsert_tail(table: Table) -> str:
    """Return the `ON CONFLICT` clause that puts a row in place of the one with the same key."""
    key = key_of(table)
    values = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[table.name] if name not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {values}"
