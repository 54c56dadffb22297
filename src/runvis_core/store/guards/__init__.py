"""The rules of the record, held by the database itself: triggers that also stop a person with a SQL prompt.

The statements stand here and nowhere else: migrations and `rebuild` run them, `changed_guards` compares with them what
stands in a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Table

from runvis_core.store.guards import postgresql, sqlite

PREFIX: Final = "runvis: "
"""How each refusal's message begins."""


def create_functions(connection: Connection) -> None:
    """Create the functions that the guards call as this version ships them, where the database has functions."""
    if connection.dialect.name == "postgresql":
        schema = str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
        for statement in postgresql.function_statements(schema):
            _run(connection, statement)


def create_guards(connection: Connection, tables: Iterable[Table]) -> None:
    """Create the guards of `tables`."""
    for statement in _dialect(connection).create_statements(list(tables)):
        _run(connection, statement)


def drop_guards(connection: Connection, tables: Iterable[Table]) -> None:
    """Drop the guards of `tables`: only a migration may, which then creates them as this version ships them."""
    for statement in _dialect(connection).drop_statements(list(tables)):
        _run(connection, statement)


def _dialect(connection: Connection) -> Any:
    return postgresql if connection.dialect.name == "postgresql" else sqlite


def changed_guards(connection: Connection) -> list[str]:
    """Return, by name and in words, the guards that are missing, turned off, or not as this version ships them."""
    return _dialect(connection).changed_guards(connection)


def create_partition(connection: Connection, number: int) -> None:
    """Create a partition of `entries` with its guards, where the database has partitions."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT runvis_add_partition({number})")


def _run(connection: Connection, statement: str) -> None:
    # Without parameters a driver leaves a percent sign alone.
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
