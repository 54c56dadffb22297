"""What runs were started from: which of a flow's deployments, and by whose word we know of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, select

from runvis_core.model.event import STARTED_FROM
from runvis_core.model.state import Witness
from runvis_core.services.answers import Check, RunRef, StartView
from runvis_core.services.reading import reading
from runvis_core.services.run_summaries import REF_COLUMNS, find_contexts, run_refs
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.tables import runs

LOOKED_AT: Final = 200
"""How many of a definition's last runs are looked at."""
DOCTOR_LOOKS_AT: Final = 1000
_MAX_NAMED: Final = 10


def is_server_only(witnesses: Iterable[str]) -> bool:
    """Return whether the engine's server alone told of runs: no process of theirs records."""
    return set(witnesses) == {Witness.FOLLOWER}


def find_starts(connection: Connection, conditions: Sequence[Any]) -> list[StartView]:
    """Return the last runs that satisfy conditions by what they were started from, in the order of its name.

    Those that were started from nothing come first; none at all if all were.
    """
    grouped = _group(connection, conditions, LOOKED_AT)
    if set(grouped) <= {None}:
        return []
    return [_view(connection, name, grouped[name]) for name in sorted(grouped, key=lambda name: name or "")]


def find_started(connection: Connection, conditions: Sequence[Any], name: str, limit: int) -> list[RunRef]:
    """Return the last of the runs that satisfy conditions and were started from this definition, the latest first."""
    rows = _group(connection, conditions, LOOKED_AT).get(name, [])
    return run_refs(connection, rows[:limit])


def check_capture(store: Store, *, since: datetime) -> Check:
    """Return for the doctor of which recent runs no process told."""
    told: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    with reading(store) as connection:
        is_recent = (runs.c.sort_at >= since, runs.c.parent_run_id.is_(None))
        rows = _recent(connection, is_recent, DOCTOR_LOOKS_AT)
        started_from = _find_started_from(connection, rows)
        witnesses = count_entries(connection, [row.run_id for row in rows])
    for row in rows:
        name = started_from[row.run_id] or row.definition
        told[row.engine, row.deployment, name or str(row.run_id)] |= set(witnesses.get(row.run_id, (0, []))[1])
    alone = sorted(key for key, names in told.items() if is_server_only(names))
    if not alone:
        return Check(
            name="capture", outcome="ok", detail="of all that ran lately a process told, or nobody followed it"
        )
    named = ", ".join(f"{name} ({engine} {deployment})" for engine, deployment, name in alone[:_MAX_NAMED])
    more = f" and {len(alone) - _MAX_NAMED} more" if len(alone) > _MAX_NAMED else ""
    return Check(
        name="capture",
        outcome="ok",
        detail=f"server only, so without commit, environment and traceback: {named}{more}",
    )


def _group(connection: Connection, conditions: Sequence[Any], limit: int) -> dict[str | None, list[Any]]:
    rows = _recent(connection, conditions, limit)
    started_from = _find_started_from(connection, rows)
    grouped: dict[str | None, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[started_from[row.run_id]].append(row)
    return grouped


def _recent(connection: Connection, conditions: Sequence[Any], limit: int) -> list[Any]:
    query = select(*REF_COLUMNS, runs.c.record).where(*conditions)
    query = query.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(limit)
    return list(connection.execute(query).all())


def _find_started_from(connection: Connection, rows: Sequence[Any]) -> dict[UUID, str | None]:
    contexts = find_contexts(connection, rows)
    return {run_id: context.get("engine_context", {}).get(STARTED_FROM) for run_id, context in contexts.items()}


def _view(connection: Connection, name: str | None, rows: Sequence[Any]) -> StartView:
    told_by = count_entries(connection, [row.run_id for row in rows]).values()
    witnesses = sorted({witness for _, names in told_by for witness in names})
    (last,) = run_refs(connection, rows[:1])
    return StartView(
        definition=name,
        runs=len(rows),
        witnesses=witnesses,
        server_only=is_server_only(witnesses),
        last_run=last,
    )
