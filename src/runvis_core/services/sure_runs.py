"""Which records need no look: counted by the database; run by run only those of which something may be lacking.

Most runs have ended, by the word of their own worker, whose numbers all came. Nothing that comes later makes such a
record less than whole but a number of one of its producers that is missing or was refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, exists, func, literal_column, or_, select

from runvis_core.model.state import Witness
from runvis_core.services.moments import day_of
from runvis_core.services.reading import chunks
from runvis_core.services.run_completeness import Numbers, read_numbers
from runvis_core.store.account import ACCOUNT
from runvis_core.store.steps import list_lags
from runvis_core.store.tables import entries, producers, refusals, run_producers, runs, worker_definitions

_ONE: Final = literal_column("1", Integer)
_told, _worker_of = run_producers.c, worker_definitions.c
_by_worker: Final = and_(_told.run_id == runs.c.run_id, _told.witness == Witness.WORKER.value)
_worked_on: Final = and_(
    runs.c.started_at.is_not(None), or_(runs.c.ended_at.is_(None), runs.c.ended_at > runs.c.started_at)
)
_expected: Final = exists(
    select(_ONE).where(
        _worker_of.engine == runs.c.engine,
        _worker_of.deployment == runs.c.deployment,
        _worker_of.definition_kind == runs.c.definition_kind,
    )
)
_unsure: Final = and_(
    runs.c.frozen_position.is_not(None),
    ~exists(select(_ONE).where(_by_worker, _told.testified)),
    or_(exists(select(_ONE).where(_by_worker)), and_(_worked_on, _expected)),
)
"""Whose worker's word is lacking, or has no end, as far as the projection of what producers told goes."""


class SureRuns(NamedTuple):
    """Runs of one day of which it is known without a look whether their records are whole."""

    day: date
    engine: str
    deployment: str
    is_open: bool
    """Whether they have not ended; otherwise they are whole."""


def part_runs(
    connection: Connection, columns: Sequence[ColumnElement[Any]], conditions: Sequence[ColumnElement[bool]]
) -> tuple[Counter[SureRuns], list[Any]]:
    """Return how many of the chosen runs are sure, and the `columns` of the others, the latest first."""
    # All are counted and what is unsure is taken off: to ask of each run whether it is sure costs most.
    sure = _count_runs(connection, conditions)
    query: Select[Any] = select(*columns).where(*conditions)
    unsure: list[Any] = list(connection.execute(query.where(_unsure)))
    found = {row.run_id for row in unsure}
    for chunk in chunks(sorted(_find_touched(connection) - found)):
        unsure += connection.execute(query.where(runs.c.run_id.in_(chunk)))
    for row in unsure:
        sure[_key(row.sort_at.date(), row, is_open=row.frozen_position is None)] -= 1
    return +sure, sorted(unsure, key=lambda row: (row.sort_at, row.run_id), reverse=True)


def _count_runs(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> Counter[SureRuns]:
    day, is_open = day_of(runs.c.sort_at).label("day"), runs.c.frozen_position.is_(None).label("is_open")
    key = (day, runs.c.engine, runs.c.deployment, is_open)
    query = select(*key, func.count().label("runs")).where(*conditions).group_by(*key)
    found: Counter[SureRuns] = Counter()
    for row in connection.execute(query):
        found[_key(date.fromisoformat(row.day), row, is_open=row.is_open)] += row.runs
    return found


def _key(day: date, row: Any, *, is_open: bool) -> SureRuns:
    return SureRuns(day, row.engine, row.deployment, is_open=bool(is_open))


def _find_touched(connection: Connection) -> set[UUID]:
    """Return the runs that a number which did not come may have been about, and those told of since the projection."""
    found: set[UUID] = set()
    for producer, numbers in _find_suspects(connection):
        spans = [*numbers.missing, *numbers.refused]
        if spans:
            low, high = min(span[0] for span in spans), max(span[1] for span in spans)
            query = select(_told.run_id).where(
                _told.producer == producer,
                or_(_told.witness == Witness.WORKER.value, _told.first_sequence <= high + 1),
                or_(~_told.testified, _told.last_sequence >= low),
            )
            found.update(connection.scalars(query))
    (lag,) = list_lags(connection, [ACCOUNT])
    if lag.entries:
        fresh = select(entries.c.run_id).where(entries.c.position > lag.position, entries.c.run_id.is_not(None))
        found.update(run_id for run_id in connection.scalars(fresh.distinct()) if run_id is not None)
    return found


def _find_suspects(connection: Connection) -> Iterator[tuple[UUID, Numbers]]:
    """Yield the producers whose numbers ever had a gap, or were refused, with their numbers."""
    columns = producers.c
    query = (
        select(columns.producer, columns.received, columns.closed_sequence, columns.closed_at, refusals.c.numbers)
        .outerjoin(refusals, refusals.c.producer == columns.producer)
        .where(or_(columns.gaps.is_not(None), refusals.c.numbers.is_not(None)))
    )
    for row in connection.execute(query).all():
        is_closed = row.closed_at is not None
        yield row.producer, read_numbers(row.received, row.numbers, row.closed_sequence, is_closed=is_closed)
