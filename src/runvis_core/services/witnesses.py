"""How many entries a run has, and who reported them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, func, select

from runvis_core.services.reading import RUN_IDS, chunks
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import entries


def count_entries(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, tuple[int, list[str]]]:
    """Return by run how many entries it has, and who reported them, in alphabetical order."""
    counts: dict[UUID, tuple[int, list[str]]] = {}
    for chunk in chunks(run_ids):
        for run_id, witness, told in connection.execute(_COUNTS, {RUN_IDS.key: chunk}):
            count, names = counts.get(run_id, (0, []))
            counts[run_id] = (count + told, [*names, witness])
    return counts


_COUNTS: Final = (
    select(entries.c.run_id, entries.c.witness, func.count().label("entries"))
    .where(is_among(entries.c.run_id, RUN_IDS))
    .group_by(entries.c.run_id, entries.c.witness)
    .order_by(entries.c.run_id, entries.c.witness)
)
