"""What is worth a notice by a rule: ends of runs that the log's next entries tell of, silent runs, and new loops.

Everything here only reads. The same occasion may be found again and again: the queue tells of it once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, case, exists, func, literal, or_, select

from runvis_core.model.state import TERMINAL_STATES
from runvis_core.services.filters import RunFilter
from runvis_core.services.notify.rules import Rule
from runvis_core.services.reading import LISTED, RUN_IDS, chunks, has_row
from runvis_core.services.runs import run_conditions
from runvis_core.services.silence import has_fallen_silent
from runvis_core.services.steps import FAILURES
from runvis_core.store.id_lists import is_among
from runvis_core.store.steps import list_lags
from runvis_core.store.tables import entries, head, lineage_turns, liveness, notices, runs, testimonies

CHUNK: Final = 1000
"""Entries and turns that one look takes, and silent runs that it finds."""

Definition = tuple[str, str, str, str]
"""Engine, deployment, kind and name: a name alone may be another engine's, too."""


class Occasion(NamedTuple):
    """One thing to tell of."""

    kind: str
    run_id: UUID
    definition: Definition | None
    """None while nobody has said of what the run is."""
    position: int
    """Where the log stood."""
    detail: str
    """What makes it another occasion with the same run: the same one is told once."""
    state: str | None = None
    """In which state the run ended."""


class Look(NamedTuple):
    """What was found in a stretch of the log."""

    upto: int
    """The last position that was looked at."""
    size: int
    """How many entries or turns lie in it."""
    found: list[Occasion]


_RUNS: Final = runs.alias("looked_at")
"""The runs that are looked at, by their ids. What the filters ask of each is asked in a statement within: beside the
ids, SQLite would rather follow a filter through all runs of an engine or in a state."""
_DEFINITION: Final = (_RUNS.c.engine, _RUNS.c.deployment, _RUNS.c.definition_kind, _RUNS.c.definition)

# Built once: to build such a statement takes longer than to run it.
_SAID_AT: Final = case(
    (
        _RUNS.c.frozen_position.is_(None),
        select(func.max(entries.c.position))
        .where(entries.c.run_id == _RUNS.c.run_id, entries.c.kind == literal("presumption"))
        .correlate(_RUNS)
        .scalar_subquery(),
    ),
    else_=select(func.min(testimonies.c.position))
    .where(testimonies.c.run_id == _RUNS.c.run_id, testimonies.c.state == _RUNS.c.effective_state)
    .correlate(_RUNS)
    .scalar_subquery(),
)
"""Where the log says that a run ended in its effective state: by the first word for it, or by a presumption."""
_HAS_ENDED: Final = runs.c.effective_state.in_([state.value for state in TERMINAL_STATES])


def find_ends(connection: Connection, rule: Rule, *, after: int, floor: int, limit: int, now: datetime) -> Look:
    """Return the runs with news in the next entries that are at an end now, as the rule asks for.

    Each entry about a run makes it looked at again, whatever it says: what the rule asks for may come after the end, as
    the definition may, or another word on how the run ended. Ends that the log says up to `floor` are left out.
    """
    ahead = select(entries.c.position, entries.c.run_id).where(entries.c.position > after)
    bound = _find_bound(connection, rule)
    if bound is not None:
        ahead = ahead.where(entries.c.position <= bound)
    rows = connection.execute(ahead.order_by(entries.c.position).limit(limit)).all()
    if not rows:
        return Look(after, 0, [])
    matches = _matches(connection, rule.filters, now, _HAS_ENDED)
    touched = list({row.run_id for row in rows if row.run_id is not None})
    query = select(_RUNS.c.run_id, _RUNS.c.effective_state, _SAID_AT.label("said_at"), *_DEFINITION).where(
        is_among(_RUNS.c.run_id, RUN_IDS), matches
    )
    found = [
        Occasion("run_ended", row.run_id, _read_definition(row), row.said_at, row.effective_state, row.effective_state)
        for row in connection.execute(query, {RUN_IDS.key: touched})
        if row.said_at is not None and row.said_at > floor
    ]
    return Look(rows[-1].position, len(rows), sorted(found, key=lambda occasion: occasion.position))


def find_silent(connection: Connection, rule: Rule, *, since: datetime, now: datetime) -> list[Occasion]:
    """Return runs that are silent and were not told of since their last sign of life, the longest silent first.

    What they may have said before `since` nobody heard: they are given as long from then on.
    """
    end: int = connection.execute(select(head.c.position)).scalar_one()
    is_told = exists().where(
        notices.c.rule == rule.name,
        notices.c.kind == literal("silence"),
        notices.c.run_id == liveness.c.run_id,
        notices.c.made_at >= liveness.c.last_heartbeat_at,
    )
    query = select(liveness.c.run_id, liveness.c.last_heartbeat_at)
    query = query.where(has_fallen_silent(now, since=since), ~is_told)
    beats = {row.run_id: row.last_heartbeat_at for row in connection.execute(query)}
    # Those that are silent are told apart here, not by the filter: it stops at so many of them.
    filters = rule.filters.model_copy(update={"silent": False})
    matches = _matches(connection, filters, now, runs.c.frozen_position.is_(None))
    matching = select(_RUNS.c.run_id, *_DEFINITION).where(is_among(_RUNS.c.run_id, RUN_IDS), matches)
    found: list[Occasion] = []
    for run_ids in chunks(sorted(beats, key=lambda run_id: (beats[run_id], run_id)), LISTED):
        rows = {row.run_id: row for row in connection.execute(matching, {RUN_IDS.key: run_ids})}
        found += [
            Occasion("silence", run_id, _read_definition(rows[run_id]), end, beats[run_id].isoformat())
            for run_id in run_ids
            if run_id in rows
        ]
        if len(found) >= CHUNK:
            break
    return found[:CHUNK]


def find_loops(connection: Connection, rule: Rule, *, after: int, now: datetime) -> Look:
    """Return the next turns that are the first through their definitions."""
    turns, earlier = lineage_turns, lineage_turns.alias()
    ahead = select(turns.c.position).where(turns.c.position > after)
    bound = _find_bound(connection, rule)
    if bound is not None:
        ahead = ahead.where(turns.c.position <= bound)
    positions = list(connection.scalars(ahead.order_by(turns.c.position).limit(CHUNK)))
    if not positions:
        return Look(after, 0, [])
    query = (
        select(turns.c.run_id, turns.c.cycle, turns.c.position, *_DEFINITION)
        .join(_RUNS, _RUNS.c.run_id == turns.c.run_id)
        .where(
            turns.c.position > after,
            turns.c.position <= positions[-1],
            ~exists().where(earlier.c.cycle == turns.c.cycle, earlier.c.position < turns.c.position),
            _matches(connection, rule.filters, now),
        )
        .order_by(turns.c.position)
    )
    found = [
        Occasion("loop_detected", row.run_id, _read_definition(row), row.position, str(row.cycle))
        for row in connection.execute(query)
    ]
    return Look(positions[-1], len(positions), found)


def find_told_lately(connection: Connection, rule: Rule, now: datetime) -> set[tuple[str, Definition]]:
    """Return of which definitions the rule told, by kind, since it may repeat itself."""
    query = (
        select(notices.c.kind, *_DEFINITION)
        .join(_RUNS, _RUNS.c.run_id == notices.c.run_id)
        .where(
            notices.c.rule == rule.name,
            or_(*(notices.c.outcome == outcome for outcome in ("pending", "sent", "refused"))),
            notices.c.made_at > now - rule.repeat_after,
        )
        .distinct()
    )
    told = ((row.kind, _read_definition(row)) for row in connection.execute(query))
    return {(kind, definition) for kind, definition in told if definition is not None}


def _read_definition(row: Any) -> Definition | None:
    if row.definition is None:
        return None
    return (row.engine, row.deployment, row.definition_kind or "", row.definition)


def _matches(
    connection: Connection, filters: RunFilter, now: datetime, *more: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Return the condition that a run of `_RUNS` is one that filters let through, and of which more holds in `runs`."""
    conditions, _ = run_conditions(connection, filters, now)
    return has_row(runs.c.run_id == _RUNS.c.run_id, *conditions, *more)


def _find_bound(connection: Connection, rule: Rule) -> int | None:
    """Return up to where what the rule's filters read is derived; None where they read what comes with the log."""
    if rule.filters.text is None:
        return None
    (lag,) = list_lags(connection, [FAILURES])
    return lag.position
