"""Who was heard in which hour: what came, what is missing, what came later, and what has no end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, Field
from sqlalchemy import Connection, select

from runvis_core.services.answers import Answer
from runvis_core.services.completeness import Producer, find_producers_heard
from runvis_core.services.completeness_answers import CompletenessFilter
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.producers import count_numbers
from runvis_core.store.tables import definitions, runs

HOURS: Final = 24
MAX_RUNS: Final = 200_000
"""How many runs are looked at."""
_HOUR: Final = timedelta(hours=1)


class HeardHour(Answer):
    """What one source told of in one hour."""

    begins_at: AwareDatetime
    heard: bool = False
    """Whether a run was first heard of, began or ended in it, or a producer opened, closed or was last heard."""
    runs: int = 0
    """How many runs were first heard of."""
    without_end: int = 0
    """How many of those have not ended, as far as is known."""
    clock_off: int = 0
    """Of how many of those a report's time lies far from its recording."""
    missing: int = 0
    """How many numbers were noticed to be missing, and still are."""
    filled: int = 0
    """How many numbers were noticed to be missing, and came later."""


class HeardSource(Answer):
    """An installation of an engine, hour by hour."""

    engine: str
    deployment: str
    hours: list[HeardHour]
    expected: int = 0
    """How many events the producers numbered that opened in these hours."""
    received: int = 0
    """How many of them are in the record."""


class HeardHours(Answer):
    """Who was heard in the last hours of a span of time."""

    hours: list[AwareDatetime] = Field(default_factory=list[AwareDatetime])
    sources: list[HeardSource] = Field(default_factory=list[HeardSource])
    notes: list[str] = Field(default_factory=list[str])


def get_heard_hours(store: Store, filters: CompletenessFilter, *, now: datetime) -> HeardHours:
    """Return who was heard in each of the last `HOURS` hours of the span that is asked about, that of now at the end.

    A source that was heard at some other time is there, and silent.
    """
    until = _hour_of(filters.until or now)
    if filters.until is None or until != filters.until:
        until += _HOUR
    since = until - HOURS * _HOUR
    table = _Table([since + number * _HOUR for number in range(HOURS)])
    with reading(store) as connection:
        for source in _find_sources(connection, filters):
            table.add_source(source)
        found = _find_runs(connection, filters, since, until)
        for row in found[:MAX_RUNS]:
            table.add_run(row)
        for producer in find_producers_heard(connection, filters, since, until):
            table.add_producer(producer)
    cut = f"more than {MAX_RUNS:,} runs were first heard of in these hours; only so many are looked at"
    return HeardHours(hours=table.hours, sources=table.answer(), notes=[cut] if len(found) > MAX_RUNS else [])


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _find_sources(connection: Connection, filters: CompletenessFilter) -> list[tuple[str, str]]:
    query = select(definitions.c.engine, definitions.c.deployment).distinct()
    for name in ("engine", "deployment", "definition"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(definitions.c[name] == value)
    return [(row.engine, row.deployment) for row in connection.execute(query)]


def _find_runs(connection: Connection, filters: CompletenessFilter, since: datetime, until: datetime) -> list[Any]:
    column = runs.c
    query = select(
        column.engine,
        column.deployment,
        column.sort_at,
        column.started_at,
        column.ended_at,
        column.frozen_position,
        column.clock_suspect,
    ).where(column.sort_at >= since, column.sort_at < until, column.became_run_id.is_(None))
    for name in ("engine", "deployment", "definition"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(column[name] == value)
    return list(connection.execute(query.order_by(column.sort_at.desc()).limit(MAX_RUNS + 1)))


class _Table:
    """Sources by hours, as it fills."""

    def __init__(self, hours: list[datetime]) -> None:
        self.hours = hours
        self._cells: dict[tuple[str, str], dict[datetime, dict[str, Any]]] = {}
        self._numbers: dict[tuple[str, str], list[int]] = {}

    def add_source(self, key: tuple[str, str]) -> None:
        """Add a source that has said nothing yet."""
        self._cells.setdefault(key, {})

    def add_run(self, row: Any) -> None:
        """Add when a run was heard of, began and ended."""
        key = (row.engine, row.deployment)
        self._hear(key, (row.sort_at, row.started_at, row.ended_at))
        self._count(key, row.sort_at, "runs", 1)
        self._count(key, row.sort_at, "without_end", row.frozen_position is None)
        self._count(key, row.sort_at, "clock_off", bool(row.clock_suspect))

    def add_producer(self, producer: Producer) -> None:
        """Add when a producer was heard, and which of its numbers did not come when they should have."""
        row, numbers, gaps = producer
        if row.engine is None or row.deployment is None:
            return
        key = (row.engine, row.deployment)
        self._hear(key, (row.opened_at, row.closed_at, row.last_heard_at))
        if self._cell(key, row.opened_at) is not None:
            known = self._numbers.setdefault(key, [0, 0])
            known[0] += numbers.sent
            known[1] += count_numbers(numbers.received)
        for gap in gaps:
            name = "missing" if gap.closed_at is None else "filled"
            self._count(key, gap.noticed_at, name, gap.high - gap.low + 1)

    def _cell(self, key: tuple[str, str], moment: datetime | None) -> dict[str, Any] | None:
        hour = _hour_of(moment) if moment is not None else None
        if hour is None or not self.hours[0] <= hour <= self.hours[-1]:
            return None
        return self._cells.setdefault(key, {}).setdefault(hour, {})

    def _hear(self, key: tuple[str, str], moments: Iterable[datetime | None]) -> None:
        for moment in moments:
            cell = self._cell(key, moment)
            if cell is not None:
                cell["heard"] = True

    def _count(self, key: tuple[str, str], moment: datetime | None, name: str, number: int) -> None:
        cell = self._cell(key, moment) if number else None
        if cell is not None:
            cell[name] = cell.get(name, 0) + number

    def answer(self) -> list[HeardSource]:
        """Return the sources, each with all hours."""
        return [
            HeardSource(
                engine=engine,
                deployment=deployment,
                hours=[HeardHour(begins_at=hour, **cells.get(hour, {})) for hour in self.hours],
                expected=self._numbers.get((engine, deployment), [0, 0])[0],
                received=self._numbers.get((engine, deployment), [0, 0])[1],
            )
            for (engine, deployment), cells in sorted(self._cells.items())
        ]
