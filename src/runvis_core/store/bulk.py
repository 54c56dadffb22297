"""Rows of the tables beside the log, many at once, by the database's own driver.

A step reads and writes some rows for each event: on their way through SQLAlchemy's expressions they would cost more
than what the step makes of them. Rows are tuples of Python's values in the order of a table's columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Connection, Table

from runvis_core.store import tables as t
from runvis_core.store.driver import Row, Values, as_is
from runvis_core.store.log import driver_on
from runvis_core.store.statements import COLUMNS, key_of
from runvis_core.store.types import Id, Moment

_Change = tuple[int, Callable[[Any], Any]]


class Bulk:
    """Reads and writes rows within a connection's transaction. Raises RunVis's own errors."""

    def __init__(self, connection: Connection) -> None:
        self._driver = driver_on(connection)
        self._values = self._driver.values

    def insert(self, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        """Write new rows."""
        if bound := self._bind(table.name, COLUMNS[table.name], rows):
            self._driver.insert(table.name, bound)

    def upsert(self, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows, of which each has another key, in place of those with the same key."""
        if bound := self._bind(table.name, COLUMNS[table.name], rows):
            self._driver.upsert(table.name, bound)

    def delete(self, table: Table, keys: Iterable[Sequence[Any]]) -> None:
        """Remove the rows with these primary keys."""
        if bound := self._bind(table.name, key_of(table), keys):
            self._driver.delete(table.name, bound)

    def find(
        self, table: Table, names: tuple[str, ...] | None, key: tuple[str, ...], keys: Iterable[Sequence[Any]]
    ) -> list[Row]:
        """Return the rows of a table whose `key` columns are one of `keys`, each given once; all columns or some."""
        names = names or COLUMNS[table.name]
        bound = self._bind(table.name, key, keys)
        if not bound:
            return []
        found = self._driver.find_by(table.name, names, key, bound)
        changes = _reading(self._values, table.name, names)
        return [_changed(row, changes) for row in found]

    def _bind(self, table: str, names: tuple[str, ...], rows: Iterable[Sequence[Any]]) -> list[Row]:
        changes = _binding(self._values, table, names)
        return [_changed(row, changes) for row in rows]


def _changed(row: Sequence[Any], changes: Sequence[_Change]) -> Row:
    values = list(row)
    for place, change in changes:
        value = values[place]
        if value is not None:
            values[place] = change(value)
    return tuple(values)


@cache
def _binding(values: Values, table: str, names: tuple[str, ...]) -> list[_Change]:
    return _changes(table, names, {Id: values.bind_id, Moment: values.bind_moment})


@cache
def _reading(values: Values, table: str, names: tuple[str, ...]) -> list[_Change]:
    return _changes(table, names, {Id: values.read_id, Moment: values.read_moment, Boolean: bool})


def _changes(table: str, names: tuple[str, ...], by_type: dict[type[Any], Callable[[Any], Any]]) -> list[_Change]:
    columns = t.metadata.tables[table].c
    found = [(place, by_type.get(type(columns[name].type))) for place, name in enumerate(names)]
    return [(place, change) for place, change in found if change is not None and change is not as_is]


def single(keys: Iterable[UUID]) -> list[tuple[UUID]]:
    """Return ids as the keys of one column."""
    return [(key,) for key in keys]
