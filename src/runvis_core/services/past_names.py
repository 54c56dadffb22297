"""Which run a person means in a past: by the names that it has now, or another attempt of it that was there then."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from runvis_core.errors import NotFoundError
from runvis_core.model.state import Relation
from runvis_core.services.names import MAX_BECAME, resolve_as_named
from runvis_core.services.past import PastRun, PastRuns
from runvis_core.store.tables import links, runs


def get_past_run(past: PastRuns, name: str) -> PastRun:
    """Return the run that a name means, as it was.

    Where the engine's id means several attempts it is the latest that was there, and of a run that was still waiting
    under a provisional id that one; a provisional run is followed to what it had become by then. Raises
    `NotFoundError` where there is no such run, or it was not there yet.
    """
    run_id = resolve_as_named(past.connection, name)
    found = past.find(run_id)
    if found is not None:
        return _follow_became(past, found)
    row = past.connection.execute(select(runs).where(runs.c.run_id == run_id)).one()
    others = select(links.c.run_id).where(links.c.relation == Relation.BECAME.value, links.c.target_run_id == run_id)
    candidates = past.load(past.connection.scalars(others))
    # Somebody who names an attempt by its own id means no other.
    if row.native_id == name and row.native_key is not None:
        same = select(runs.c.run_id).where(
            runs.c.native_key == row.native_key, runs.c.engine == row.engine, runs.c.deployment == row.deployment
        )
        candidates += past.load(past.connection.scalars(same))
    if not candidates:
        of = f"as of {past.past.moment:%Y-%m-%d %H:%M:%S} UTC, " if past.past.moment is not None else ""
        raise NotFoundError(
            f"there was no run {run_id} yet, {of}as known at position {past.past.position}; "
            f"it was first told of at position {row.first_position}"
        )
    return max(candidates, key=lambda run: (run.row.attempt or 0, run.row.first_position))


def resolve_past_run(past: PastRuns, name: str) -> UUID:
    """Return the id of the run that a name means, as that was known then, also where the run was not there yet.

    Raises `NotFoundError` where there is no such run.
    """
    run_id = resolve_as_named(past.connection, name)
    found = past.find(run_id)
    return run_id if found is None else _follow_became(past, found).row.run_id


def _follow_became(past: PastRuns, run: PastRun) -> PastRun:
    for _ in range(MAX_BECAME):
        became = run.row.became_run_id and past.find(run.row.became_run_id)
        if not became:
            break
        run = became
    return run
