"""Who was heard: the installations of engines that a store knows, and how far its log goes."""

from __future__ import annotations

from typing import Any, Final

from pydantic import AwareDatetime, Field
from sqlalchemy import Connection, select

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
    # Definition by definition, by the index of runs that lie in no other: never a look at all runs.
    last = (
        select(runs.c.run_id)
        .where(
            runs.c.engine == definitions.c.engine,
            runs.c.deployment == definitions.c.deployment,
            runs.c.definition == definitions.c.definition,
            runs.c.parent_run_id.is_(None),
            runs.c.became_run_id.is_(None),
        )
        .order_by(runs.c.sort_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    named = select(definitions.c.engine, definitions.c.deployment, last.label("last_run_id")).subquery()
    query = select(named.c.engine, named.c.deployment, runs.c.sort_at, runs.c.run_id)
    found: dict[tuple[str, str], list[Any]] = {}
    for row in connection.execute(query.join(runs, runs.c.run_id == named.c.last_run_id)):
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


def _latest(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row.sort_at, row.run_id), reverse=True)[:LOOKED_AT]
