"""The rules of the record, held by the database itself: triggers that also stop a person with a SQL prompt.

The statements stand here and nowhere else: migrations and `rebuild` run them, `changed_guards` compares with them what
stands in a database.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Table

from runvis_core.store.guards import postgresql, sqlite

PREFIX: Final = "runvis: "
"""How each refusal's message begins."""


def create_guards(connection: Connection, tables: list[Table] | None = None) -> None:
    """Create the guards of `tables`, or all that a new database needs."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    for statement in dialect.create_statements(tables):
        _run(connection, statement)


def changed_guards(connection: Connection) -> list[str]:
    """Return, by name and in words, the guards that are missing, turned off, or not as this version ships them."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.changed_guards(connection)


def create_partition(connection: Connection, number: int) -> None:
    """Create a partition of `entries` with its guards, where the database has partitions."""
    if connection.dialect.name == "postgresql":
        for statement in postgresql.partition_statements(number):
            _run(connection, statement)


def _run(connection: Connection, statement: str) -> None:
    # Without parameters a driver leaves a percent sign alone.
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
