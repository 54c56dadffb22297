"""Who was heard, and when: the installations of engines that a store knows, and how far its log goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

import orjson
from pydantic import AwareDatetime, Field
from sqlalchemy import CTE, BigInteger, Column, Connection, ScalarSelect, bindparam, func, select

from runvis_core.model.state import Witness
from runvis_core.services.answers import Answer
from runvis_core.services.distinct import each, is_name
from runvis_core.services.reading import RUN_IDS, chunks, find_entries, reading
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import definitions, entries, head, liveness, runs

LOOKED_AT: Final = 5
"""Of how many definitions of a source, those that ran last, it is looked who told of them."""
LAST_ENTRIES: Final = 200
"""Among how many of the log's last entries it is looked who was heard."""
LAST_BEATS: Final = 200
"""Of how many runs, those that gave a sign of life last, it is looked whose they are."""


class SourceView(Answer):
    """An installation of an engine, when it was last heard, and when its last run was first heard of."""

    engine: str
    deployment: str
    last_at: AwareDatetime | None = None
    """When the last of its runs that lie in no other was first heard of; None before the first one."""
    heard_at: AwareDatetime | None = None
    """When it was last heard, by the store's clock: by the log's last entries, those of its last runs, or a heartbeat.

    None where that was not looked at.
    """
    by_heartbeat: bool = False
    """Whether that was a heartbeat."""
    witnesses: list[str] = Field(default_factory=list[str])
    """Who told of its last runs, or of it in the log's last entries; empty where that was not looked at."""


class Heard(Answer):
    """What a store knows at all."""

    sources: list[SourceView]
    position: int
    """How long the log is."""
    recorded_at: AwareDatetime | None = None
    """When its last entry was recorded."""


Source = tuple[str, str]
"""An engine and its deployment."""


def get_heard(store: Store) -> Heard:
    """Return who was heard, and how far the log goes."""
    with reading(store) as connection:
        end = connection.execute(select(head.c.position, head.c.recorded_at)).one()
        return Heard(sources=_sources(connection, end.position), position=end.position, recorded_at=end.recorded_at)


def _sources(connection: Connection, end: int) -> list[SourceView]:
    recent = _find_recent(connection)
    words = _read_last_words(connection, end)
    told_by = count_entries(connection, [row.run_id for rows in recent.values() for row in rows])
    # What is not among the log's last entries was heard at least when its last runs were told of.
    quiet = {source: rows for source, rows in recent.items() if rows and source not in words}
    said_at = {source: word.heard_at for source, word in words.items()} | _find_last_told(connection, quiet)
    beat_at = _find_last_beats(connection)
    return [
        SourceView(
            engine=source[0],
            deployment=source[1],
            last_at=recent[source][0].sort_at if recent.get(source) else None,
            heard_at=max((at for at in (said_at.get(source), beat_at.get(source)) if at), default=None),
            by_heartbeat=source in beat_at and (source not in said_at or beat_at[source] > said_at[source]),
            witnesses=sorted(
                {name for row in recent.get(source, []) for name in told_by.get(row.run_id, (0, []))[1]}
                | (words[source].witnesses if source in words else set[str]())
            ),
        )
        for source in sorted({*recent, *words, *beat_at})
    ]


class _LastWord(NamedTuple):
    """When a source was heard last among the log's last entries, and who spoke in them."""

    heard_at: datetime
    witnesses: set[str]


def _read_last_words(connection: Connection, end: int) -> dict[Source, _LastWord]:
    """Return of each source that is among the log's last entries when it was heard last, and who spoke."""
    words: dict[Source, _LastWord] = {}
    rows: Iterable[Any] = connection.execute(_LAST_ENTRIES, {"after": end - LAST_ENTRIES})
    for row in rows:
        if row.witness in _OURSELVES:
            continue
        envelope = orjson.loads(row.entry)
        source = (envelope["event"]["engine"], envelope["event"]["deployment"])
        if source not in words:
            words[source] = _LastWord(datetime.fromisoformat(envelope["recorded_at"]), set())
        words[source].witnesses.add(row.witness)
    return words


_OURSELVES: Final = frozenset({Witness.OPERATOR.value, Witness.RECONCILER.value})
"""Who is no part of any source."""
# By where it begins: of a limit alone SQLite says that it goes through the whole log.
_LAST_ENTRIES: Final = (
    select(entries.c.witness, entries.c.entry)
    .where(entries.c.position > bindparam("after", type_=BigInteger))
    .order_by(entries.c.position.desc())
)


def _find_last_told(connection: Connection, runs_of: Mapping[Source, Sequence[Any]]) -> dict[Source, datetime]:
    """Return by source when the last entry about any of these runs was recorded."""
    wanted = {row.run_id: source for source, rows in runs_of.items() for row in rows}
    last: dict[Source, int] = {}
    for chunk in chunks(wanted):
        for run_id, position in connection.execute(_LAST_POSITIONS, {RUN_IDS.key: chunk}):
            source = wanted[run_id]
            last[source] = max(position, last.get(source, 0))
    found = find_entries(connection, last.values())
    return {source: found[position].recorded_at for source, position in last.items() if position in found}


_LAST_POSITIONS: Final = (
    select(entries.c.run_id, func.max(entries.c.position))
    .where(is_among(entries.c.run_id, RUN_IDS), entries.c.witness.not_in(_OURSELVES))
    .group_by(entries.c.run_id)
)


def _find_last_beats(connection: Connection) -> dict[Source, datetime]:
    """Return by source when a run of it gave a sign of life last, as far as that is among the last ones."""
    beats = {row.run_id: row.last_heartbeat_at for row in connection.execute(_LAST_BEATS)}
    found: dict[Source, datetime] = {}
    for chunk in chunks(beats):
        for row in connection.execute(_SOURCES_OF, {RUN_IDS.key: chunk}):
            source = (row.engine, row.deployment)
            found[source] = max(beats[row.run_id], found.get(source, beats[row.run_id]))
    return found


_LAST_BEATS: Final = (
    select(liveness.c.run_id, liveness.c.last_heartbeat_at)
    .order_by(liveness.c.last_heartbeat_at.desc(), liveness.c.run_id)
    .limit(LAST_BEATS)
)
_SOURCES_OF: Final = select(runs.c.run_id, runs.c.engine, runs.c.deployment).where(is_among(runs.c.run_id, RUN_IDS))


def _find_recent(connection: Connection) -> dict[Source, list[Any]]:
    """Return of each source of which a definition is known the last runs of those that ran last, the newest first."""
    found: dict[Source, list[Any]] = {}
    for row in connection.execute(_last_runs()):
        known = found.setdefault((row.engine, row.deployment), [])
        # It has no name where nothing ran yet, and no run where all of this name became others.
        if row.run_id is not None:
            known.append(row)
    return {source: _latest(rows) for source, rows in found.items()}


# Built once: to build it takes longer than to run it.
@cache
def _last_runs() -> Any:
    """Select the last run of each definition that has runs which lie in no other; never a look at all runs or tasks."""
    engines = each(None, definitions.c.engine)
    deployments = each(engines, definitions.c.deployment)
    named = each(deployments, runs.c.definition, runs.c.parent_run_id.is_(None))
    # Each column is looked up by itself: of a join PostgreSQL expects that there are as many names as runs.
    run_id, sort_at = (_of_last_run(named, column).label(column.name) for column in (runs.c.run_id, runs.c.sort_at))
    found = select(named.c.engine, named.c.deployment, run_id, sort_at)
    # Also the empty name, which each deployment has before its first: so that one of which no run is known is there.
    return found.where(is_name(named.c.deployment), named.c.definition.is_not(None))


def _of_last_run(named: CTE, column: Column[Any]) -> ScalarSelect[Any]:
    same_names = [runs.c[name] == named.c[name] for name in ("engine", "deployment", "definition")]
    last = select(column).where(*same_names, runs.c.parent_run_id.is_(None), runs.c.became_run_id.is_(None))
    return last.order_by(runs.c.sort_at.desc(), runs.c.run_id.desc()).limit(1).scalar_subquery()


def _latest(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row.sort_at, row.run_id), reverse=True)[:LOOKED_AT]
