"""Conditions on many keys at once, by which a database follows the index on the column.

Many keys go as one parameter: a statement with hundreds of parameters takes longer to prepare than to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import BindParameter, ColumnElement, Dialect, LargeBinary, Select, Text, bindparam, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType


class _Array(UserDefinedType[str]):
    """An array in PostgreSQL's own words, which the driver takes ten times as long to make of a list."""

    cache_ok = True
    render_bind_cast = True

    def __init__(self, of: str) -> None:
        self.of = of

    def get_col_spec(self, **_options: Any) -> str:
        """Return the type's name."""
        return f"{self.of}[]"


class _Keys(TypeDecorator[Sequence[Any]]):
    """Keys of one size: an array in PostgreSQL; in SQLite, which has none, their bytes one after the other."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, of: str, size: int) -> None:
        super().__init__()
        self.of = of
        self.size = size
        """In bytes."""

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database has for it."""
        return dialect.type_descriptor(_Array(self.of) if dialect.name == "postgresql" else LargeBinary())

    def process_bind_param(self, value: Sequence[UUID | bytes] | None, dialect: Dialect) -> Any:
        """Return what the driver takes."""
        keys = [key.bytes if isinstance(key, UUID) else key for key in value or ()]
        if dialect.name != "postgresql":
            return b"".join(keys)
        marked = "" if self.of == "UUID" else "\\\\x"
        return f"{{{','.join([marked + key.hex() for key in keys])}}}"


def id_list(name: str) -> BindParameter[Any]:
    """Return a parameter that takes any number of ids."""
    return bindparam(name, type_=_Keys("UUID", 16))


def digest_list(name: str) -> BindParameter[Any]:
    """Return a parameter that takes any number of SHA-256 digests."""
    return bindparam(name, type_=_Keys("BYTEA", 32))


def these(ids: Iterable[UUID]) -> BindParameter[Any]:
    """Return such a parameter with the ids that it is given."""
    return bindparam("these", list(ids), type_=_Keys("UUID", 16), unique=True)


def is_among(column: ColumnElement[Any], keys: BindParameter[Any]) -> ColumnElement[bool]:
    """Return the condition that a value is one of those which a list is given; an index on it is followed."""
    return _IsAmong(column, keys)


class _IsAmong(FunctionElement[bool]):
    # Of no type: one of a boolean would be compared with 1 in SQLite, which then follows no index.
    inherit_cache = True


@compiles(_IsAmong, "postgresql")
def _among_array(element: Any, compiler: Any, **options: Any) -> str:
    column, keys = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({keys})"


@compiles(_IsAmong, "sqlite")
def _among_bytes(element: Any, compiler: Any, **options: Any) -> str:
    column, keys = (compiler.process(clause, **options) for clause in element.clauses)
    size = int(list(element.clauses)[1].type.size)
    # Not from outside: names of columns and of a parameter.
    places = f"VALUES (1) UNION ALL SELECT place + {size} FROM places WHERE place + {size} < length({keys})"  # noqa: S608
    each = f"WITH RECURSIVE places (place) AS ({places}) SELECT substr({keys}, place, {size}) FROM places"  # noqa: S608
    return f"{column} IN ({each})"


def are_among(columns: Sequence[ColumnElement[Any]], rows: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
    """Return the condition that some values, numbers or texts, are one of these rows; an index on them is followed."""
    of = tuple_(*columns)
    listed = orjson.dumps([list(row) for row in rows]).decode()
    return _AreAmong(of, of.in_([tuple(row) for row in rows]), bindparam("rows", listed, type_=Text(), unique=True))


class _AreAmong(FunctionElement[bool]):
    inherit_cache = True


@compiles(_AreAmong, "postgresql")
def _are_in_rows(element: Any, compiler: Any, **options: Any) -> str:
    _, are_in, _ = element.clauses
    return compiler.process(are_in, **options)


@compiles(_AreAmong, "sqlite")
def _are_in_json(element: Any, compiler: Any, **options: Any) -> str:
    # Of rows that stand in the statement SQLite reads the whole table.
    of, _, listed = element.clauses
    places = ", ".join(f"json_extract(value, '$[{number}]')" for number in range(len(of.clauses)))
    rows = f"SELECT {places} FROM json_each({compiler.process(listed, **options)})"  # noqa: S608 - names and places
    return f"{compiler.process(of, **options)} IN ({rows})"


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
