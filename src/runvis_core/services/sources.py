"""Who was heard: the installations of engines that a store knows, and how far its log goes."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pydantic import AwareDatetime, Field
from sqlalchemy import CTE, Column, ColumnElement, Connection, FromClause, Text, and_, cast, select

from runvis_core.services.answers import Answer
from runvis_core.services.reading import reading
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.tables import definitions, head, runs

LOOKED_AT: Final = 5
"""Of how many definitions of a source, those that ran last, it is looked who told of them."""


class SourceView(Answer):
    """An installation of an engine, and when its last run was first heard of."""

    engine: str
    deployment: str
    definition_count: int
    """Definitions with runs that lie in no other run: not their tasks."""
    last_at: AwareDatetime
    witnesses: list[str] = Field(default_factory=list[str])
    """Who told of its last runs; empty where that was not looked at."""


class Heard(Answer):
    """What a store knows at all."""

    sources: list[SourceView]
    position: int
    """How long the log is."""
    recorded_at: AwareDatetime | None = None
    """When its last entry was recorded."""


def get_heard(store: Store) -> Heard:
    """Return who was heard, and how far the log goes."""
    with reading(store) as connection:
        end = connection.execute(select(head.c.position, head.c.recorded_at)).one()
        return Heard(sources=_sources(connection), position=end.position, recorded_at=end.recorded_at)


def _sources(connection: Connection) -> list[SourceView]:
    found: dict[tuple[str, str], list[Any]] = {}
    for row in connection.execute(_last_runs()):
        found.setdefault((row.engine, row.deployment), []).append(row)
    recent = {source: _latest(rows) for source, rows in found.items()}
    told_by = count_entries(connection, [row.run_id for rows in recent.values() for row in rows])
    return [
        SourceView(
            engine=source[0],
            deployment=source[1],
            definition_count=len(found[source]),
            last_at=rows[0].sort_at,
            witnesses=sorted({name for row in rows for name in told_by.get(row.run_id, (0, []))[1]}),
        )
        for source, rows in sorted(recent.items())
    ]


# Built once: to build it takes longer than to run it.
@cache
def _last_runs() -> Any:
    """Select the last run of each definition that has runs which lie in no other; never a look at all runs or tasks."""
    engines = _next_by_next(None, definitions.c.engine)
    deployments = _next_by_next(engines, definitions.c.deployment)
    named = _next_by_next(deployments, runs.c.definition, runs.c.parent_run_id.is_(None))
    last = (
        select(runs.c.run_id)
        .where(*_same_names(runs, definitions), runs.c.parent_run_id.is_(None), runs.c.became_run_id.is_(None))
        .order_by(runs.c.sort_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    of_name = select(definitions.c.engine, definitions.c.deployment, last.label("last_run_id"))
    found = of_name.join_from(named, definitions, and_(*_same_names(definitions, named))).subquery()
    query = select(found.c.engine, found.c.deployment, runs.c.sort_at, runs.c.run_id)
    return query.join(runs, runs.c.run_id == found.c.last_run_id)


def _next_by_next(above: CTE | None, column: Column[Any], *conditions: ColumnElement[bool]) -> CTE:
    """Select the values that a column has beside each row of `above`, each found by one look into an index.

    The first row is the empty text, which is no name, and the last one null.
    """
    beside = list(above.c) if above is not None else []
    found = select(*beside, cast("", Text).label(column.name)).cte(f"each_{column.name}", recursive=True)
    same: list[ColumnElement[bool]] = [column.table.c[one.name] == found.c[one.name] for one in beside]
    after = select(column).where(*same, *conditions, column > found.c[column.name]).order_by(column).limit(1)
    again = select(*(found.c[one.name] for one in beside), after.scalar_subquery())
    return found.union_all(again.where(found.c[column.name].is_not(None)))


def _same_names(one: FromClause, other: FromClause) -> list[ColumnElement[bool]]:
    return [one.c[name] == other.c[name] for name in ("engine", "deployment", "definition")]


def _latest(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row.sort_at, row.run_id), reverse=True)[:LOOKED_AT]
