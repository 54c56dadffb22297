"""Conditions on many keys at once, by which a database follows the index on the column.

Many ids go as one parameter: a statement with hundreds of parameters takes longer to prepare than to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Dialect, LargeBinary, Select, bindparam
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

_SIZE: Final = 16


class _Ids(TypeDecorator[Sequence[UUID]]):
    """Ids: an array in PostgreSQL; in SQLite, which has none, their bytes one after the other."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database has for it."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.ARRAY(postgresql.UUID(as_uuid=True)))
        return dialect.type_descriptor(LargeBinary())

    def process_bind_param(self, value: Sequence[UUID] | None, dialect: Dialect) -> Any:
        """Return what the driver takes."""
        ids = value or ()
        return list(ids) if dialect.name == "postgresql" else b"".join([one.bytes for one in ids])


def id_list(name: str) -> BindParameter[Any]:
    """Return a parameter that takes any number of ids."""
    return bindparam(name, type_=_Ids())


def these(ids: Iterable[UUID]) -> BindParameter[Any]:
    """Return such a parameter with the ids that it is given."""
    return bindparam("these", list(ids), type_=_Ids(), unique=True)


def is_among(column: ColumnElement[Any], ids: BindParameter[Any]) -> ColumnElement[bool]:
    """Return the condition that an id is one of those which an `id_list` is given; an index on it is followed."""
    return _IsAmong(column, ids)


class _IsAmong(FunctionElement[bool]):
    # Of no type: one of a boolean would be compared with 1 in SQLite, which then follows no index.
    inherit_cache = True


@compiles(_IsAmong, "postgresql")
def _among_array(element: Any, compiler: Any, **options: Any) -> str:
    column, ids = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({ids})"


@compiles(_IsAmong, "sqlite")
def _among_bytes(element: Any, compiler: Any, **options: Any) -> str:
    column, ids = (compiler.process(clause, **options) for clause in element.clauses)
    # Not from outside: names of columns and of a parameter.
    places = f"VALUES (1) UNION ALL SELECT place + {_SIZE} FROM places WHERE place + {_SIZE} < length({ids})"  # noqa: S608
    each = f"WITH RECURSIVE places (place) AS ({places}) SELECT substr({ids}, place, {_SIZE}) FROM places"  # noqa: S608
    return f"{column} IN ({each})"


def is_found_by(column: ColumnElement[Any], query: Select[Any]) -> ColumnElement[bool]:
    """Return the condition that a value is one of those a query finds; an index on it is followed."""
    return _IsFoundBy(column, query.scalar_subquery())


class _IsFoundBy(FunctionElement[bool]):
    inherit_cache = True


@compiles(_IsFoundBy, "postgresql")
def _found_by_array(element: Any, compiler: Any, **options: Any) -> str:
    # Of a join PostgreSQL reckons how many rows it has, and where it is wrong reads the whole table; in an array that
    # it does not know yet it expects a few.
    column, query = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY (ARRAY {query})"


@compiles(_IsFoundBy, "sqlite")
def _found_by_query(element: Any, compiler: Any, **options: Any) -> str:
    column, query = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN {query}"
