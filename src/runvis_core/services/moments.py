"""Moments as the database takes them apart."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Text


class HourOf(FunctionElement[str]):
    """The hour of a moment in UTC, as `2026-11-30T07`; NULL of none."""

    type = Text()
    inherit_cache = True


def day_of(moment: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the day of a moment in UTC, as `2026-11-30`; NULL of none."""
    return func.substr(HourOf(moment), 1, len("2026-11-30"), type_=Text())


@compiles(HourOf, "sqlite")
def _hour_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    (moment,) = (compiler.process(clause, **options) for clause in element.clauses)
    return f"substr({moment}, 1, 13)"


@compiles(HourOf, "postgresql")
def _hour_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    (moment,) = (compiler.process(clause, **options) for clause in element.clauses)
    return f"""to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')"""
