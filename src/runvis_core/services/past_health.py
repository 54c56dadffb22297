"""How definitions stood in a past: which were failing or late, and who had been heard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, select

from runvis_core.services.answers import RunRef, RunSummary
from runvis_core.services.days import find_counted_until, find_days
from runvis_core.services.entries import find_recorded_at
from runvis_core.services.feed import is_unexplained
from runvis_core.services.health import SHOWN, get_health, with_missed
from runvis_core.services.past import Past, PastRun, PastRuns, bounds, covers, name_past, reading_past
from runvis_core.services.past_feed import find_past_failed_inside
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_runs import summarise_past
from runvis_core.services.reading import chunks, read_envelope
from runvis_core.services.run_refs import run_ref_fields
from runvis_core.services.schedules import Missed, count_missed
from runvis_core.services.sources import Heard, SourceView
from runvis_core.services.stats_answers import DefinitionHealth, Health
from runvis_core.services.steps import ROLLUPS
from runvis_core.store.database import Store
from runvis_core.store.health import BAD, GOOD
from runvis_core.store.intervals import INTERVALS
from runvis_core.store.tables import definition_versions, definitions, entries, outer_definitions, run_intervals
from runvis_core.store.tables import runs as run_rows

_UNTOLD: Final = "Silence is told of now alone: heartbeats are not in the log"


_EVER: Final = datetime.min.replace(tzinfo=UTC)


class PastStanding(NamedTuple):
    """What an overview says of a past."""

    health: Health
    heard: Heard


def get_health_at(store: Store, past: PastFilter, *, now: datetime) -> Health:
    """Return what is or was broken; see `get_health` and `get_past_standing`.

    Lateness counts from the past's moment, else from when its last entry was recorded.
    """
    if past.is_present:
        return get_health(store, now=now)
    with reading_past(store, past, now=now) as (_, found):
        position = found.position
    at = past.as_of or find_recorded_at(store, position) or now
    return get_past_standing(store, past, now=now, at=at).health


def get_past_standing(store: Store, asked: PastFilter, *, now: datetime, at: datetime) -> PastStanding:
    """Return which definitions were failing or late in a past, and who had been heard by then.

    `at` is the moment that lateness counts from. Silent runs are left out. The counts by day are those of
    `find_counted_until`: the notes say both.
    Raises `PastError`.
    """
    until = find_counted_until(asked)
    with reading_past(store, asked, now=now, steps=(INTERVALS, ROLLUPS)) as (connection, past):
        runs = PastRuns(connection, past)
        stands = _find_stands(runs)
        failing = sorted((one for one in stands if one.is_failing), key=_by_last_run, reverse=True)
        late = _find_late(connection, past, stands, at)
        described = _Describer(runs, [*failing[:SHOWN], *(one for one, _ in late[:SHOWN])])
        health = Health(
            at=at,
            failing=[described.health_of(one) for one in failing[:SHOWN]],
            failing_count=len(failing),
            late=[with_missed(described.health_of(one), missed) for one, missed in late[:SHOWN]],
            late_count=len(late),
            silent=[],
            silent_count=0,
            days=find_days(connection, until=until) if until is not None else [],
            notes=[f"This is {name_past(past)}. {_UNTOLD}. {_name_counts(until)}"],
        )
        return PastStanding(health, _heard(connection, past, stands))


def _name_counts(until: datetime | None) -> str:
    if until is None:
        return "So are the counts by day: they are kept by how runs stand now."
    return f"The counts by day are of the runs before {until:%Y-%m-%d %H:%M} UTC, by how these stand now."


class _Stand(NamedTuple):
    """How a definition stood whose runs lay in no other: its latest run, and the last ones that ended in these ways."""

    key: tuple[str, str, str, str]
    latest_at: datetime
    last_id: UUID | None
    last_at: datetime | None
    good_id: UUID | None
    good_at: datetime | None

    @property
    def is_failing(self) -> bool:
        return self.last_id is not None and self.last_id != self.good_id


def _find_stands(runs: PastRuns) -> list[_Stand]:
    """Return the definitions whose latest run lay in no other.

    Each of which that may be so is looked up by its index from its end: no list of runs is read. Most are of tasks,
    whose runs always lay in others: of these nothing is asked.
    """
    within = [*covers(runs.past), *bounds(runs.connection, runs.past), run_intervals.c.became_run_id.is_(None)]
    named_at = definitions.c.first_position
    query = (
        select(named_at, _last_run(within, only_if=run_intervals.c.parent_run_id.is_(None)))
        .join(outer_definitions, and_(*(definitions.c[column.name] == column for column in outer_definitions.columns)))
        .where(named_at <= runs.past.position)
    )
    rows = runs.connection.execute(query)
    latest: dict[int, UUID] = {position: run_id for position, run_id in rows if run_id is not None}
    ended = _find_ended(runs, within, list(latest))
    began = _find_begin(runs, {*latest.values(), *(one for row in ended for one in (row.last, row.good) if one)})
    return [
        _Stand(
            key=(row.engine, row.deployment, row.definition, row.definition_kind),
            latest_at=began[latest[row.first_position]],
            last_id=row.last,
            last_at=began[row.last] if row.last else None,
            good_id=row.good,
            good_at=began[row.good] if row.good else None,
        )
        for row in ended
    ]


_KEY: Final = (
    definitions.c.engine,
    definitions.c.deployment,
    definitions.c.definition,
    definitions.c.definition_kind,
)


def _find_ended(runs: PastRuns, within: Sequence[ColumnElement[bool]], named_at: Sequence[int]) -> list[Any]:
    """Return of definitions the last run that had ended well or badly, and the last that had ended well.

    The definitions are those that were first named at these positions.
    """
    states = run_intervals.c.effective_state
    last = _last_run([*within, states.in_((*GOOD, *BAD))]).label("last")
    good = _last_run([*within, states.in_(GOOD)]).label("good")
    query = select(definitions.c.first_position, *_KEY, last, good)
    found: list[Any] = []
    for chunk in chunks(named_at):
        found += runs.connection.execute(query.where(definitions.c.first_position.in_(chunk)))
    return found


def _last_run(conditions: Sequence[ColumnElement[bool]], only_if: ColumnElement[bool] | None = None) -> Any:
    """Select a definition's last run for which conditions hold; nothing unless `only_if` holds of just that one."""
    column = run_intervals.c
    return (
        select(column.run_id if only_if is None else case((only_if, column.run_id)))
        .join(run_rows, run_rows.c.run_id == column.run_id)
        .where(
            column.engine == definitions.c.engine,
            column.deployment == definitions.c.deployment,
            column.definition == definitions.c.definition,
            run_rows.c.definition_kind == definitions.c.definition_kind,
            *conditions,
        )
        .order_by(column.sort_at.desc(), column.run_id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _find_begin(runs: PastRuns, run_ids: Iterable[UUID]) -> dict[UUID, datetime]:
    """Return where runs stood in the order of lists."""
    column = run_intervals.c
    found: dict[UUID, datetime] = {}
    for chunk in chunks(sorted(run_ids)):
        query = select(column.run_id, column.sort_at).where(*covers(runs.past), column.run_id.in_(chunk))
        found.update((row.run_id, row.sort_at) for row in runs.connection.execute(query))
    return found


def _by_last_run(one: _Stand) -> tuple[Any, ...]:
    return (one.last_at, one.key)


def _find_late(
    connection: Connection, past: Past, stands: Sequence[_Stand], at: datetime
) -> list[tuple[_Stand, Missed]]:
    schedules = _find_schedules(connection, past)
    late: list[tuple[_Stand, Missed]] = []
    for one in stands:
        schedule = schedules.get(one.key)
        missed = count_missed(schedule, last_begun_at=one.latest_at, now=at) if schedule else None
        if missed:
            late.append((one, missed))
    return sorted(late, key=lambda found: (found[1].first_at, found[0].key))


def _find_schedules(connection: Connection, past: Past) -> dict[tuple[str, ...], str | None]:
    """Return by definition the schedule of the version that was its newest then."""
    version = definition_versions.c
    key = (version.engine, version.deployment, version.definition, version.definition_kind)
    query = select(*key, version.schedule).where(version.position <= past.position).order_by(version.position)
    if past.moment is not None:
        query = query.where(version.occurred_at <= past.moment)
    return {tuple(row[:4]): row.schedule for row in connection.execute(query)}


class _Describer:
    """Says of definitions what a page shows, each run read once."""

    def __init__(self, runs: PastRuns, stands: Sequence[_Stand]) -> None:
        wanted = {run_id for one in stands for run_id in (one.last_id, one.good_id) if run_id is not None}
        found = runs.load(sorted(wanted))
        self._runs = {run.row.run_id: run for run in found}
        failing = [one.last_id for one in stands if one.is_failing and one.last_id is not None]
        items = summarise_past(runs, runs.load(failing))
        self._summaries: dict[UUID, RunSummary] = {item.run_id: item for item in items}
        self._inside = find_past_failed_inside(runs, [item.run_id for item in items if is_unexplained(item)])
        self._since = _failing_since(runs, [one for one in stands if one.is_failing])

    def health_of(self, one: _Stand) -> DefinitionHealth:
        """Return how a definition stood."""
        summary = self._summaries.get(one.last_id) if one.last_id else None
        inside = self._inside.get(one.last_id) if one.last_id else None
        failure = (inside.failure if inside else None) or (summary.failure if summary else None)
        engine, deployment, definition, kind = one.key
        return DefinitionHealth(
            engine=engine,
            deployment=deployment,
            definition=definition,
            kind=kind,
            is_inner=False,
            last_run=self._ref(one.last_id),
            last_good=self._ref(one.good_id),
            failing_since=self._since.get(one.key),
            error_type=failure.error_type if failure else None,
            failure_line=failure.line if failure else None,
            last_begun_at=one.latest_at,
        )

    def _ref(self, run_id: UUID | None) -> RunRef | None:
        run: PastRun | None = self._runs.get(run_id) if run_id else None
        return RunRef(**run_ref_fields(run.row, corrected=bool(run.record.corrections))) if run else None


def _failing_since(runs: PastRuns, stands: Iterable[_Stand]) -> dict[tuple[str, ...], datetime | None]:
    """Return by definition where the first bad run after its last good one stood in the order of lists."""
    column = run_intervals.c
    named = (column.engine, column.deployment, column.definition)
    # Built once: to build it takes longer than to run it.
    query = (
        select(column.sort_at)
        .where(
            *covers(runs.past),
            *(one == bindparam(f"of_{one.name}") for one in named),
            column.became_run_id.is_(None),
            column.effective_state.in_(BAD),
            column.sort_at > bindparam("good_at"),
        )
        .order_by(column.sort_at)
        .limit(1)
    )
    found: dict[tuple[str, ...], datetime | None] = {}
    for one in stands:
        values = {f"of_{part.name}": value for part, value in zip(named, one.key[: len(named)], strict=True)}
        found[one.key] = runs.connection.scalar(query, {**values, "good_at": one.good_at or _EVER})
    return found


def _heard(connection: Connection, past: Past, stands: Sequence[_Stand]) -> Heard:
    found: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for one in stands:
        found[one.key[0], one.key[1]].append(one.latest_at)
    data = connection.scalar(select(entries.c.entry).where(entries.c.position == past.position))
    sources = [
        SourceView(engine=engine, deployment=deployment, last_at=max(moments))
        for (engine, deployment), moments in sorted(found.items())
    ]
    recorded_at = read_envelope(past.position, data).recorded_at if data is not None else None
    return Heard(sources=sources, position=past.position, recorded_at=recorded_at)
