"""Which attempts the store knows of what an engine names by one native key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from runvis_core.services.reading import chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import runs


class KnownAttempt(NamedTuple):
    """A run, as far as it takes to tell it from its other attempts."""

    run_id: UUID
    attempt: int | None
    first_at: datetime
    """When what was first told of it happened."""
    started_at: datetime | None
    has_ended: bool
    became_run_id: UUID | None


def find_attempts(
    store: Store, native_keys: Iterable[str], *, engine: str, deployment: str
) -> dict[str, list[KnownAttempt]]:
    """Return by native key the runs that have it, in the order of `first_at`. A key of no run is left out."""
    columns = runs.c
    found: dict[str, list[KnownAttempt]] = defaultdict(list)
    with reading(store) as connection:
        for chunk in chunks(sorted(set(native_keys))):
            query = (
                select(runs)
                .where(columns.native_key.in_(chunk), columns.engine == engine, columns.deployment == deployment)
                .order_by(columns.sort_at, columns.first_position)
            )
            for row in connection.execute(query):
                found[row.native_key].append(
                    KnownAttempt(
                        row.run_id,
                        row.attempt,
                        row.sort_at,
                        row.started_at,
                        row.frozen_position is not None,
                        row.became_run_id,
                    )
                )
    return dict(found)
