"""What is broken, late or silent now: how definitions stand, and the last days of each engine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from runvis_core.lineage.facts import Node
from runvis_core.services.blocking import Blocked, find_blocked
from runvis_core.services.days import find_days
from runvis_core.services.feed import SOMETHING_INSIDE, find_failed_inside
from runvis_core.services.paused import find_paused
from runvis_core.services.reading import chunks, reading
from runvis_core.services.run_refs import find_refs
from runvis_core.services.schedules import Missed, count_missed
from runvis_core.services.silence import find_silent
from runvis_core.services.stats import begin_of
from runvis_core.services.stats_answers import DefinitionHealth, Health
from runvis_core.services.steps import FAILURES, LINEAGE, ROLLUPS
from runvis_core.store.database import Store
from runvis_core.store.health import BAD
from runvis_core.store.rollup_cells import DAY
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import definition_health, failures, runs

SHOWN: Final = 200
"""How many definitions or runs of each sort an answer shows; more are counted."""
MAX_LOOKED_THROUGH: Final = 10_000
"""How many definitions are looked through for what is failing or late."""


def get_health(store: Store, *, now: datetime) -> Health:
    """Return which definitions fail or are late, which runs are silent, and the last days of each engine.

    A definition fails while the last of its runs that succeeded, failed or timed out did not succeed. It is late when
    its schedule (in UTC) says that a run should have begun since its last one did, unless its engine has paused it.
    What fails blocks the definitions
    that lie downstream of it in the lineage. Those that run inside others are
    left out: what holds them fails too.
    """
    catch_up(store, [ROLLUPS, FAILURES, LINEAGE])
    with reading(store) as connection:
        failing = _failing(connection)
        late, paused_count = _late(connection, now)
        silent = find_silent(connection, now, limit=MAX_LOOKED_THROUGH)
        shown = [*failing[:SHOWN], *(row for row, _ in late[:SHOWN])]
        described = _describe(connection, shown)
        blocked = find_blocked(connection, [_node_id(row) for row in failing[:SHOWN]])
        notes = [
            f"only {MAX_LOOKED_THROUGH} {what} were looked through"
            for what, found in (("failing definitions", failing), ("late definitions", late), ("silent runs", silent))
            if len(found) >= MAX_LOOKED_THROUGH
        ]
        if paused_count:
            notes.append(f"{paused_count} by their schedule late, but paused by their engine: left out")
        return Health(
            at=now,
            failing=[_with_blocked(described[_key(row)], blocked.get(_node_id(row))) for row in failing[:SHOWN]],
            failing_count=len(failing),
            late=[with_missed(described[_key(row)], missed) for row, missed in late[:SHOWN]],
            late_count=len(late),
            silent=find_refs(connection, silent[:SHOWN]),
            silent_count=len(silent),
            days=find_days(connection, until=begin_of(now, DAY) + timedelta(days=1)),
            notes=notes,
        )


def _failing(connection: Connection) -> list[Any]:
    health = definition_health.c
    query = select(definition_health).where(health.last_state.in_(BAD), health.is_inner.is_(False))
    rows = connection.execute(query.limit(MAX_LOOKED_THROUGH)).all()
    return sorted(rows, key=lambda row: (row.failing_since or row.last_at, *_key(row)), reverse=True)


def _late(connection: Connection, now: datetime) -> tuple[list[tuple[Any, Missed]], int]:
    """Return what is late, and of how many definitions the schedule says so that their engine has paused."""
    paused, paused_count = find_paused(connection), 0
    query = select(definition_health).where(definition_health.c.schedule.is_not(None)).limit(MAX_LOOKED_THROUGH)
    late: list[tuple[Any, Missed]] = []
    for row in connection.execute(query):
        if row.last_begun_at is None or row.is_inner:
            continue
        missed = count_missed(row.schedule, last_begun_at=row.last_begun_at, now=now)
        if missed and (row.engine, row.deployment, row.definition) in paused:
            paused_count += 1
        elif missed:
            late.append((row, missed))
    return sorted(late, key=lambda one: (one[1].first_at, _key(one[0]))), paused_count


def _key(row: Any) -> tuple[str, str, str, str]:
    return (row.engine, row.deployment, row.definition, row.definition_kind)


def _node_id(row: Any) -> UUID:
    return Node("definition", row.definition, row.engine, row.deployment).node_id


def _with_blocked(one: DefinitionHealth, blocked: Blocked | None) -> DefinitionHealth:
    if blocked is None:
        return one
    said = {"blocks": blocked.shown, "blocks_count": blocked.total, "blocks_cut": blocked.is_cut}
    return one.model_copy(update=said)


def with_missed(one: DefinitionHealth, missed: Missed) -> DefinitionHealth:
    """Return how a late definition stands, with the runs that it missed."""
    said = {"due_at": missed.first_at, "missed": missed.total, "missed_cut": missed.is_cut}
    return one.model_copy(update=said)


def _describe(connection: Connection, rows: list[Any]) -> dict[tuple[str, ...], DefinitionHealth]:
    ids = {run_id for row in rows for run_id in (row.last_run_id, row.good_run_id) if run_id is not None}
    refs = {ref.run_id: ref for ref in find_refs(connection, ids)}
    lines = find_failure_lines(connection, [row.last_run_id for row in rows if row.last_state in BAD])
    return {
        _key(row): DefinitionHealth(
            engine=row.engine,
            deployment=row.deployment,
            definition=row.definition,
            kind=row.definition_kind,
            is_inner=row.is_inner,
            schedule=row.schedule,
            last_run=refs.get(row.last_run_id),
            last_good=refs.get(row.good_run_id),
            failing_since=row.failing_since,
            error_type=lines[row.last_run_id].error_type if row.last_run_id in lines else None,
            failure_line=lines[row.last_run_id].line if row.last_run_id in lines else None,
            last_begun_at=row.last_begun_at,
        )
        for row in rows
    }


class FailureLine(NamedTuple):
    """The type of a failure, and the first line of what it says."""

    error_type: str | None
    line: str | None


def find_failure_lines(connection: Connection, run_ids: Iterable[UUID]) -> dict[UUID, FailureLine]:
    """Return by run why it failed; of a run that says no more than that something inside failed, why that did."""
    found: dict[UUID, FailureLine] = {}
    wanted = list(run_ids)
    for chunk in chunks(wanted):
        rows = connection.execute(select(failures).where(failures.c.run_id.in_(chunk)))
        found.update((row.run_id, FailureLine(row.error_type, row.line)) for row in rows)
    lacking = [run_id for run_id in wanted if run_id not in found or found[run_id].error_type in SOMETHING_INSIDE]
    inside = _find_lines_inside(connection, lacking)
    for run_id, deeper in find_failed_inside(connection, [one for one in lacking if one not in inside]).items():
        if deeper.failure is not None:
            inside[run_id] = FailureLine(deeper.failure.error_type, deeper.failure.line)
    return found | inside


def _find_lines_inside(connection: Connection, run_ids: Iterable[UUID]) -> dict[UUID, FailureLine]:
    """Return by run why the last one directly inside it failed that says so: one look is enough for most."""
    found: dict[UUID, FailureLine] = {}
    for chunk in chunks(list(run_ids)):
        query = (
            select(runs.c.parent_run_id, failures.c.error_type, failures.c.line)
            .join(failures, failures.c.run_id == runs.c.run_id)
            .where(runs.c.parent_run_id.in_(chunk), runs.c.effective_state.in_(BAD))
            # By state SQLite would look through all that ever failed.
            .with_hint(runs, "INDEXED BY runs_parent", "sqlite")
            .order_by(failures.c.sort_at, failures.c.run_id)
        )
        found.update((row.parent_run_id, FailureLine(row.error_type, row.line)) for row in connection.execute(query))
    return found
