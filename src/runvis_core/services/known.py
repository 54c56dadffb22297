"""Which events the log has had, also those that have left it for the archive."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from runvis_core.services.reading import chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import event_ids


def find_known_events(store: Store, ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these ids are those of recorded events."""
    known: set[UUID] = set()
    with reading(store) as connection:
        for chunk in chunks(sorted(set(ids))):
            known |= set(connection.scalars(select(event_ids.c.event_id).where(event_ids.c.event_id.in_(chunk))))
    return known
