"""What a run descends from: its parents up to the root, what caused it, and the correlation id that comes with that.

None of it stands on a run's own row: whoever comes later may know more. So it is worked out when it is asked for, level
by level and within bounds, for all runs of a page at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select, tuple_

from runvis_core.model.state import Relation
from runvis_core.services.reading import LISTED, RUN_IDS, chunks, has_row
from runvis_core.store.id_lists import id_list, is_among
from runvis_core.store.tables import links, runs

MAX_DEPTH: Final = 64
"""How many levels up a root, a cause or a correlation is looked for."""
MAX_CORRELATED: Final = 10_000
"""How many runs of one correlation a filter follows."""

_KIN_COLUMNS: Final = (
    runs.c.run_id,
    runs.c.engine,
    runs.c.deployment,
    runs.c.definition,
    runs.c.native_key,
    runs.c.started_at,
    runs.c.parent_run_id,
    runs.c.caused_by_run_id,
    runs.c.correlation_id,
)


# Built once each, as those below: to build such a statement takes longer than to run it.
_KIN: Final = select(*_KIN_COLUMNS).where(is_among(runs.c.run_id, RUN_IDS))
_LINKS_TO: Final = (
    select(
        links.c.run_id,
        links.c.engine,
        links.c.deployment,
        links.c.target_run_id,
        links.c.target_native_key,
        links.c.occurred_at,
        links.c.position,
        runs.c.started_at,
    )
    .join(runs, runs.c.run_id == links.c.run_id)
    .where(
        links.c.relation == Relation.CAUSED.value,
        or_(is_among(links.c.target_run_id, RUN_IDS), links.c.target_native_key.in_(bindparam("keys", expanding=True))),
    )
)


class Kin(NamedTuple):
    """What a run says of those it descends from."""

    is_identified: bool
    parent_run_id: UUID | None
    caused_by_run_id: UUID | None
    correlation_id: str | None


class Ancestry:
    """What some runs descend from, as far up as `MAX_DEPTH` levels."""

    def __init__(self, kin: dict[UUID, Kin]) -> None:
        self._kin = kin

    def cause_of(self, run_id: UUID) -> UUID | None:
        """Return the run that started this one: as it was said, else by the latest link that fits."""
        kin = self._kin.get(run_id)
        return kin.caused_by_run_id if kin else None

    def root_of(self, run_id: UUID) -> UUID | None:
        """Return the topmost parent; None while it is unknown, and in a loop of parents."""
        seen: set[UUID] = set()
        while (kin := self._kin.get(run_id)) is not None and run_id not in seen:
            if kin.parent_run_id is None:
                # Until somebody says what a run is, nobody has said that it has no parent.
                return run_id if kin.is_identified else None
            seen.add(run_id)
            run_id = kin.parent_run_id
        return None

    def correlation_of(self, run_id: UUID) -> str | None:
        """Return the id that all runs of one cause share: that of the furthest parent or cause which has one."""
        found: str | None = None
        seen: set[UUID] = set()
        step: UUID | None = run_id
        while step is not None and step not in seen and (kin := self._kin.get(step)) is not None:
            seen.add(step)
            found = kin.correlation_id or found
            step = kin.parent_run_id or kin.caused_by_run_id
        return found


def find_ancestry(connection: Connection, of_runs: Sequence[Any]) -> Ancestry:
    """Return what the runs of these rows descend from. They have at least `_KIN_COLUMNS`."""
    kin: dict[UUID, Kin] = {}
    above: set[UUID] = set()
    for level in range(MAX_DEPTH):
        rows = of_runs if level == 0 else [row for chunk in chunks(above) for row in _kin_rows(connection, chunk)]
        causes = find_causes(connection, rows)
        for row in rows:
            cause = row.caused_by_run_id or causes.get(row.run_id)
            kin[row.run_id] = Kin(row.definition is not None, row.parent_run_id, cause, row.correlation_id)
        ups = {up for row in rows for up in (kin[row.run_id].parent_run_id, kin[row.run_id].caused_by_run_id) if up}
        above = ups - kin.keys()
        if not above:
            break
    return Ancestry(kin)


def _kin_rows(connection: Connection, run_ids: Collection[UUID]) -> Iterable[Any]:
    return connection.execute(_KIN, {RUN_IDS.key: list(run_ids)})


def find_causes(connection: Connection, rows: Iterable[Any]) -> dict[UUID, UUID]:
    """Return by run what links say caused it: the latest link whose source started no later than the run.

    Rows that name their cause themselves are passed over.
    """
    found: dict[UUID, UUID] = {}
    for chunk in chunks([row for row in rows if row.caused_by_run_id is None]):
        by_id, by_key = _links_to(connection, chunk)
        named = _causes_named_by(connection, chunk)
        for row in chunk:
            key = (row.engine, row.deployment, row.native_key)
            candidates = [*by_id.get(row.run_id, ()), *by_key.get(key, ()), *named.get(row.run_id, ())]
            fitting = [link for link in candidates if _fits(link, row)]
            if fitting:
                found[row.run_id] = max(fitting, key=lambda link: (link.occurred_at, link.position)).run_id
    return found


def _fits(link: Any, row: Any) -> bool:
    source_started_at: datetime = link.started_at or link.occurred_at
    return link.run_id != row.run_id and (row.started_at is None or source_started_at <= row.started_at)


def _links_to(
    connection: Connection, rows: list[Any]
) -> tuple[dict[UUID, list[Any]], dict[tuple[Any, ...], list[Any]]]:
    keys = {row.native_key for row in rows if row.native_key is not None}
    named = {RUN_IDS.key: [row.run_id for row in rows], "keys": list(keys)}
    by_id: dict[UUID, list[Any]] = {}
    by_key: dict[tuple[Any, ...], list[Any]] = {}
    for link in connection.execute(_LINKS_TO, named):
        if link.target_run_id is not None:
            by_id.setdefault(link.target_run_id, []).append(link)
        else:
            by_key.setdefault((link.engine, link.deployment, link.target_native_key), []).append(link)
    return by_id, by_key


def _causes_named_by(connection: Connection, rows: list[Any]) -> dict[UUID, list[Any]]:
    """Return by run the causes that it names itself (`caused_by`): each attempt that has the named key."""
    named: dict[UUID, list[Any]] = {}
    for link in connection.execute(_named_causes(), {RUN_IDS.key: [row.run_id for row in rows]}):
        named.setdefault(link.caused, []).append(link)
    return named


# When a cause started decides between its attempts, so it stands for the time of the link.
_CAUSE_COLUMNS: Final = (
    runs.c.run_id,
    runs.c.started_at,
    func.coalesce(runs.c.started_at, runs.c.sort_at).label("occurred_at"),
    runs.c.first_position.label("position"),
)


def _is_named_cause() -> Any:
    by_key = and_(
        runs.c.native_key == links.c.target_native_key,
        runs.c.engine == links.c.engine,
        runs.c.deployment == links.c.deployment,
    )
    return or_(runs.c.run_id == links.c.target_run_id, by_key)


@cache
def _named_causes() -> Any:
    """Select the causes that `RUN_IDS` name themselves."""
    query = select(links.c.run_id.label("caused"), *_CAUSE_COLUMNS).join(runs, _is_named_cause())
    return query.where(is_among(links.c.run_id, RUN_IDS), links.c.relation == Relation.CAUSED_BY.value)


_SOURCES: Final = id_list("sources")


@cache
def _said_caused() -> Any:
    """Select the runs that name one of `_SOURCES` as their cause."""
    return select(*_KIN_COLUMNS).where(is_among(runs.c.caused_by_run_id, _SOURCES))


@cache
def _linking() -> Any:
    """Select those of `_SOURCES` that name what they started."""
    return select(links.c.run_id).where(is_among(links.c.run_id, _SOURCES), links.c.relation == Relation.CAUSED.value)


@cache
def _linked() -> tuple[Any, Any]:
    """Select the runs that `_SOURCES` name by id, and by native key."""
    of_source = and_(is_among(links.c.run_id, _SOURCES), links.c.relation == Relation.CAUSED.value)
    by_id = select(*_KIN_COLUMNS).join(links, links.c.target_run_id == runs.c.run_id).where(of_source)
    same_key = and_(
        tuple_(links.c.target_native_key, links.c.engine, links.c.deployment)
        == tuple_(runs.c.native_key, runs.c.engine, runs.c.deployment)
    )
    return by_id, select(*_KIN_COLUMNS).join(links, same_key).where(of_source)


@cache
def _naming() -> Any:
    """Select the runs that name one of `_SOURCES` as their cause by a link of their own."""
    named = (
        select(links.c.run_id)
        .join(runs, _is_named_cause())
        .where(is_among(runs.c.run_id, _SOURCES), links.c.relation == Relation.CAUSED_BY.value)
    )
    return select(*_KIN_COLUMNS).where(runs.c.run_id.in_(named))


def _has_caused() -> ColumnElement[bool]:
    caused, told = runs.alias("caused"), links.alias("told")
    is_its_key = and_(
        told.c.target_native_key == runs.c.native_key,
        told.c.engine == runs.c.engine,
        told.c.deployment == runs.c.deployment,
    )
    is_named = told.c.relation == Relation.CAUSED_BY.value
    return or_(
        has_row(caused.c.caused_by_run_id == runs.c.run_id),
        has_row(told.c.run_id == runs.c.run_id, told.c.relation == Relation.CAUSED.value),
        has_row(told.c.target_run_id == runs.c.run_id, is_named),
        has_row(is_its_key, is_named),
    )


HAS_CAUSED: Final = _has_caused().label("has_caused")
"""Whether a run may have started others: of those alone that may, `find_caused` need be asked."""


def find_caused(connection: Connection, run_ids: Collection[UUID]) -> list[tuple[UUID, Any]]:
    """Return what these runs started, as pairs of the cause's id and the started run's row."""
    sources = set(run_ids)
    rows: dict[UUID, Any] = {}
    for chunk in chunks(sources, LISTED):
        of_chunk = {_SOURCES.key: chunk}
        found = [connection.execute(query, of_chunk) for query in (_said_caused(), _naming())]
        # Most runs name nothing that they started.
        if linking := list(set(connection.scalars(_linking(), of_chunk))):
            found += [connection.execute(query, {_SOURCES.key: linking}) for query in _linked()]
        rows.update((row.run_id, row) for result in found for row in result)
    causes = find_causes(connection, rows.values())
    pairs = ((row.caused_by_run_id or causes.get(run_id), row) for run_id, row in rows.items())
    return [(cause, row) for cause, row in pairs if cause is not None and cause in sources]


def find_correlated(connection: Connection, correlation_id: str) -> tuple[set[UUID], bool]:
    """Return the runs that have this correlation id, their own or an inherited one; and whether some were left out."""
    own = select(runs.c.run_id).where(runs.c.correlation_id == correlation_id).limit(MAX_CORRELATED + 1)
    found = set(connection.scalars(own))
    level: set[UUID] = set(found)
    while level and len(found) <= MAX_CORRELATED:
        below: set[UUID] = set()
        for chunk in chunks(list(level)):
            below.update(connection.scalars(select(runs.c.run_id).where(runs.c.parent_run_id.in_(chunk))))
        below.update(row.run_id for _, row in find_caused(connection, level))
        level = below - found
        found |= level
    if len(found) > MAX_CORRELATED:
        return set(sorted(found)[:MAX_CORRELATED]), True
    return found, False
