"""What all declarations of tables have in common."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Index, MetaData, Table, text

from runvis_core.store.types import Id, Position

metadata: Final = MetaData()


def declare_position(**options: Any) -> Column[int]:
    """Declare the column of a position in the log."""
    return Column("position", Position, nullable=False, **options)


def declare_table(name: str, *columns: Column[Any] | Index, rowid: bool = False, **options: Any) -> Table:
    """Declare a table; without `rowid` SQLite keeps it as one tree ordered by its primary key."""
    return Table(name, metadata, *columns, sqlite_with_rowid=rowid, **options)


def declare_of_run(name: str, *columns: Column[Any] | Index) -> Table:
    """Declare an insert-only table of facts about runs: one row per entry."""
    return declare_table(name, Column("run_id", Id, primary_key=True), declare_position(primary_key=True), *columns)


def index_of_set(name: str, column: str, *order: str) -> Index:
    """Declare an index over the rows in which the column is set: most rows don't have it."""
    is_set = text(f"{column} IS NOT NULL")
    return Index(name, column, *order, sqlite_where=is_set, postgresql_where=is_set)


def index_of_top(name: str, *columns: str) -> Index:
    """Declare an index over the runs that lie in no other run: most lie in one."""
    is_top = text("parent_run_id IS NULL")
    return Index(name, *columns, sqlite_where=is_top, postgresql_where=is_top)
