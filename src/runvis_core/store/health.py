"""How definitions stand: their last runs, judged anew whenever a run of theirs changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, and_, delete, literal, select, tuple_

from runvis_core.model.state import State
from runvis_core.store import tables as t
from runvis_core.store.types import Id, Moment
from runvis_core.store.upsert import upsert

GOOD: Final = (State.SUCCEEDED.value,)
_CHUNK: Final = 100
BAD: Final = (State.FAILED.value, State.TIMED_OUT.value)


class DefinitionKey(NamedTuple):
    """Which definition: engine, deployment, name, kind."""

    engine: str
    deployment: str
    definition: str
    kind: str


def judge_definitions(connection: Connection, keys: Iterable[DefinitionKey]) -> None:
    """Write down how these definitions stand by now. The counts by day must be up to date: they say where to look."""
    rows = [_judge(connection, key) for key in sorted(keys)]
    # One of which no run is left, since its runs turned out to be of another, is none that could fail or be late.
    standing = [row for row in rows if row["last_begun_at"] is not None or row["schedule"] is not None]
    if standing:
        connection.execute(upsert(connection, t.definition_health), standing)
    gone = [_key_of(row) for row in rows if row["last_begun_at"] is None and row["schedule"] is None]
    for start in range(0, len(gone), _CHUNK):
        columns = tuple_(*t.definition_health.primary_key)
        connection.execute(delete(t.definition_health).where(columns.in_(gone[start : start + _CHUNK])))


def _key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in t.definition_health.primary_key)


def _judge(connection: Connection, key: DefinitionKey) -> dict[str, Any]:
    latest = _find_run(connection, key, None)
    last = _find_run(connection, key, (*GOOD, *BAD))
    good = last if last is not None and last.effective_state in GOOD else _find_run(connection, key, GOOD)
    failing_since = None
    if last is not None and last.effective_state in BAD:
        failing_since = _first_failure(connection, key, good)
    return {
        "engine": key.engine,
        "deployment": key.deployment,
        "definition": key.definition,
        "definition_kind": key.kind,
        "schedule": _schedule(connection, key),
        "is_inner": latest is not None and latest.parent_run_id is not None,
        "last_begun_at": latest and latest.sort_at,
        "last_run_id": last and last.run_id,
        "last_state": last and last.effective_state,
        "last_at": last and last.sort_at,
        "good_run_id": good and good.run_id,
        "good_at": good and good.sort_at,
        "failing_since": failing_since,
    }


def _runs_of(key: DefinitionKey) -> Any:
    return and_(
        t.runs.c.engine == key.engine,
        t.runs.c.deployment == key.deployment,
        t.runs.c.definition == key.definition,
        t.runs.c.definition_kind == key.kind,
        t.runs.c.became_run_id.is_(None),
    )


def _days(key: DefinitionKey, states: Iterable[str] | None) -> Any:
    cell = t.rollups.c
    query = select(cell.begins_at).where(
        cell.definition == key.definition,
        cell.engine == key.engine,
        cell.deployment == key.deployment,
        cell.definition_kind == key.kind,
        cell.span == "day",
    )
    return query if states is None else query.where(cell.state.in_(list(states)))


def _find_run(connection: Connection, key: DefinitionKey, states: tuple[str, ...] | None) -> Any:
    """Return the last run of a definition that is in one of these states, from the last day that has any."""
    days = _days(key, states)
    day = connection.scalar(days.order_by(t.rollups.c.begins_at.desc()).limit(1))
    if day is None:
        return None
    sort_at = t.runs.c.sort_at
    query = select(t.runs.c.run_id, t.runs.c.effective_state, sort_at, t.runs.c.parent_run_id)
    query = query.where(_runs_of(key), sort_at >= day, sort_at < day + timedelta(days=1))
    if states is not None:
        query = query.where(t.runs.c.effective_state.in_(states))
    return connection.execute(query.order_by(sort_at.desc(), t.runs.c.run_id.desc()).limit(1)).one_or_none()


def _first_failure(connection: Connection, key: DefinitionKey, good: Any) -> Any:
    sort_at = t.runs.c.sort_at
    query = select(sort_at).where(_runs_of(key), t.runs.c.effective_state.in_(BAD))
    if good is not None:
        query = query.where(tuple_(sort_at, t.runs.c.run_id) > tuple_(*_place(good)))
    return connection.scalar(query.order_by(sort_at, t.runs.c.run_id).limit(1))


def _place(row: Any) -> tuple[Any, Any]:
    return literal(row.sort_at, Moment), literal(row.run_id, Id)


def _schedule(connection: Connection, key: DefinitionKey) -> str | None:
    version = t.definition_versions.c
    query = select(version.schedule).where(
        version.definition == key.definition,
        version.engine == key.engine,
        version.deployment == key.deployment,
        version.definition_kind == key.kind,
    )
    return connection.scalar(query.order_by(version.position.desc()).limit(1))
