"""Is anything wrong? What fails, what is silent, and who was heard."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import AwareDatetime
from sqlalchemy import Connection, select

from runvis_core.model.state import State
from runvis_core.services.answers import Answer, RunRef, RunSummary
from runvis_core.services.feed import FAILED, FeedRow, describe_runs
from runvis_core.services.filters import RunFilter
from runvis_core.services.reading import chunks, reading
from runvis_core.services.run_summaries import REF_COLUMNS, run_refs, summarise
from runvis_core.services.runs import list_runs
from runvis_core.store.database import Store
from runvis_core.store.tables import definitions, head, runs

MAX_FAILING: Final = 100
"""How many failing definitions an overview describes; all are counted."""
MAX_SILENT: Final = 50


class FailingDefinition(Answer):
    """A definition whose last ended run failed: that run, and the last one that went well."""

    row: FeedRow
    last_good: RunRef | None = None


class SourceView(Answer):
    """An installation of an engine, and when what it last told of happened."""

    engine: str
    deployment: str
    definition_count: int
    last_at: AwareDatetime | None = None


class Overview(Answer):
    """What is wrong in a store, and what it knows at all."""

    definition_count: int
    """Definitions with runs that lie in no other run: not their tasks."""
    failing_count: int
    failing: list[FailingDefinition]
    """Those that failed last first, at most `MAX_FAILING`."""
    silent: list[RunSummary]
    """Live runs whose heartbeat is overdue, at most `MAX_SILENT`."""
    has_more_silent: bool
    sources: list[SourceView]
    position: int
    """How long the log is."""
    recorded_at: AwareDatetime | None = None
    """When its last entry was recorded."""


def get_overview(store: Store, *, now: datetime) -> Overview:
    """Return what is wrong, and who was heard."""
    silent = list_runs(store, RunFilter(silent=True), limit=MAX_SILENT, now=now)
    with reading(store) as connection:
        known = _definitions(connection)
        failing = [row for row in known if row.last_state in FAILED]
        failing.sort(key=lambda row: row.last_at, reverse=True)
        end = connection.execute(select(head.c.position, head.c.recorded_at)).one_or_none()
        return Overview(
            definition_count=len(known),
            failing_count=len(failing),
            failing=_describe(connection, failing[:MAX_FAILING]),
            silent=silent.items,
            has_more_silent=silent.next_cursor is not None,
            sources=_sources(known),
            position=end.position if end else 0,
            recorded_at=end.recorded_at if end else None,
        )


def _definitions(connection: Connection) -> list[Any]:
    """Return each definition that has runs in no other run, with the last of them that ended, and the last of all."""
    ended = _last_top_run(runs.c.frozen_position.is_not(None), column=runs.c.run_id)
    latest = _last_top_run(column=runs.c.sort_at)
    named = select(definitions, ended.label("last_run_id"), latest.label("last_at")).subquery()
    query = (
        select(named, runs.c.effective_state.label("last_state"))
        .outerjoin(runs, runs.c.run_id == named.c.last_run_id)
        .where(named.c.last_at.is_not(None))
    )
    return list(connection.execute(query))


def _last_top_run(*conditions: Any, column: Any) -> Any:
    return (
        select(column)
        .where(
            runs.c.engine == definitions.c.engine,
            runs.c.deployment == definitions.c.deployment,
            runs.c.definition == definitions.c.definition,
            runs.c.definition_kind == definitions.c.definition_kind,
            runs.c.parent_run_id.is_(None),
            runs.c.became_run_id.is_(None),
            *conditions,
        )
        .order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _describe(connection: Connection, failing: list[Any]) -> list[FailingDefinition]:
    rows: list[Any] = []
    for chunk in chunks([row.last_run_id for row in failing]):
        rows += connection.execute(select(runs).where(runs.c.run_id.in_(chunk))).all()
    described = {row.run.run_id: row for row in describe_runs(connection, summarise(connection, rows))}
    good = {row.last_run_id: _find_last_good(connection, row) for row in failing}
    return [FailingDefinition(row=described[row.last_run_id], last_good=good[row.last_run_id]) for row in failing]


def _find_last_good(connection: Connection, row: Any) -> RunRef | None:
    query = (
        select(*REF_COLUMNS)
        .where(
            runs.c.engine == row.engine,
            runs.c.deployment == row.deployment,
            runs.c.definition == row.definition,
            runs.c.definition_kind == row.definition_kind,
            runs.c.parent_run_id.is_(None),
            runs.c.effective_state == State.SUCCEEDED.value,
        )
        .order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
        .limit(1)
    )
    return next(iter(run_refs(connection, connection.execute(query))), None)


def _sources(known: list[Any]) -> list[SourceView]:
    found: dict[tuple[str, str], list[Any]] = {}
    for row in known:
        found.setdefault((row.engine, row.deployment), []).append(row)
    return [
        SourceView(
            engine=engine,
            deployment=deployment,
            definition_count=len(rows),
            last_at=max(row.last_at for row in rows),
        )
        for (engine, deployment), rows in sorted(found.items())
    ]
