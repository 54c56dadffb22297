"""From rows of runs to their names: a run where another answer mentions it, and the attempts of one thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Table, bindparam, select

from runvis_core.model.state import State
from runvis_core.services.answers import AttemptView, RunRef
from runvis_core.services.reading import RUN_IDS, chunks, has_row, plain_rows
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import artifacts, corrections, datasets, metrics, run_late, runs

ATTEMPT_COLUMNS: Final = (
    runs.c.run_id,
    runs.c.attempt,
    runs.c.state,
    runs.c.effective_state,
    runs.c.native_state,
    runs.c.presumed,
    runs.c.started_at,
    runs.c.ended_at,
)
"""What is said of an attempt by its row alone."""
RUN_COLUMNS: Final = (
    *ATTEMPT_COLUMNS,
    runs.c.engine,
    runs.c.deployment,
    runs.c.definition,
    runs.c.definition_kind,
    runs.c.native_id,
    runs.c.queued_at,
    runs.c.parent_run_id,
)
"""What is said of a run by its row alone."""


def is_in(table: Table, name: str) -> ColumnElement[bool]:
    """Return a column of that name which says whether there is anything of a run in a table.

    Most runs are in few tables, and to ask one that has nothing of a run takes as long as any other statement.
    """
    return has_row(table.c.run_id == runs.c.run_id).label(name)


REF_COLUMNS: Final = (*RUN_COLUMNS, is_in(corrections, "is_corrected"))
"""What is said of a run where it is named."""
HAS_LATE: Final = is_in(run_late, "has_late")
"""Whether something was filled in after the run's end; who reads contexts asks for it beside `record`."""
SUMMARY_COLUMNS: Final = (
    *runs.c,
    is_in(corrections, "is_corrected"),
    HAS_LATE,
    is_in(datasets, "has_datasets"),
    is_in(artifacts, "has_artifacts"),
    is_in(metrics, "has_metrics"),
)
"""What a run's summary is made of, and in which tables there is more of it."""

# Built once each: to build such a statement takes longer than to run it.
_REFS: Final = select(*REF_COLUMNS).where(is_among(runs.c.run_id, RUN_IDS))
_ATTEMPTS: Final = (
    select(*ATTEMPT_COLUMNS)
    .where(
        runs.c.native_key == bindparam("native_key"),
        runs.c.engine == bindparam("engine"),
        runs.c.deployment == bindparam("deployment"),
        runs.c.became_run_id.is_(None),
    )
    .order_by(runs.c.attempt, runs.c.first_position)
    .limit(bindparam("most"))
)


def duration_seconds(started_at: datetime | None, ended_at: datetime | None) -> float | None:
    """Return the seconds from start to end; None while either is unknown."""
    if started_at is None or ended_at is None:
        return None
    return (ended_at - started_at).total_seconds()


# Looked up: an answer has thousands of them.
_STATES: Final[Mapping[str | None, State | None]] = {None: None, **{state.value: state for state in State}}


def attempt_fields(row: Any) -> dict[str, Any]:
    """Return the fields of an `AttemptView` of a run's row."""
    return {
        "run_id": row.run_id,
        "attempt": row.attempt,
        "state": _STATES[row.state],
        "effective_state": _STATES[row.effective_state],
        "native_state": row.native_state,
        "presumed": row.presumed,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "duration_seconds": duration_seconds(row.started_at, row.ended_at),
    }


def run_ref_fields(row: Any, *, corrected: bool) -> dict[str, Any]:
    """Return the fields of a `RunRef` of a run's row."""
    return {
        **attempt_fields(row),
        "engine": row.engine,
        "deployment": row.deployment,
        "definition": row.definition,
        "kind": row.definition_kind,
        "native_id": row.native_id,
        "queued_at": row.queued_at,
        "corrected": corrected,
    }


def run_refs(rows: Iterable[Any]) -> list[RunRef]:
    """Return the runs of these rows, named so that a person knows them. They have the `REF_COLUMNS`."""
    return [RunRef(**run_ref_fields(row, corrected=bool(row.is_corrected))) for row in rows]


def find_refs(connection: Connection, run_ids: Iterable[UUID]) -> list[RunRef]:
    """Return the runs of these ids, named so that a person knows them, in this order."""
    wanted = list(run_ids)
    found: dict[UUID, RunRef] = {}
    for chunk in chunks(wanted):
        rows = plain_rows(connection.execute(_REFS, {RUN_IDS.key: chunk}))
        found.update((ref.run_id, ref) for ref in run_refs(rows))
    return [found[run_id] for run_id in wanted if run_id in found]


def find_attempts(connection: Connection, row: Any, *, limit: int) -> list[AttemptView]:
    """Return all attempts of the thing that this run is an attempt of, the first one first."""
    if row.native_key is None:
        return [AttemptView(**attempt_fields(row))]
    same_key = {"native_key": row.native_key, "engine": row.engine, "deployment": row.deployment}
    return [
        AttemptView(**attempt_fields(found)) for found in connection.execute(_ATTEMPTS, {**same_key, "most": limit})
    ]
