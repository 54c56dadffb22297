"""Who was heard in which hour: what came, what is missing, what came later, and what has no end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, Field
from sqlalchemy import Connection, case, func, select

from runvis_core.services.answers import Answer
from runvis_core.services.completeness_answers import CompletenessFilter
from runvis_core.services.moments import HourOf
from runvis_core.services.plain_producers import PlainProducers, count_plain
from runvis_core.services.producers import Producer, find_holed, were_heard
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.producers import count_numbers
from runvis_core.store.tables import definitions, producers, runs

HOURS: Final = 24
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
        for row in _count_runs(connection, filters, since, until):
            table.add_runs(row)
        were_open = were_heard(filters, since, until)
        hours = [HourOf(producers.c[name]) for name in ("opened_at", "closed_at", "last_heard_at")]
        for some in count_plain(connection, were_open, hours):
            table.add_plain(some)
        for producer in find_holed(connection, were_open):
            table.add_producer(producer)
    return HeardHours(hours=table.hours, sources=table.answer())


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _read_hour(hour: str | None) -> datetime | None:
    return datetime.fromisoformat(f"{hour}:00:00Z") if hour else None


def _find_sources(connection: Connection, filters: CompletenessFilter) -> list[tuple[str, str]]:
    query = select(definitions.c.engine, definitions.c.deployment).distinct()
    for name in ("engine", "deployment", "definition"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(definitions.c[name] == value)
    return [(row.engine, row.deployment) for row in connection.execute(query)]


def _count_runs(connection: Connection, filters: CompletenessFilter, since: datetime, until: datetime) -> list[Any]:
    column = runs.c
    hours = [HourOf(column[name]).label(name) for name in ("sort_at", "started_at", "ended_at")]
    key: tuple[Any, ...] = (column.engine, column.deployment, *hours)
    query = select(
        *key,
        func.count().label("runs"),
        func.sum(case((column.frozen_position.is_(None), 1), else_=0)).label("without_end"),
        func.sum(case((column.clock_suspect.is_(True), 1), else_=0)).label("clock_off"),
    ).where(column.sort_at >= since, column.sort_at < until, column.became_run_id.is_(None))
    for name in ("engine", "deployment", "definition"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(column[name] == value)
    return list(connection.execute(query.group_by(*key)))


class _Table:
    """Sources by hours, as it fills."""

    def __init__(self, hours: list[datetime]) -> None:
        self.hours = hours
        self._cells: dict[tuple[str, str], dict[datetime, dict[str, Any]]] = {}
        self._numbers: dict[tuple[str, str], list[int]] = {}

    def add_source(self, key: tuple[str, str]) -> None:
        """Add a source that has said nothing yet."""
        self._cells.setdefault(key, {})

    def add_runs(self, row: Any) -> None:
        """Add when some runs were heard of, began and ended: all of them in the same hours."""
        key = (row.engine, row.deployment)
        told, *others = (_read_hour(hour) for hour in (row.sort_at, row.started_at, row.ended_at))
        self._hear(key, (told, *others))
        for name in ("runs", "without_end", "clock_off"):
            self._count(key, told, name, int(getattr(row, name)))

    def add_plain(self, some: PlainProducers) -> None:
        """Add when producers were heard of which every number came: all of them in the same hours."""
        key = (some.engine, some.deployment)
        opened_at, *others = (_read_hour(hour) for hour in some.times)
        self._hear(key, (opened_at, *others))
        self._number(key, opened_at, some.sent, some.sent)

    def add_producer(self, producer: Producer) -> None:
        """Add when a producer was heard, and which of its numbers did not come when they should have."""
        row, numbers, gaps = producer
        if row.engine is None or row.deployment is None:
            return
        key = (row.engine, row.deployment)
        self._hear(key, (row.opened_at, row.closed_at, row.last_heard_at))
        self._number(key, row.opened_at, numbers.sent, count_numbers(numbers.received))
        for gap in gaps:
            name = "missing" if gap.closed_at is None else "filled"
            self._count(key, gap.noticed_at, name, gap.high - gap.low + 1)

    def _number(self, key: tuple[str, str], opened_at: datetime | None, expected: int, received: int) -> None:
        if self._cell(key, opened_at) is not None:
            known = self._numbers.setdefault(key, [0, 0])
            known[0] += expected
            known[1] += received

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
