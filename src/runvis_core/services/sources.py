"""Who was heard: the installations of engines that a store knows, and how far its log goes."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime
from sqlalchemy import Connection, select

from runvis_core.services.answers import Answer
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.tables import definitions, head, runs


class SourceView(Answer):
    """An installation of an engine, and when its last run was first heard of."""

    engine: str
    deployment: str
    definition_count: int
    """Definitions with runs that lie in no other run: not their tasks."""
    last_at: AwareDatetime


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
        select(runs.c.sort_at)
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
    named = select(definitions.c.engine, definitions.c.deployment, last.label("last_at")).subquery()
    found: dict[tuple[str, str], list[Any]] = {}
    for row in connection.execute(select(named).where(named.c.last_at.is_not(None))):
        found.setdefault((row.engine, row.deployment), []).append(row.last_at)
    return [
        SourceView(engine=engine, deployment=deployment, definition_count=len(moments), last_at=max(moments))
        for (engine, deployment), moments in sorted(found.items())
    ]
