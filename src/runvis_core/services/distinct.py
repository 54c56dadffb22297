"""The different values of a column, found from one to the next in an index: never by a look at all rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, Column, ColumnElement, Text, cast, select


def each(above: CTE | None, column: Column[Any], *conditions: ColumnElement[bool], over: str | None = None) -> CTE:
    """Select the values that a column of text has beside each row of `above`, each found by one look into an index.

    Beside each row of `above` the first value is the empty text and the last one null: they are no names, see
    `is_name`. `over` names the index that SQLite is to use.
    """
    beside = list(above.c) if above is not None else []
    found = select(*beside, cast("", Text).label(column.name)).cte(f"each_{column.name}", recursive=True)
    same: list[ColumnElement[bool]] = [column.table.c[one.name] == found.c[one.name] for one in beside]
    after = select(column).where(*same, *conditions, column > found.c[column.name]).order_by(column).limit(1)
    if over is not None:
        after = after.with_hint(column.table, f"INDEXED BY {over}", "sqlite")
    again = select(*(found.c[one.name] for one in beside), after.scalar_subquery())
    return found.union_all(again.where(found.c[column.name].is_not(None)))


def is_name(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a column of such a selection has a value."""
    return column > ""
