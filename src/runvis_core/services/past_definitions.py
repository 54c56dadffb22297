"""A definition as it was known in a past: its versions and its last runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select

from runvis_core.errors import NotFoundError
from runvis_core.services.answers import DefinitionDetail, RunRef
from runvis_core.services.definitions import (
    RECENT_RUNS,
    find_definition,
    find_version,
    find_versions_until,
    get_definition,
)
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.past import PastRun, PastRuns, bounds, covers, name_past, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.run_refs import run_ref_fields
from runvis_core.store.database import Store
from runvis_core.store.tables import run_intervals


def get_definition_at(
    store: Store, name: str, filters: DefinitionFilter, past: PastFilter, *, now: datetime
) -> DefinitionDetail:
    """Return a definition as it is or was known, with its versions and its last runs; see `get_definition`.

    A version was there from when it was recorded. Raises `NotFoundError` where nothing of the definition was known
    then, and `PastError`.
    """
    if past.is_present:
        return get_definition(store, name, filters)
    with reading_past(store, past, now=now) as (connection, found):
        row = find_definition(connection, name, filters)
        versions = find_versions_until(connection, row, position=found.position, moment=found.moment)
        if versions:
            versions[0] = find_version(connection, versions[0].version_id) or versions[0]
        runs = PastRuns(connection, found)
        recent = _find_recent(runs, row)
        if not versions and not recent:
            raise NotFoundError(f"nothing was known yet of the definition {name!r}, {name_past(found)}")
    refs = [RunRef(**run_ref_fields(run.row, corrected=bool(run.record.corrections))) for run in recent]
    return DefinitionDetail(
        engine=row.engine,
        deployment=row.deployment,
        definition=row.definition,
        kind=row.definition_kind,
        version_count=len(versions),
        latest_version=versions[0] if versions else None,
        last_run=refs[0] if refs else None,
        versions=versions,
        witnesses=sorted({entry.event.witness.value for run in recent for entry in run.entries}),
        recent_runs=refs,
    )


def _find_recent(runs: PastRuns, row: Any) -> list[PastRun]:
    column = run_intervals.c
    query = (
        select(column.run_id)
        .where(
            *covers(runs.past),
            *bounds(runs.connection, runs.past),
            column.engine == row.engine,
            column.deployment == row.deployment,
            column.definition == row.definition,
            column.became_run_id.is_(None),
        )
        .order_by(column.sort_at.desc(), column.run_id.desc())
        .limit(RECENT_RUNS)
    )
    found = runs.load(runs.connection.scalars(query))
    return [run for run in found if run.row.definition_kind == row.definition_kind]
