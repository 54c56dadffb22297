"""Producers, and which of their numbers came: those of which nothing is missing counted, the others one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from runvis_core.services.completeness_answers import CompletenessFilter, GapView
from runvis_core.services.moments import day_of
from runvis_core.services.plain_producers import IS_PLAIN, PlainProducers, count_plain
from runvis_core.services.run_completeness import Numbers, read_numbers
from runvis_core.store.producers import find_gaps_of
from runvis_core.store.tables import producers, refusals


class Producer(NamedTuple):
    """A producer and which of its numbers came."""

    row: Any
    numbers: Numbers
    gaps: list[GapView]


def count_opened_plain(
    connection: Connection, filters: CompletenessFilter, since: datetime, until: datetime
) -> Iterator[PlainProducers]:
    """Yield those of which nothing is missing that opened in a span of time, by deployment and day."""
    moment = func.coalesce(producers.c.opened_at, producers.c.last_heard_at)
    return count_plain(
        connection, [_between(moment, since, until), *conditions_of(producers, filters)], [day_of(moment)]
    )


def find_opened(
    connection: Connection, filters: CompletenessFilter, since: datetime, until: datetime, *, plain: bool
) -> Iterator[Producer]:
    """Yield the producers that opened in a span of time, and those before it of which a number was missed in it.

    Last those of which nothing is known but what was refused. `plain`: also those of which no number is missing.
    """
    moment = func.coalesce(producers.c.opened_at, producers.c.last_heard_at)
    opened = [_between(moment, since, until), *conditions_of(producers, filters)]
    yield from _find(connection, opened) if plain else find_holed(connection, opened)
    of = conditions_of(producers, filters)
    ever_missed = or_(producers.c.gaps.is_not(None), refusals.c.numbers.is_not(None))
    earlier = [producers.c.opened_at < since, producers.c.last_heard_at >= since, ever_missed, *of]
    for producer in _find(connection, earlier):
        missed_at = [*(gap.noticed_at for gap in producer.gaps), producer.row.last_refused_at]
        if any(at is not None and since <= at < until for at in missed_at):
            yield producer
    unknown = (
        select(refusals)
        .outerjoin(producers, producers.c.producer == refusals.c.producer)
        .where(producers.c.producer.is_(None), _between(refusals.c.last_refused_at, since, until))
        .where(*conditions_of(refusals, filters))
        .order_by(refusals.c.producer)
    )
    for row in connection.execute(unknown):
        yield Producer(row, read_numbers("[]", row.numbers, None, is_closed=False), [])


def were_heard(filters: CompletenessFilter, since: datetime, until: datetime) -> list[ColumnElement[bool]]:
    """Return the conditions that a producer was open in a span of time, and heard since it began."""
    opened_at = func.coalesce(producers.c.opened_at, since)
    return [producers.c.last_heard_at >= since, opened_at < until, *conditions_of(producers, filters)]


def find_holed(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> Iterator[Producer]:
    """Yield the producers that satisfy conditions and of which a number is, or was, missing or refused."""
    yield from _find(connection, [~IS_PLAIN, *conditions])


def _find(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> Iterator[Producer]:
    query = (
        select(producers, refusals.c.numbers, refusals.c.last_refused_at)
        .outerjoin(refusals, refusals.c.producer == producers.c.producer)
        .where(*conditions)
        .order_by(producers.c.producer)
    )
    for row in connection.execute(query):
        is_closed = row.closed_at is not None
        numbers = read_numbers(row.received, row.numbers, row.closed_sequence, is_closed=is_closed)
        yield Producer(row, numbers, view_gaps(row, numbers))


def _between(moment: Any, since: datetime, until: datetime) -> ColumnElement[bool]:
    return or_(moment.is_(None), and_(moment >= since, moment < until))


def conditions_of(table: Any, filters: CompletenessFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that a filter means for a table, by those of its columns that the table has."""
    asked = {name: getattr(filters, name) for name in ("engine", "deployment", "definition")}
    return [table.c[name] == value for name, value in asked.items() if value is not None and name in table.c]


def view_gaps(row: Any, numbers: Numbers) -> list[GapView]:
    """Return a producer's gaps: those of its numbers that are missing now, and those that closed."""
    of: dict[str, Any] = {
        name: getattr(row, name) for name in ("producer", "engine", "deployment", "component", "host", "pid")
    }
    found = find_gaps_of(row.gaps, numbers.missing)
    return [
        GapView(
            **of,
            low=gap.low,
            high=gap.high,
            noticed_at=gap.noticed_at or None,  # pyright: ignore[reportArgumentType]
            closed_at=gap.closed_at,  # pyright: ignore[reportArgumentType]
            late_seconds=_seconds_between(gap.noticed_at, gap.closed_at),
        )
        for gap in found
    ]


def _seconds_between(noticed_at: str, closed_at: str | None) -> float | None:
    if closed_at is None:
        return None
    return (datetime.fromisoformat(closed_at) - datetime.fromisoformat(noticed_at)).total_seconds()
