"""Counts and times of runs, read from the rollups: nothing here counts runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select

from runvis_core.errors import WideQuestionError
from runvis_core.model.state import State
from runvis_core.services.definitions import find_definition, find_versions_between
from runvis_core.services.filters import DefinitionFilter, Dimension, StatFilter
from runvis_core.services.reading import reading
from runvis_core.services.stats_answers import StatRow, StatTable, Times, Trend
from runvis_core.services.steps import ROLLUPS
from runvis_core.store.database import Store
from runvis_core.store.rollup_cells import DAY, HOUR, KIND
from runvis_core.store.sketches import Quantiles, Sketch, add_to, read_sketch
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import rollups

DEFAULT_DAYS: Final = 14
MAX_CELLS: Final = 200_000
"""How many rows of the rollups one answer reads."""
MAX_ITEMS: Final = 5000
_NAMES: Final = {
    Dimension.ENGINE: rollups.c.engine,
    Dimension.DEPLOYMENT: rollups.c.deployment,
    Dimension.DEFINITION: rollups.c.definition,
    Dimension.KIND: rollups.c.definition_kind,
}
_JUDGED: Final = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT)


def list_stats(store: Store, filters: StatFilter, *, now: datetime) -> StatTable:
    """Return how many runs there were and how long they took, told apart as asked for.

    A run belongs to the hour in which it was first heard of, as in the list of runs. Raises `WideQuestionError` if the
    answer would need more than `MAX_CELLS` rows.
    """
    catch_up(store, [ROLLUPS])
    span = _span(filters)
    since, until = _range(filters.since, filters.until, span, now)
    with reading(store) as connection:
        rows = _read_cells(connection, span, filters, since, until)
    items = summarise_cells(rows, filters.by)
    notes = [f"there are {len(items)} rows; only the first {MAX_ITEMS} are shown"] if len(items) > MAX_ITEMS else []
    return StatTable(since=since, until=until, by=filters.by, items=items[:MAX_ITEMS], notes=notes)


def get_trend(
    store: Store,
    name: str,
    filters: DefinitionFilter,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    step: Dimension = Dimension.DAY,
    to_the_hour: bool = False,
    now: datetime,
) -> Trend:
    """Return how a definition's runs went over time, by day or by hour, and which versions came up meanwhile.

    The day or hour of `until` counts as a whole; with `to_the_hour` none does that began after the whole hours before
    `until`. Raises `NotFoundError` if there is no such definition, or if the filters don't tell which.
    """
    catch_up(store, [ROLLUPS])
    span = HOUR if step is Dimension.HOUR else DAY
    last_hour = begin_of(until or now, HOUR)
    since, until = _range(since, last_hour if to_the_hour else until, span, now)
    with reading(store) as connection:
        row = find_definition(connection, name, filters)
        asked = StatFilter(
            engine=row.engine, deployment=row.deployment, definition=row.definition, kind=row.definition_kind
        )
        if to_the_hour:
            days = begin_of(last_hour, span)
            cells = _read_cells(connection, span, asked, since, days)
            cells += _read_cells(connection, HOUR, asked, days, last_hour)
            until = last_hour
        else:
            cells = _read_cells(connection, span, asked, since, until)
        versions = find_versions_between(connection, row, since, until)
    whole = summarise_cells(cells, ())
    return Trend(
        engine=row.engine,
        deployment=row.deployment,
        definition=row.definition,
        kind=row.definition_kind,
        since=since,
        until=until,
        step=Dimension.HOUR if span == HOUR else Dimension.DAY,
        points=summarise_cells(cells, (step,)),
        whole=whole[0] if whole else _stat_row({}, []),
        versions=versions,
    )


def _span(filters: StatFilter) -> str:
    bounds = (filters.since, filters.until)
    is_of_days = all(moment is None or moment.astimezone(UTC) == begin_of(moment, DAY) for moment in bounds)
    if Dimension.HOUR in filters.by or not is_of_days:
        return HOUR
    names_definition = filters.definition is not None or Dimension.DEFINITION in filters.by
    return DAY if names_definition else KIND


def begin_of(moment: datetime, span: str) -> datetime:
    """Return when the hour or day began that has this moment, in UTC."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if span == HOUR else hour.replace(hour=0)


def _range(since: datetime | None, until: datetime | None, span: str, now: datetime) -> tuple[datetime, datetime]:
    size = timedelta(hours=1) if span == HOUR else timedelta(days=1)
    last = until if until is not None else now
    end = begin_of(last, span)
    if end != last:
        end += size
    return begin_of(since, span) if since is not None else end - timedelta(days=DEFAULT_DAYS), end


def _read_cells(connection: Connection, span: str, filters: StatFilter, since: datetime, until: datetime) -> list[Any]:
    cell = rollups.c
    query = select(rollups).where(cell.span == span, cell.begins_at >= since, cell.begins_at < until)
    for name, value in (
        (Dimension.ENGINE, filters.engine),
        (Dimension.DEPLOYMENT, filters.deployment),
        (Dimension.DEFINITION, filters.definition),
        (Dimension.KIND, filters.kind),
    ):
        if value is not None:
            query = query.where(_NAMES[name] == value)
    if filters.state:
        query = query.where(cell.state.in_([state.value for state in filters.state]))
    rows = list(connection.execute(query.limit(MAX_CELLS + 1)))
    if len(rows) > MAX_CELLS:
        raise WideQuestionError(
            "these are too many definitions and hours for one answer: ask for fewer days, for one definition or "
            "engine, or for whole days"
        )
    return rows


def summarise_cells(rows: Iterable[Any], by: Iterable[Dimension]) -> list[StatRow]:
    """Return the rows of the rollups put together by these dimensions, in their order."""
    dimensions = list(dict.fromkeys(by))
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        groups.setdefault(tuple(_value(row, dimension) for dimension in dimensions), []).append(row)
    return [_stat_row(dict(zip(dimensions, key, strict=True)), groups[key]) for key in sorted(groups)]


def _value(row: Any, dimension: Dimension) -> Any:
    if dimension is Dimension.STATE:
        return row.state
    if dimension in (Dimension.HOUR, Dimension.DAY):
        return begin_of(row.begins_at, HOUR if dimension is Dimension.HOUR else DAY)
    return getattr(row, _NAMES[dimension].name)


def _stat_row(key: dict[Dimension, Any], rows: Iterable[Any]) -> StatRow:
    runs = 0
    states: dict[State, int] = {}
    durations: Sketch = {}
    queues: Sketch = {}
    for row in rows:
        runs += row.runs
        if row.state:
            state = State(row.state)
            states[state] = states.get(state, 0) + row.runs
        add_to(durations, read_sketch(row.durations))
        add_to(queues, read_sketch(row.queues))
    judged = sum(states.get(state, 0) for state in _JUDGED)
    return StatRow(
        engine=key.get(Dimension.ENGINE),
        deployment=key.get(Dimension.DEPLOYMENT),
        definition=key.get(Dimension.DEFINITION),
        kind=key.get(Dimension.KIND),
        begins_at=key.get(Dimension.HOUR, key.get(Dimension.DAY)),
        runs=runs,
        states={state: states[state] for state in State if state in states},
        failed_share=1 - states.get(State.SUCCEEDED, 0) / judged if judged else None,
        duration=_times(durations),
        queue=_times(queues),
    )


def _times(sketch: Sketch) -> Times:
    quantiles = Quantiles(sketch)
    p50, p90, p95, p99 = (quantiles.at(part) for part in (0.5, 0.9, 0.95, 0.99))
    return Times(count=quantiles.count, p50=p50, p90=p90, p95=p95, p99=p99)
