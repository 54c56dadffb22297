"""How many entries a run has, and who reported them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from runvis_core.services.reading import chunks
from runvis_core.store.tables import entries


class _WitnessOf(FunctionElement[str]):
    """The witness that an entry's bytes name."""

    inherit_cache = True


@compiles(_WitnessOf, "sqlite")
def _witness_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_extract(CAST({compiler.process(element.clauses, **options)} AS TEXT), '$.event.witness')"


@compiles(_WitnessOf, "postgresql")
def _witness_of_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"(convert_from({compiler.process(element.clauses, **options)}, 'UTF8')::json #>> '{{event,witness}}')"


def count_entries(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, tuple[int, list[str]]]:
    """Return by run how many entries it has, and who reported them, in alphabetical order."""
    counts: dict[UUID, tuple[int, list[str]]] = {}
    witness = _WitnessOf(entries.c.entry).label("witness")
    for chunk in chunks(run_ids):
        query = (
            select(entries.c.run_id, witness, func.count().label("entries"))
            .where(entries.c.run_id.in_(chunk))
            .group_by(entries.c.run_id, witness)
            .order_by(entries.c.run_id, witness)
        )
        for row in connection.execute(query):
            count, names = counts.get(row.run_id, (0, []))
            counts[row.run_id] = (count + row.entries, [*names, row.witness])
    return counts
