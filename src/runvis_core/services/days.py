"""How many runs each engine had by day, read from the rollups: nothing here counts runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from runvis_core.model.state import State
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.stats import DEFAULT_DAYS, begin_of
from runvis_core.services.stats_answers import EngineDay
from runvis_core.store.rollup_cells import DAY, HOUR, KIND
from runvis_core.store.tables import rollups


def find_counted_until(asked: PastFilter) -> datetime | None:
    """Return up to when the runs of a past can be counted: the whole hours before its moment, by how runs stand now.

    None where it is asked what was known by then: how runs stood by that is not counted.
    """
    return begin_of(asked.as_of, HOUR) if asked.as_of is not None and asked.known_at is None else None


def find_days(connection: Connection, *, until: datetime) -> list[EngineDay]:
    """Return the last days before `until`, the beginning of an hour, which ends the last of them."""
    cell = rollups.c
    key = (cell.engine, cell.deployment, cell.definition_kind)
    last = begin_of(until, DAY)
    first = begin_of(until - timedelta(hours=1), DAY) - timedelta(days=DEFAULT_DAYS - 1)
    whole = select(*key, cell.begins_at.label("day"), cell.state, cell.runs)
    rows: list[Any] = list(
        connection.execute(whole.where(cell.span == KIND, cell.begins_at >= first, cell.begins_at < last))
    )
    if until > last:
        hours = select(*key, cell.state, func.sum(cell.runs).label("runs")).group_by(*key, cell.state)
        within = hours.where(cell.span == HOUR, cell.begins_at >= last, cell.begins_at < until)
        rows += [(*row[:3], last, row.state, int(row.runs)) for row in connection.execute(within)]
    days: dict[tuple[Any, ...], dict[State, int]] = {}
    totals: dict[tuple[Any, ...], int] = {}
    for *named, state, runs in rows:
        day = tuple(named)
        totals[day] = totals.get(day, 0) + runs
        states = days.setdefault(day, {})
        if state:
            states[State(state)] = runs
    return [
        EngineDay(engine=day[0], deployment=day[1], kind=day[2], day=day[3], states=days[day], runs=totals[day])
        for day in sorted(days)
    ]
