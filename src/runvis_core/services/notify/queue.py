"""The queue of a rule's notices, in the store: what is in it survives its server, and leaves only when it was settled.

A rule follows the log after a position of its own. When its queue is full it waits there: nothing is lost, since the
log keeps what comes, and nobody is held up, since nobody waits for the rule.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import Connection, and_, delete, exists, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import UnreachableError
from runvis_core.services.notify.rules import Rule
from runvis_core.services.reading import reading
from runvis_core.services.runs import run_conditions
from runvis_core.store.database import Store
from runvis_core.store.tables import entries, head, lineage_turns, liveness, notice_rules, notices, runs

MAX_PENDING: Final = 1000
"""Notices of one rule that may wait."""
CHUNK: Final = 1000
"""Entries that one transaction looks at, and silent runs that one look finds."""
CLAIM: Final = timedelta(seconds=60)
"""How long a notice is left alone that somebody is sending."""
KEEP: Final = timedelta(days=30)
"""How long notices are known that were settled."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
_NAMES: Final = UUID("9c54a8b6-7d0c-5f4e-9f0e-52756e566973")

Outcome = Literal["sent", "refused"]


class Notice(NamedTuple):
    """One notice that waits."""

    notice_id: UUID
    kind: str
    run_id: UUID
    made_at: datetime
    tries: int


class _Occasion(NamedTuple):
    kind: str
    run_id: UUID
    definition: str
    position: int
    """Where the log stood."""
    detail: str
    """What makes it another occasion with the same run: the same one is told once."""


def begin(store: Store, rule: Rule, *, now: datetime) -> None:
    """Let a new rule begin at the head of the log: it tells of what comes, not of what was."""
    with _writing(store) as connection:
        position = connection.execute(select(head.c.position)).scalar_one()
        row = {"rule": rule.name, "position": position, "loop_position": position, "failures": 0, "begun_at": now}
        connection.execute(_insert(connection, notice_rules).values(row).on_conflict_do_nothing())


def gather(store: Store, rule: Rule, *, now: datetime) -> int:
    """Queue a notice for each occasion in the next entries of the log; return how many entries were looked at.

    None are while the queue is full. Each occasion is queued once, however often and by whom this is called.
    """
    if "run_ended" not in rule.on or not _has_news(store, rule):
        return 0
    with _writing(store) as connection:
        position, room = _lock(connection, rule)
        if room <= 0:
            return 0
        ahead = select(entries.c.position).where(entries.c.position > position).order_by(entries.c.position)
        looked_at = list(connection.scalars(ahead.limit(min(room, CHUNK))))
        if looked_at:
            _queue(connection, rule, _ended(connection, rule, position, looked_at[-1], now), now=now)
            moved = update(notice_rules).where(notice_rules.c.rule == rule.name)
            connection.execute(moved.values(position=looked_at[-1]))
        return len(looked_at)


def gather_silent(store: Store, rule: Rule, *, now: datetime) -> None:
    """Queue a notice for each run that fell silent: once, until it beats again and falls silent anew."""
    if "silence" not in rule.on:
        return
    with reading(store) as connection:
        found = _silent(connection, rule, now)
    if found:
        with _writing(store) as connection:
            _, room = _lock(connection, rule)
            _queue(connection, rule, found[: max(0, room)], now=now)


def gather_loops(store: Store, rule: Rule, *, now: datetime) -> None:
    """Queue a notice for each loop that turned for the first time, once what is derived beside the log shows it."""
    if "loop_detected" not in rule.on:
        return
    with reading(store) as connection:
        after = connection.execute(
            select(notice_rules.c.loop_position).where(notice_rules.c.rule == rule.name)
        ).scalar_one()
        upto, found = _loops(connection, rule, after, now)
    if upto > after:
        with _writing(store) as connection:
            _lock(connection, rule)
            _queue(connection, rule, found, now=now)
            moved = update(notice_rules).where(notice_rules.c.rule == rule.name, notice_rules.c.loop_position < upto)
            connection.execute(moved.values(loop_position=upto))


def claim(store: Store, rule: Rule, *, now: datetime) -> Notice | None:
    """Return the next notice to send, which nobody else sends meanwhile; None if none is due."""
    with reading(store) as connection:
        retry_at = connection.scalar(select(notice_rules.c.retry_at).where(notice_rules.c.rule == rule.name))
        if retry_at is not None and retry_at > now:
            return None
        query = select(notices).where(notices.c.rule == rule.name, notices.c.outcome == "pending")
        row = connection.execute(
            query.order_by(notices.c.made_at, notices.c.position, notices.c.notice_id).limit(1)
        ).one_or_none()
    if row is None or (row.claimed_until is not None and row.claimed_until > now):
        return None
    taken = update(notices).where(
        notices.c.notice_id == row.notice_id,
        notices.c.outcome == "pending",
        or_(notices.c.claimed_until.is_(None), notices.c.claimed_until <= now),
    )
    with _writing(store) as connection:
        if connection.execute(taken.values(claimed_until=now + CLAIM, tries=row.tries + 1)).rowcount != 1:
            return None
    return Notice(row.notice_id, row.kind, row.run_id, row.made_at, row.tries + 1)


def settle(
    store: Store, rule: Rule, notice: Notice, outcome: Outcome, *, now: datetime, error: str | None = None
) -> None:
    """Note that a notice was sent, or refused by its receiver for good."""
    changed = update(notices).where(notices.c.notice_id == notice.notice_id)
    well = update(notice_rules).where(notice_rules.c.rule == rule.name)
    old = delete(notices).where(
        notices.c.rule == rule.name, notices.c.outcome != "pending", notices.c.made_at < now - KEEP
    )
    with _writing(store) as connection:
        connection.execute(changed.values(outcome=outcome, settled_at=now, error=error, claimed_until=None))
        connection.execute(well.values(failures=0, retry_at=None, error=None))
        connection.execute(old)


def postpone(store: Store, rule: Rule, notice: Notice, *, now: datetime, error: str) -> timedelta:
    """Leave a notice in the queue, and its receiver alone for a while, longer each time; return for how long."""
    query = select(notice_rules.c.failures).where(notice_rules.c.rule == rule.name)
    with _writing(store) as connection:
        failures = connection.execute(query).scalar_one() + 1
        pause = min(timedelta(seconds=2 ** min(failures - 1, 16)), LONGEST_PAUSE)
        changed = update(notices).where(notices.c.notice_id == notice.notice_id)
        connection.execute(changed.values(claimed_until=None, error=error))
        ill = update(notice_rules).where(notice_rules.c.rule == rule.name)
        connection.execute(ill.values(failures=failures, retry_at=now + pause, error=error))
    return pause


def _has_news(store: Store, rule: Rule) -> bool:
    with reading(store) as connection:
        behind = select(notice_rules.c.position).where(notice_rules.c.rule == rule.name).scalar_subquery()
        return bool(connection.scalar(select(head.c.position > behind)))


def _lock(connection: Connection, rule: Rule) -> tuple[int, int]:
    """Return a rule's position, which nobody else can move until the end, and how many notices have room."""
    query = select(notice_rules.c.position).where(notice_rules.c.rule == rule.name).with_for_update()
    position = connection.execute(query).scalar_one()
    waiting = select(func.count()).where(notices.c.rule == rule.name, notices.c.outcome == "pending")
    return position, MAX_PENDING - connection.execute(waiting).scalar_one()


def _ended(connection: Connection, rule: Rule, after: int, upto: int, now: datetime) -> list[_Occasion]:
    conditions, _ = run_conditions(connection, rule.filters, now)
    query = (
        select(runs.c.run_id, runs.c.definition, runs.c.frozen_position)
        .join(entries, and_(entries.c.run_id == runs.c.run_id, entries.c.position == runs.c.frozen_position))
        .where(entries.c.position > after, entries.c.position <= upto, *conditions)
        .order_by(entries.c.position)
    )
    # A run ends once.
    return [
        _Occasion("run_ended", row.run_id, row.definition or "", row.frozen_position, "")
        for row in connection.execute(query)
    ]


def _silent(connection: Connection, rule: Rule, now: datetime) -> list[_Occasion]:
    conditions, _ = run_conditions(connection, rule.filters.model_copy(update={"silent": True}), now)
    beats = liveness.alias()  # The filter looks at `liveness`, too.
    end = connection.execute(select(head.c.position)).scalar_one()
    query = (
        select(runs.c.run_id, runs.c.definition, beats.c.last_heartbeat_at)
        .join(beats, beats.c.run_id == runs.c.run_id)
        .where(
            *conditions,
            # One that was told of since its last sign of life is known.
            ~exists()
            .where(
                notices.c.rule == rule.name,
                notices.c.kind == literal("silence"),
                notices.c.run_id == runs.c.run_id,
                notices.c.made_at >= beats.c.last_heartbeat_at,
            )
            .correlate(runs, beats),
        )
        .order_by(beats.c.last_heartbeat_at)
        .limit(CHUNK)
    )
    return [
        _Occasion("silence", row.run_id, row.definition or "", end, row.last_heartbeat_at.isoformat())
        for row in connection.execute(query)
    ]


def _loops(connection: Connection, rule: Rule, after: int, now: datetime) -> tuple[int, list[_Occasion]]:
    """Return up to where the turns were looked at, and those that are the first through their definitions."""
    turns, earlier = lineage_turns, lineage_turns.alias()
    ahead = select(turns.c.position).where(turns.c.position > after).order_by(turns.c.position).limit(CHUNK)
    upto = max(connection.scalars(ahead), default=after)
    conditions, _ = run_conditions(connection, rule.filters, now)
    query = (
        select(turns.c.run_id, turns.c.cycle, turns.c.position, runs.c.definition)
        .join(runs, runs.c.run_id == turns.c.run_id)
        .where(
            turns.c.position > after,
            turns.c.position <= upto,
            ~exists().where(earlier.c.cycle == turns.c.cycle, earlier.c.position < turns.c.position),
            *conditions,
        )
        .order_by(turns.c.position)
    )
    return upto, [
        _Occasion("loop_detected", row.run_id, row.definition or "", row.position, str(row.cycle))
        for row in connection.execute(query)
    ]


def _queue(connection: Connection, rule: Rule, found: Sequence[_Occasion], *, now: datetime) -> None:
    told = _told_lately(connection, rule, now) if rule.repeat_after else set[tuple[str, str]]()
    rows: list[dict[str, Any]] = []
    for occasion in found:
        about = (occasion.kind, occasion.definition)
        name = "\0".join([rule.name, occasion.kind, str(occasion.run_id), occasion.detail])
        rows.append(
            {
                "notice_id": uuid5(_NAMES, name),
                "rule": rule.name,
                "kind": occasion.kind,
                "run_id": occasion.run_id,
                "definition": occasion.definition,
                "made_at": now,
                "position": occasion.position,
                "tries": 0,
                "outcome": "quiet" if about in told else "pending",
            }
        )
        if rule.repeat_after:
            told.add(about)
    if rows:
        connection.execute(_insert(connection, notices).on_conflict_do_nothing(), rows)


def _told_lately(connection: Connection, rule: Rule, now: datetime) -> set[tuple[str, str]]:
    query = select(notices.c.kind, notices.c.definition).where(
        notices.c.rule == rule.name, notices.c.outcome != "quiet", notices.c.made_at > now - rule.repeat_after
    )
    return {(row.kind, row.definition) for row in connection.execute(query.distinct())}


def _insert(connection: Connection, table: Any) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


@contextmanager
def _writing(store: Store) -> Generator[Connection]:
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    try:
        with store.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection
    except DBAPIError as error:
        raise UnreachableError(f"the notices can't be kept now: {error.orig}") from error
