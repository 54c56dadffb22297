"""Who was heard: the installations of engines that a store knows, and how far its log goes."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pydantic import AwareDatetime, Field
from sqlalchemy import CTE, Column, Connection, ScalarSelect, select

from runvis_core.services.answers import Answer
from runvis_core.services.distinct import each, is_name
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
    """Names of definitions with runs that lie in no other run: not their tasks."""
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
        if row.run_id is None:
            continue  # All of this name became others.
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
    engines = each(None, definitions.c.engine)
    deployments = each(engines, definitions.c.deployment)
    named = each(deployments, runs.c.definition, runs.c.parent_run_id.is_(None))
    # Each column is looked up by itself: of a join PostgreSQL expects that there are as many names as runs.
    run_id, sort_at = (_of_last_run(named, column).label(column.name) for column in (runs.c.run_id, runs.c.sort_at))
    found = select(named.c.engine, named.c.deployment, run_id, sort_at)
    return found.where(is_name(named.c.definition))


def _of_last_run(named: CTE, column: Column[Any]) -> ScalarSelect[Any]:
    same_names = [runs.c[name] == named.c[name] for name in ("engine", "deployment", "definition")]
    last = select(column).where(*same_names, runs.c.parent_run_id.is_(None), runs.c.became_run_id.is_(None))
    return last.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(1).scalar_subquery()


def _latest(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row.sort_at, row.run_id), reverse=True)[:LOOKED_AT]
