"""Which events the log has had, of which runs, and of which kinds."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from runvis_core.services.reading import chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import entries, event_ids


def find_known_events(store: Store, ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these ids are those of recorded events, also of those that have left for the archive."""
    known: set[UUID] = set()
    with reading(store) as connection:
        for chunk in chunks(sorted(set(ids))):
            known |= set(connection.scalars(select(event_ids.c.event_id).where(event_ids.c.event_id.in_(chunk))))
    return known


def find_run_of_event(store: Store, event_id: UUID) -> UUID | None:
    """Return the run that an event in the log is about; None if there is no such event, or it is about none."""
    query = select(entries.c.run_id).join(event_ids, event_ids.c.position == entries.c.position)
    with reading(store) as connection:
        return connection.execute(query.where(event_ids.c.event_id == event_id)).scalar_one_or_none()


def find_runs_with(store: Store, kind: str, run_ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these runs have an event of a kind in the log."""
    found: set[UUID] = set()
    with reading(store) as connection:
        for chunk in chunks(sorted(set(run_ids))):
            query = select(entries.c.run_id).where(entries.c.run_id.in_(chunk), entries.c.kind == kind).distinct()
            found |= set(connection.scalars(query))
    return found
