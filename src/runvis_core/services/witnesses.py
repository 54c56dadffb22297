"""How many entries a run has, and who reported them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, func, select

from runvis_core.services.reading import chunks
from runvis_core.store.tables import entries


def count_entries(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, tuple[int, list[str]]]:
    """Return by run how many entries it has, and who reported them, in alphabetical order."""
    counts: dict[UUID, tuple[int, list[str]]] = {}
    for chunk in chunks(run_ids):
        query = (
            select(entries.c.run_id, entries.c.witness, func.count().label("entries"))
            .where(entries.c.run_id.in_(chunk))
            .group_by(entries.c.run_id, entries.c.witness)
            .order_by(entries.c.run_id, entries.c.witness)
        )
        for row in connection.execute(query):
            count, names = counts.get(row.run_id, (0, []))
            counts[row.run_id] = (count + row.entries, [*names, row.witness])
    return counts
