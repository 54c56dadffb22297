"""How definitions stand: their last runs, judged anew whenever a run of theirs changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Table,
    Text,
    TextualSelect,
    and_,
    bindparam,
    column,
    select,
    text,
    tuple_,
)

from runvis_core.model.state import State
from runvis_core.store import tables as t
from runvis_core.store.bulk import Bulk
from runvis_core.store.statements import COLUMNS, key_of
from runvis_core.store.types import Id, Moment

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
    bulk = Bulk(connection)
    rows = judge(connection, sorted(keys))
    names = COLUMNS[t.definition_health.name]
    bulk.upsert(t.definition_health, [[row[name] for name in names] for row in rows if can_fail(row)])
    key = key_of(t.definition_health)
    bulk.delete(t.definition_health, [[row[name] for name in key] for row in rows if not can_fail(row)])


def can_fail(row: dict[str, Any]) -> bool:
    """Return whether a definition could fail or be late: not one whose runs all turned out to be of another."""
    return row["last_begun_at"] is not None or row["schedule"] is not None


def judge(connection: Connection, keys: Sequence[DefinitionKey]) -> list[dict[str, Any]]:
    """Return how definitions stand by now, as their rows say it, in the order of the keys."""
    latest: dict[DefinitionKey, Any] = {}
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        given = {f"{name}_{place}": value for place, key in enumerate(part) for name, value in key._asdict().items()}
        for row in connection.execute(_latest(len(part)), given):
            latest[DefinitionKey(row.engine, row.deployment, row.definition, row.kind)] = row
    return [_judge(connection, key, latest[key]) for key in keys]


def _judge(connection: Connection, key: DefinitionKey, latest: Any) -> dict[str, Any]:
    named = key._asdict()
    last = latest if latest.run_id is not None else None
    if last is not None and last.effective_state not in _JUDGED:
        last = _find_run(connection, named, _LAST)
    good = last
    failing_since = None
    if last is not None and last.effective_state in BAD:
        good = _find_run(connection, named, _GOOD)
        place = (good.sort_at, good.run_id) if good is not None else (_BEFORE_ALL, UUID(int=0))
        failing_since = connection.scalar(_FIRST_FAILURE, {**named, "after": place[0], "after_id": place[1]})
    return {
        "engine": key.engine,
        "deployment": key.deployment,
        "definition": key.definition,
        "definition_kind": key.kind,
        "schedule": latest.schedule,
        "is_inner": latest.parent_run_id is not None,
        "last_begun_at": latest.sort_at,
        "last_run_id": last and last.run_id,
        "last_state": last and last.effective_state,
        "last_at": last and last.sort_at,
        "good_run_id": good and good.run_id,
        "good_at": good and good.sort_at,
        "failing_since": failing_since,
    }


_LATEST_OF: Final = """
WITH wanted({names}) AS (VALUES {given})
SELECT wanted.engine, wanted.deployment, wanted.definition, wanted.kind,
  runs.run_id, runs.effective_state, runs.sort_at, runs.parent_run_id,
  (SELECT told.schedule FROM definition_versions AS told WHERE {same} ORDER BY told.position DESC LIMIT 1) AS schedule
FROM wanted LEFT JOIN runs ON runs.run_id =
  (SELECT told.run_id FROM runs AS told WHERE {same} AND told.became_run_id IS NULL
   ORDER BY told.sort_at DESC, told.run_id DESC LIMIT 1)
"""


@lru_cache(maxsize=_CHUNK)
def _latest(count: int) -> TextualSelect:
    """Return what finds the last run and the schedule of so many definitions: for each one row, maybe of nothing."""
    given = ", ".join(f"({', '.join(f':{name}_{place}' for name in DefinitionKey._fields)})" for place in range(count))
    same = " AND ".join(
        f"told.{column} = wanted.{name}"
        for column, name in zip(key_of(t.definition_health), DefinitionKey._fields, strict=True)
    )
    words = {"names": ", ".join(DefinitionKey._fields), "given": given, "same": same}
    named = (column(name, Text) for name in DefinitionKey._fields)
    of_run = (column(name, t.runs.c[name].type) for name in ("run_id", "effective_state", "sort_at", "parent_run_id"))
    return text(_LATEST_OF.format(**words)).columns(*named, *of_run, column("schedule", Text))


def _find_run(connection: Connection, named: dict[str, Any], states: _InStates) -> Any:
    """Return the last run of a definition that is in one of these states, from the last day that has any."""
    day: datetime | None = connection.scalar(states.last_day, named)
    if day is None:
        return None
    return connection.execute(states.last_run, {**named, "day": day, "end": day + timedelta(days=1)}).one_or_none()


# Built once: there are several for each definition that a batch touches, and to build one takes longer than to run it.

_BEFORE_ALL: Final = datetime(1, 1, 2, tzinfo=UTC)
_SORT_AT: Final = t.runs.c.sort_at


def _of_definition(table: Table) -> ColumnElement[bool]:
    return and_(
        table.c.definition == bindparam("definition"),
        table.c.engine == bindparam("engine"),
        table.c.deployment == bindparam("deployment"),
        table.c.definition_kind == bindparam("kind"),
    )


_RUNS: Final = select(t.runs.c.run_id, t.runs.c.effective_state, _SORT_AT, t.runs.c.parent_run_id).where(
    _of_definition(t.runs), t.runs.c.became_run_id.is_(None)
)
_LATEST: Final = _RUNS.order_by(_SORT_AT.desc(), t.runs.c.run_id.desc()).limit(1)


class _InStates(NamedTuple):
    """How the last run in some states is found."""

    last_day: Executable
    last_run: Executable

    @staticmethod
    def of(states: tuple[str, ...]) -> _InStates:
        cell = t.rollups.c
        days = select(cell.begins_at).where(_of_definition(t.rollups), cell.span == "day", cell.state.in_(states))
        # On the left of a comparison a parameter does not take the column's type, and would go to the driver as it is.
        day, end = bindparam("day", type_=Moment), bindparam("end", type_=Moment)
        of_day = (day <= _SORT_AT, end > _SORT_AT, t.runs.c.effective_state.in_(states))
        return _InStates(days.order_by(cell.begins_at.desc()).limit(1), _LATEST.where(*of_day))


_JUDGED: Final = (*GOOD, *BAD)
_LAST: Final = _InStates.of(_JUDGED)
_GOOD: Final = _InStates.of(GOOD)
_FIRST_FAILURE: Final = (
    select(_SORT_AT)
    .where(
        _of_definition(t.runs),
        t.runs.c.became_run_id.is_(None),
        t.runs.c.effective_state.in_(BAD),
        tuple_(_SORT_AT, t.runs.c.run_id) > tuple_(bindparam("after", type_=Moment), bindparam("after_id", type_=Id)),
    )
    .order_by(_SORT_AT, t.runs.c.run_id)
    .limit(1)
)
