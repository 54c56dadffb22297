"""Of runs as they were in a past: their other attempts, their ancestry, and what caused them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import or_, select

from runvis_core.model.event import LinkEvent
from runvis_core.model.state import Relation
from runvis_core.services.ancestry import MAX_DEPTH, Ancestry, Kin
from runvis_core.services.past import PastRun, PastRuns
from runvis_core.services.reading import chunks
from runvis_core.store.tables import links, run_intervals

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class _Cause(NamedTuple):
    occurred_at: datetime
    position: int
    run: PastRun


def links_of(run: PastRun, relation: Relation) -> Iterator[tuple[LinkEvent, int]]:
    """Yield what a run said of how it stands to others, each with its position."""
    for one in run.record.collections.values():
        if isinstance(one.event, LinkEvent) and one.event.relation is relation:
            yield one.event, one.position


def key_of(run: PastRun) -> tuple[str, str, str | None]:
    """Return the native key of a run, with whose it is."""
    return (run.row.engine, run.row.deployment, run.row.native_key)


def find_by_key(past: PastRuns, keys: Iterable[str | None]) -> dict[tuple[str, str, str | None], list[PastRun]]:
    """Return the runs that had one of these native keys, by the key with whose it is, in the order of lists."""
    found: dict[tuple[str, str, str | None], list[PastRun]] = defaultdict(list)
    for chunk in chunks(sorted({key for key in keys if key is not None})):
        for run in past.find_where(run_intervals.c.native_key.in_(chunk), over="run_intervals_native_key"):
            found[key_of(run)].append(run)
    return found


def find_past_attempts(past: PastRuns, run: PastRun, *, limit: int) -> list[PastRun]:
    """Return all attempts of the thing that a run is an attempt of, the first one first."""
    if run.row.native_key is None:
        return [run]
    found = find_by_key(past, [run.row.native_key])[key_of(run)]
    kept = [one for one in found if one.row.became_run_id is None]
    return sorted(kept, key=lambda one: (one.row.attempt or 0, one.row.first_position))[:limit]


def find_past_previous(past: PastRuns, found: Sequence[PastRun]) -> dict[UUID, UUID]:
    """Return by run the attempt before it, for runs that don't name it themselves."""
    asking = [run for run in found if run.row.retry_of is None and run.row.native_key is not None]
    by_key = find_by_key(past, [run.row.native_key for run in asking])
    previous: dict[UUID, UUID] = {}
    for run in asking:
        earlier = [one for one in by_key[key_of(run)] if one.row.became_run_id is None and _is_earlier(one, run)]
        if earlier:
            previous[run.row.run_id] = max(earlier, key=_latest_last).row.run_id
    return previous


def _is_earlier(one: PastRun, run: PastRun) -> bool:
    mine, theirs = run.row, one.row
    if mine.attempt is None or theirs.attempt is None:
        return False
    if theirs.attempt != mine.attempt:
        return theirs.attempt < mine.attempt
    return None not in (theirs.started_at, mine.started_at) and theirs.started_at < mine.started_at


def _latest_last(run: PastRun) -> tuple[int, datetime, int]:
    return (run.row.attempt, run.row.started_at or _EARLIEST, run.row.first_position)


def find_past_ancestry(past: PastRuns, run_ids: Iterable[UUID]) -> Ancestry:
    """Return what runs descended from."""
    kin: dict[UUID, Kin] = {}
    level = set(run_ids)
    for _ in range(MAX_DEPTH):
        found = past.load(level)
        causes = find_past_causes(past, found)
        for run in found:
            row = run.row
            cause = row.caused_by_run_id or causes.get(row.run_id)
            kin[row.run_id] = Kin(row.definition is not None, row.parent_run_id, cause, row.correlation_id)
        above = {up for run in found for up in (kin[run.row.run_id].parent_run_id, _cause(kin, run)) if up is not None}
        level = above - kin.keys()
        if not level:
            break
    return Ancestry(kin)


def _cause(kin: dict[UUID, Kin], run: PastRun) -> UUID | None:
    return kin[run.row.run_id].caused_by_run_id


def find_past_causes(past: PastRuns, found: Iterable[PastRun]) -> dict[UUID, UUID]:
    """Return by run what links say caused it: the latest one whose source started no later than the run.

    Runs that name their cause themselves are passed over.
    """
    asking = [run for run in found if run.row.caused_by_run_id is None]
    by_id, by_key = _links_to(past, asking)
    named = _named_causes(past, asking)
    causes: dict[UUID, UUID] = {}
    for run in asking:
        run_id = run.row.run_id
        candidates = [*by_id[run_id], *by_key[key_of(run)], *named[run_id]]
        fitting = [cause for cause in candidates if _fits(cause, run)]
        if fitting:
            causes[run_id] = max(fitting, key=lambda cause: (cause.occurred_at, cause.position)).run.row.run_id
    return causes


def _fits(cause: _Cause, run: PastRun) -> bool:
    source_started_at = cause.run.row.started_at or cause.occurred_at
    started_at = run.row.started_at
    return cause.run.row.run_id != run.row.run_id and (started_at is None or source_started_at <= started_at)


def _links_to(past: PastRuns, found: Sequence[PastRun]) -> tuple[dict[Any, list[_Cause]], dict[Any, list[_Cause]]]:
    by_id: dict[Any, list[_Cause]] = defaultdict(list)
    by_key: dict[Any, list[_Cause]] = defaultdict(list)
    for source in past.load(_sources_of(past, found)):
        for link, position in links_of(source, Relation.CAUSED):
            cause = _Cause(link.occurred_at, position, source)
            if link.target_run_id is not None:
                by_id[link.target_run_id].append(cause)
            else:
                by_key[link.engine, link.deployment, link.target_native_key].append(cause)
    return by_id, by_key


def _sources_of(past: PastRuns, found: Sequence[PastRun]) -> set[UUID]:
    sources: set[UUID] = set()
    for chunk in chunks(found):
        keys = {run.row.native_key for run in chunk if run.row.native_key is not None}
        query = select(links.c.run_id).where(
            links.c.relation == Relation.CAUSED.value,
            links.c.position <= past.past.position,
            or_(links.c.target_run_id.in_([run.row.run_id for run in chunk]), links.c.target_native_key.in_(keys)),
        )
        sources |= set(past.connection.scalars(query))
    return sources


def _named_causes(past: PastRuns, found: Iterable[PastRun]) -> dict[UUID, list[_Cause]]:
    """Return by run the causes that it names itself: each attempt that has the named key."""
    said = [(run.row.run_id, link) for run in found for link, _ in links_of(run, Relation.CAUSED_BY)]
    by_key = find_by_key(past, [link.target_native_key for _, link in said])
    named: dict[UUID, list[_Cause]] = defaultdict(list)
    for run_id, link in said:
        if link.target_run_id is not None:
            target = past.find(link.target_run_id)
            sources = [target] if target is not None else []
        else:
            sources = by_key[link.engine, link.deployment, link.target_native_key]
        # When a cause started decides between its attempts, so it stands for the time of the link.
        named[run_id] += [
            _Cause(source.row.started_at or source.row.sort_at, source.row.first_position, source) for source in sources
        ]
    return named


def find_past_caused(past: PastRuns, found: Collection[PastRun]) -> dict[UUID, list[PastRun]]:
    """Return by run what it started, in the order of lists."""
    sources = {run.row.run_id: run for run in found}
    started = {run.row.run_id: run for run in _maybe_caused(past, list(sources.values()))}
    causes = find_past_causes(past, started.values())
    caused: dict[UUID, list[PastRun]] = defaultdict(list)
    for run_id, run in started.items():
        cause = run.row.caused_by_run_id or causes.get(run_id)
        if cause is not None and cause in sources:
            caused[cause].append(run)
    for runs in caused.values():
        runs.sort(key=lambda run: (run.row.sort_at, run.row.run_id))
    return caused


def _maybe_caused(past: PastRuns, sources: Sequence[PastRun]) -> Iterator[PastRun]:
    said = [link for source in sources for link, _ in links_of(source, Relation.CAUSED)]
    yield from past.load([link.target_run_id for link in said if link.target_run_id is not None])
    for runs in find_by_key(past, [link.target_native_key for link in said]).values():
        yield from runs
    for chunk in chunks(sources):
        run_ids = [source.row.run_id for source in chunk]
        yield from past.find_where(run_intervals.c.caused_by_run_id.in_(run_ids), over="run_intervals_cause")
        keys = [source.row.native_key for source in chunk if source.row.native_key is not None]
        named = select(links.c.run_id).where(
            links.c.relation == Relation.CAUSED_BY.value,
            links.c.position <= past.past.position,
            or_(links.c.target_run_id.in_(run_ids), links.c.target_native_key.in_(keys)),
        )
        yield from past.load(past.connection.scalars(named))
