"""All that is known about one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, Select, Table, literal, select, union_all

from runvis_core.model.state import LIFECYCLE_RANK, State
from runvis_core.services.answers import (
    AliasView,
    CorrectionView,
    LateFactView,
    LinkView,
    Liveness,
    LogView,
    Report,
    RunDetail,
    SaidView,
    TestimonyView,
    Transition,
)
from runvis_core.services.definitions import find_version
from runvis_core.services.judgement import JUDGED_KINDS, find_judgement
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import RUN_ID, LoggedEntry, find_bodies, has_row, read_envelope, reading
from runvis_core.services.run_refs import SUMMARY_COLUMNS, find_attempts, is_in
from runvis_core.services.run_summaries import Context, as_text, find_contexts, summarise
from runvis_core.services.run_trees import build_tree
from runvis_core.services.silence import find_silent_among, is_overdue
from runvis_core.services.spans import SpanFacts
from runvis_core.services.tree_statements import UNDER
from runvis_core.services.unshown import Unshown
from runvis_core.store.database import Store
from runvis_core.store.tables import aliases, corrections, entries, links, liveness, run_late, runs, testimonies

TRANSITION_KINDS: Final = ("state", "snapshot")
SAID_KINDS: Final = ("note", "action")
MAX_ITEMS: Final = 1000
"""How many attempts, transitions, links, notes and so on a run's page shows of each kind."""


# Built once each: to build such a statement takes longer than to run it.


def _of_run(table: Table) -> Select[Any]:
    return select(table).where(table.c.run_id == RUN_ID)


_EARLIER: Final = runs.alias("earlier")
_RUN: Final = select(
    *SUMMARY_COLUMNS,
    *UNDER,
    is_in(links, "has_links"),
    is_in(aliases, "has_aliases"),
    is_in(liveness, "has_liveness"),
    has_row(_EARLIER.c.became_run_id == runs.c.run_id).label("has_provisional"),
).where(runs.c.run_id == RUN_ID)
_LIVENESS: Final = _of_run(liveness)
_LATE, _LINKS, _ALIASES = (
    _of_run(table).order_by(table.c.position).limit(MAX_ITEMS) for table in (run_late, links, aliases)
)


def _words_on(table: Table) -> Select[Any]:
    """Select what was testified of a run's end, each word with the entry that it stands in."""
    query = select(table, entries.c.entry).join(entries, entries.c.position == table.c.position)
    return query.where(table.c.run_id == RUN_ID).order_by(table.c.position)


_CORRECTIONS: Final = _words_on(corrections)
_TESTIMONY: Final = _words_on(testimonies).limit(MAX_ITEMS)
_PROVISIONAL: Final = (
    select(runs.c.run_id)
    .where(runs.c.became_run_id == RUN_ID)
    # In their order SQLite would look through all runs.
    .with_hint(runs, "INDEXED BY runs_became", "sqlite")
    .order_by(runs.c.sort_at, runs.c.run_id)
    .limit(MAX_ITEMS)
)

_GROUPS: Final = (TRANSITION_KINDS, JUDGED_KINDS, SAID_KINDS)


def _told_of(group: int, kinds: tuple[str, ...]) -> Select[Any]:
    query = select(literal(group).label("group"), entries.c.position, entries.c.entry)
    query = query.where(entries.c.run_id == RUN_ID, entries.c.kind.in_(kinds))
    return select(query.order_by(entries.c.position).limit(MAX_ITEMS).subquery())


_TOLD: Final = union_all(*(_told_of(*one) for one in enumerate(_GROUPS)))
"""Of each group of kinds the first entries about a run."""


def get_run(store: Store, name: str, *, now: datetime) -> RunDetail:
    """Return all that is known about a run.

    `name` is its id or the first six characters of it and more, the engine's own id, an alias, or the id of one of its
    corrections. Raises `NotFoundError`, naming near ones, if there is no such run.
    """
    return get_drawn_run(store, name, now=now).run


class DrawnRun(NamedTuple):
    """All that is known about a run, and what a drawing of its tree needs beyond that."""

    run: RunDetail
    facts: dict[UUID, SpanFacts]
    """By run, of all that the tree shows."""
    unshown: dict[UUID, Unshown]
    """By run, what of its children the tree leaves out."""


def get_drawn_run(store: Store, name: str, *, now: datetime) -> DrawnRun:
    """Return what `get_run` does, and what a drawing needs, both of one moment."""
    with reading(store) as connection:
        run_id = resolve_run(connection, name)
        row = connection.execute(_RUN, {RUN_ID.key: run_id}).one()
        contexts = find_contexts(connection, [row])
        (summary,) = summarise(connection, [row], whole=True, contexts=contexts)
        testimony = _testimony(connection, run_id)
        moved, judged, said = _find_told(connection, run_id)
        transitions = find_transitions(moved)
        tree = build_tree(connection, row)
        silent = find_silent_among(connection, tree.going_on, now=now)
        run = RunDetail(
            **dict(summary),
            asked_for=name,
            retry_expected_at=row.retry_expected_at,
            definition_version=find_version(connection, row.definition_version_id),
            provisional_run_ids=_provisional(connection, run_id) if row.has_provisional else [],
            frozen_position=row.frozen_position,
            attempts=find_attempts(connection, row, limit=MAX_ITEMS),
            transitions=transitions,
            testimony=testimony,
            corrections=_corrections(connection, run_id) if row.is_corrected else [],
            **find_judgement(
                connection,
                judged,
                summary.state,
                frozen_position=row.frozen_position,
                testimony=testimony,
                transitions=transitions,
            ),
            late=_late_facts(connection, run_id) if row.has_late else [],
            links=_links(connection, run_id) if row.has_links else [],
            aliases=_aliases(connection, run_id) if row.has_aliases else [],
            said=find_said(connection, run_id, said),
            log=find_log(connection, run_id, contexts[run_id]),
            liveness=_liveness(connection, run_id, now) if row.has_liveness else None,
            tree=tree.top,
        )
        silent_facts = {found: tree.facts[found]._replace(is_silent=True) for found in silent}
        return DrawnRun(run, {**tree.facts, **silent_facts}, tree.unshown)


def _find_told(connection: Connection, run_id: UUID) -> list[list[LoggedEntry]]:
    """Return what was told of a run's states, of who is right about them, and beside them; each in the log's order."""
    groups: list[list[LoggedEntry]] = [[] for _ in _GROUPS]
    rows: Sequence[Any] = connection.execute(_TOLD, {RUN_ID.key: run_id}).all()
    for row in sorted(rows, key=lambda row: row.position):
        groups[int(row.group)].append(read_envelope(row.position, row.entry))
    return groups


def find_transitions(told: Iterable[LoggedEntry], *, until: datetime | None = None) -> list[Transition]:
    """Return the states that the run was in, one after the other, each with everybody who reported it.

    A snapshot's times count where nobody reported the transition itself, and only those that lie before `until`.
    """
    reported: list[tuple[datetime, State, str | None, Report]] = []
    snapshots: list[LoggedEntry] = []
    for entry in told:
        if entry.event["kind"] == "snapshot":
            snapshots.append(entry)
        else:
            report = entry.report()
            state = State(entry.event["state"])
            reported.append((report.occurred_at, state, entry.event.get("native_state"), report))
    known = {state for _, state, _, _ in reported}
    for entry in snapshots:
        words = _snapshot_words(entry)
        reported += [one for one in words if one[1] not in known and (until is None or one[0] <= until)]
    reported.sort(key=lambda words: (words[0], LIFECYCLE_RANK[words[1]], words[3].position))
    return _with_durations(_merged(reported))


def _snapshot_words(entry: LoggedEntry) -> list[tuple[datetime, State, str | None, Report]]:
    event, report = entry.event, entry.report()
    state = State(event["state"]) if event.get("state") else None
    words: list[tuple[datetime, State, str | None, Report]] = []
    for name, implied in (("queued_at", State.QUEUED), ("started_at", State.RUNNING)):
        if event.get(name):
            native = event.get("native_state") if state is implied else None
            words.append((datetime.fromisoformat(event[name]), implied, native, report))
    if state is not None and (state.is_terminal or all(word[1] is not state for word in words)):
        moment = event.get("ended_at") if state.is_terminal else None
        at = datetime.fromisoformat(moment) if moment else report.occurred_at
        words.append((at, state, event.get("native_state"), report))
    return words


def _merged(reported: list[tuple[datetime, State, str | None, Report]]) -> list[Transition]:
    merged: list[Transition] = []
    for occurred_at, state, native_state, report in reported:
        last = merged[-1] if merged else None
        if last is not None and last.state is state and native_state in (last.native_state, None):
            last.reports.append(report)
        else:
            merged.append(Transition(state=state, native_state=native_state, occurred_at=occurred_at, reports=[report]))
    return merged


def _with_durations(transitions: list[Transition]) -> list[Transition]:
    timed: list[Transition] = []
    for place, transition in enumerate(transitions):
        after = transitions[place + 1] if place + 1 < len(transitions) else None
        seconds = (after.occurred_at - transition.occurred_at).total_seconds() if after else None
        timed.append(transition.model_copy(update={"duration_seconds": seconds}))
    return timed


def _testimony(connection: Connection, run_id: UUID) -> list[TestimonyView]:
    said: Iterable[Any] = connection.execute(_TESTIMONY, {RUN_ID.key: run_id})
    return [view_testimony(row, read_envelope(row.position, row.entry)) for row in said]


def view_testimony(word: Any, entry: LoggedEntry) -> TestimonyView:
    """Return what a row, or the fold, has of a word on a run's end, with what is said of the entry it stands in."""
    return TestimonyView(
        **{**dict(entry.report()), "occurred_at": word.occurred_at},
        state=word.state,
        native_state=word.native_state,
        event_id=word.event_id,
        kind=entry.event["kind"],
        leaf_hash=entry.leaf_hash,
    )


def _corrections(connection: Connection, run_id: UUID) -> list[CorrectionView]:
    return [
        CorrectionView(
            run_id=row.correction_id,
            corrects=row.run_id,
            state=row.state,
            native_state=row.native_state,
            report=read_envelope(row.position, row.entry).report(),
        )
        for row in connection.execute(_CORRECTIONS, {RUN_ID.key: run_id})
    ]


def _provisional(connection: Connection, run_id: UUID) -> list[UUID]:
    return list(connection.scalars(_PROVISIONAL, {RUN_ID.key: run_id}))


def _late_facts(connection: Connection, run_id: UUID) -> list[LateFactView]:
    rows = connection.execute(_LATE, {RUN_ID.key: run_id})
    return [
        LateFactView(field=field, value=value, position=row.position)
        for row in rows
        for field, value in orjson.loads(row.facts).items()
    ]


def _links(connection: Connection, run_id: UUID) -> list[LinkView]:
    rows = connection.execute(_LINKS, {RUN_ID.key: run_id})
    return [
        LinkView(
            relation=row.relation,
            target_run_id=row.target_run_id,
            target_native_key=row.target_native_key,
            position=row.position,
        )
        for row in rows
    ]


def _aliases(connection: Connection, run_id: UUID) -> list[AliasView]:
    rows = connection.execute(_ALIASES, {RUN_ID.key: run_id})
    return [AliasView(system=row.system, native_id=row.native_id) for row in rows]


def find_said(connection: Connection, run_id: UUID, said: Sequence[LoggedEntry]) -> list[SaidView]:
    """Return notes on a run and what people did to it, with the contents of their bodies."""
    refs = [{name: bytes.fromhex(ref["digest"]) for name, ref in e.event.get("bodies", {}).items()} for e in said]
    contents = find_bodies(connection, {run_id: {digest for names in refs for digest in names.values()}})
    return [
        SaidView(
            kind=entry.event["kind"],
            name=entry.event.get("name"),
            content={name: contents.get(digest) for name, digest in names.items()},
            report=entry.report(),
        )
        for entry, names in zip(said, refs, strict=True)
    ]


def find_log(connection: Connection, run_id: UUID, context: Context) -> LogView | None:
    """Return the end of a run's log; None where nothing is known of it."""
    log = context.get("log")
    if log is None:
        return None
    tail = None
    if (ref := log.get("tail")) is not None:
        digest = bytes.fromhex(ref["digest"])
        tail = find_bodies(connection, {run_id: {digest}}).get(digest)
        tail = "\n".join(map(str, tail)) if isinstance(tail, list) else as_text(tail)  # pyright: ignore[reportUnknownArgumentType]
    return LogView(tail=tail, counts=log.get("counts") or {}, url=log.get("url"))


def _liveness(connection: Connection, run_id: UUID, now: datetime) -> Liveness | None:
    row: Any = connection.execute(_LIVENESS, {RUN_ID.key: run_id}).one_or_none()
    if row is None:
        return None
    return Liveness(
        last_heartbeat_at=row.last_heartbeat_at,
        interval_seconds=row.interval_seconds,
        silent=is_overdue(row.last_heartbeat_at, row.interval_seconds, now=now),
    )
