"""What runs were started from: which of a flow's deployments, and by whose word we know of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from runvis_core.model.event import STARTED_FROM
from runvis_core.model.state import Witness
from runvis_core.services.answers import Check, RunRef, StartView
from runvis_core.services.completeness_answers import CompletenessFilter
from runvis_core.services.reading import reading
from runvis_core.services.run_refs import HAS_LATE, REF_COLUMNS, run_refs
from runvis_core.services.run_summaries import find_contexts
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.tables import runs

LOOKED_AT: Final = 100
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
    return run_refs(rows[:limit])


class Told(NamedTuple):
    """By whose word the recent runs of a definition, or of a deployment of it, are known."""

    engine: str
    deployment: str
    definition: str | None
    """What they were started from, or what they are runs of; None of runs that nobody named."""
    runs: int
    witnesses: list[str]
    last_run_id: UUID

    @property
    def is_server_only(self) -> bool:
        """Whether no process of these runs records."""
        return is_server_only(self.witnesses)


def find_told(
    store: Store,
    filters: CompletenessFilter,
    *,
    since: datetime,
    until: datetime | None = None,
    limit: int = LOOKED_AT,
) -> list[Told]:
    """Return who told of the last `limit` runs in a span of time that lie in no other, by what they were started from.

    What the engine's server alone told of comes first.
    """
    told: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    found: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    asked = {name: getattr(filters, name) for name in ("engine", "deployment", "definition")}
    conditions = [runs.c[name] == value for name, value in asked.items() if value is not None]
    conditions += [runs.c.sort_at >= since, *([runs.c.sort_at < until] if until else [])]
    with reading(store) as connection:
        is_recent = (*conditions, runs.c.parent_run_id.is_(None), runs.c.became_run_id.is_(None))
        rows = _recent(connection, is_recent, limit)
        started_from = _find_started_from(connection, rows)
        witnesses = count_entries(connection, [row.run_id for row in rows])
    for row in rows:
        key = (row.engine, row.deployment, started_from[row.run_id] or row.definition or "")
        found[key].append(row)
        told[key] |= set(witnesses.get(row.run_id, (0, []))[1])
    all_told = [
        Told(engine, deployment, name or None, len(of), sorted(told[engine, deployment, name]), of[0].run_id)
        for (engine, deployment, name), of in found.items()
    ]
    return sorted(all_told, key=lambda one: (not one.is_server_only, one.engine, one.deployment, one.definition or ""))


def check_capture(store: Store, *, since: datetime) -> Check:
    """Return for the doctor of which recent runs no process told."""
    alone = [
        one for one in find_told(store, CompletenessFilter(), since=since, limit=DOCTOR_LOOKS_AT) if one.is_server_only
    ]
    if not alone:
        return Check(
            name="capture", outcome="ok", detail="of all that ran lately a process told, or nobody followed it"
        )
    named = ", ".join(
        f"{one.definition or one.last_run_id} ({one.engine} {one.deployment})" for one in alone[:_MAX_NAMED]
    )
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
    query = select(*REF_COLUMNS, runs.c.record, HAS_LATE).where(*conditions)
    query = query.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(limit)
    return list(connection.execute(query).all())


def _find_started_from(connection: Connection, rows: Sequence[Any]) -> dict[UUID, str | None]:
    contexts = find_contexts(connection, rows)
    return {run_id: context.get("engine_context", {}).get(STARTED_FROM) for run_id, context in contexts.items()}


def _view(connection: Connection, name: str | None, rows: Sequence[Any]) -> StartView:
    told_by = count_entries(connection, [row.run_id for row in rows]).values()
    witnesses = sorted({witness for _, names in told_by for witness in names})
    (last,) = run_refs(rows[:1])
    return StartView(
        definition=name,
        runs=len(rows),
        witnesses=witnesses,
        server_only=is_server_only(witnesses),
        last_run=last,
    )
