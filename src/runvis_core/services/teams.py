"""Which of an engine's teams told of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import orjson
from sqlalchemy import select

from runvis_core.errors import EventError
from runvis_core.model.event import EventBase
from runvis_core.services.reading import chunks, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import entries


def find_strangers(store: Store, run_ids: Iterable[UUID], team: str) -> dict[UUID, str]:
    """Return those of the runs that another team than this one told of, each with that team."""
    found: dict[UUID, str] = {}
    with reading(store) as connection:
        for chunk in chunks(sorted(set(run_ids))):
            query = select(entries.c.run_id, entries.c.entry).where(entries.c.run_id.in_(chunk))
            for run_id, entry in connection.execute(query.order_by(entries.c.position)):
                if b'"team":' not in entry:
                    continue
                other = orjson.loads(entry)["event"].get("team")
                if other is not None and other != team:
                    found.setdefault(run_id, other)
    return found


def check_runs(store: Store, events: Sequence[EventBase], team: str) -> dict[int, EventError]:
    """Return by place the faults of events about runs of another team than the one whose token brings them."""
    runs: dict[int, UUID] = {
        place: run_id for place, event in enumerate(events) if (run_id := getattr(event, "run_id", None)) is not None
    }
    strangers = find_strangers(store, runs.values(), team)
    return {
        place: EventError("event.team", f"the token speaks for team '{team}', and the run is of '{strangers[run_id]}'")
        for place, run_id in runs.items()
        if run_id in strangers
    }
