"""Producers of which every number came, as far as they told: counted by the database.

Most are so, and there are many, as a worker's process is one for each task. The others are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    and_,
    case,
    cast,
    exists,
    func,
    literal_column,
    select,
)

from runvis_core.store.tables import producers, refusals

_own: Final = producers.c
_before, _after = "[[0,", "]]"
# A cast of anything else would be an error, and only CASE says what is looked at first.
_last: Final = case(
    (
        and_(_own.received.like(f"{_before}%"), ~_own.received.like("%],[%")),
        cast(
            func.substr(_own.received, len(_before) + 1, func.length(_own.received) - len(_before) - len(_after)),
            BigInteger,
        ),
    ),
    else_=-1,
)
"""The last of a producer's numbers where all up to it came; else -1. By the form in which `received` is written."""
IS_PLAIN: Final = and_(
    _last >= func.coalesce(_own.closed_sequence, 0),
    _own.gaps.is_(None),
    ~exists(select(literal_column("1", Integer)).where(refusals.c.producer == _own.producer).correlate(producers)),
)
"""Whether nothing is missing, was ever noticed to be missing, or was refused."""


class PlainProducers(NamedTuple):
    """Some of them: alike in what they were grouped by."""

    engine: str
    deployment: str
    times: tuple[str | None, ...]
    """The hours or days by which they were grouped."""
    producers: int
    closed: int
    """How many of them said that they have said all."""
    sent: int
    """How many events they numbered: all of them came."""
    unkept: int
    """How many events they say they could not keep themselves."""
    last_heard_at: datetime | None


def count_plain(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], times: Sequence[ColumnElement[str]]
) -> Iterator[PlainProducers]:
    """Yield the plain ones that satisfy conditions, by deployment and `times`: hours or days."""
    key = (_own.engine, _own.deployment, *(time.label(f"time_{number}") for number, time in enumerate(times)))
    counted = (
        func.count(),
        func.count(_own.closed_at),
        func.sum(_last + 1),
        func.sum(func.coalesce(_own.refused, 0)),
        func.max(_own.last_heard_at),
    )
    groups: Any = connection.execute(select(*key, *counted).where(IS_PLAIN, *conditions).group_by(*key))
    for engine, deployment, *told, count, closed, sent, unkept, heard_at in groups:
        yield PlainProducers(engine, deployment, tuple(told), count, closed, int(sent), int(unkept), heard_at)
