"""What a drawing of a run's tree needs beyond the tree itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select

from runvis_core.services.ancestry import MAX_DEPTH
from runvis_core.services.answers import RunRef
from runvis_core.services.reading import reading
from runvis_core.services.run_refs import REF_COLUMNS, run_refs
from runvis_core.store.database import Store
from runvis_core.store.tables import runs


class SpanFacts(NamedTuple):
    """What a waterfall needs of a run: attempts of one thing share the native key."""

    native_key: str | None = None
    retry_expected_at: datetime | None = None
    clock_suspect: bool = False
    is_silent: bool = False
    """Whether it is going on, and its heartbeat is overdue."""


def find_parents(store: Store, run_id: UUID) -> list[RunRef]:
    """Return the runs that contain this one, the topmost first, as far as they are known."""
    above: list[Any] = []
    with reading(store) as connection:
        step = connection.scalar(select(runs.c.parent_run_id).where(runs.c.run_id == run_id))
        while step is not None and len(above) < MAX_DEPTH and all(row.run_id != step for row in above):
            row = connection.execute(select(*REF_COLUMNS).where(runs.c.run_id == step)).one_or_none()
            if row is None:
                break
            above.append(row)
            step = row.parent_run_id
        return run_refs(above[::-1])
