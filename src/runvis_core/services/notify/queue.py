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

from sqlalchemy import Connection, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import UnreachableError
from runvis_core.services.notify.occasions import (
    CHUNK,
    Occasion,
    find_ends,
    find_loops,
    find_silent,
    find_told_lately,
)
from runvis_core.services.notify.rules import Rule
from runvis_core.services.notify.webhook import Answer
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.id_lists import is_among, these
from runvis_core.store.tables import head, liveness, notice_rules, notices

MAX_PENDING: Final = 1000
"""Notices of one rule that may wait."""
CLAIM: Final = timedelta(seconds=60)
"""How long a notice is left alone that somebody is sending."""
KEEP: Final = timedelta(days=30)
"""How long notices are known that were settled."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
LONGEST_ASKED: Final = timedelta(hours=1)
"""How long a receiver is left alone at most that asks for it."""
ASIDE_AFTER: Final = 3
"""After so many answers that are no, a notice lets the others pass: the receiver may mean this one alone."""
_NAMES: Final = UUID("9c54a8b6-7d0c-5f4e-9f0e-52756e566973")

Outcome = Literal["sent", "refused"]


class Notice(NamedTuple):
    """One notice that waits."""

    notice_id: UUID
    kind: str
    run_id: UUID
    state: str | None
    made_at: datetime
    tries: int


class _Place(NamedTuple):
    position: int
    loop_position: int
    floor: int
    room: int
    """How many notices may still be queued."""


def begin(store: Store, rule: Rule, *, now: datetime) -> None:
    """Let a new rule begin at the head of the log, and one with a new kind of occasion begin there with that one.

    It tells of what comes, not of what was.
    """
    with _writing(store) as connection:
        position = connection.execute(select(head.c.position)).scalar_one()
        ends, loops = {"position": position, "floor_position": position}, {"loop_position": position}
        row = {"rule": rule.name, **ends, **loops, "failures": 0, "begun_at": now, "tells_of": None}
        connection.execute(_insert(connection, notice_rules).values(row).on_conflict_do_nothing())
        mine = notice_rules.c.rule == rule.name
        known: str | None = connection.execute(select(notice_rules.c.tells_of).where(mine)).scalar_one()
        added = rule.on - set(known.split()) if known is not None else frozenset[str]()
        changed: dict[str, Any] = {"tells_of": " ".join(sorted(rule.on))}
        changed |= ends if "run_ended" in added else {}
        changed |= loops if "loop_detected" in added else {}
        connection.execute(update(notice_rules).where(mine).values(changed))
        # Trouble of its settings, as they were: with the receiver there is none to wait for.
        connection.execute(update(notice_rules).where(mine, notice_rules.c.retry_at.is_(None)).values(error=None))


def gather(store: Store, rule: Rule, *, now: datetime) -> int:
    """Queue a notice for each end of a run in the next entries of the log; return how many entries were looked at.

    None are while the queue is full. Each occasion is queued once, however often and by whom this is called. Raises
    `NotFoundError` where the rule's filter names a run that there is not.
    """
    if "run_ended" not in rule.on:
        return 0
    with reading(store) as connection:
        place = _find_place(connection, rule)
        if place.room <= 0:
            return 0
        limit = min(place.room, CHUNK)
        look = find_ends(connection, rule, after=place.position, floor=place.floor, limit=limit, now=now)
    if not look.size:
        return 0
    with _writing(store) as connection:
        there = _lock(connection, rule)
        if there.position != place.position or there.room < len(look.found):
            # Somebody else was quicker.
            return 0
        _queue(connection, rule, look.found, room=there.room, now=now)
        connection.execute(_change(rule).values(position=look.upto))
    return look.size


def gather_silent(store: Store, rule: Rule, *, since: datetime, now: datetime) -> None:
    """Queue a notice for each run that fell silent: once, until it beats again and falls silent anew.

    `since` says from when on signs of life were heard: after a server was down for a while, all runs look silent. What
    there is no room for is found by a later look, while it is silent. Raises `NotFoundError` as `gather` does.
    """
    if "silence" not in rule.on:
        return
    with reading(store) as connection:
        found = find_silent(connection, rule, since=since, now=now)
    if found:
        with _writing(store) as connection:
            _queue(connection, rule, found, room=_lock(connection, rule).room, now=now)


def gather_loops(store: Store, rule: Rule, *, now: datetime) -> None:
    """Queue a notice for each loop that turned for the first time, once what is derived beside the log shows it.

    Raises `NotFoundError` as `gather` does.
    """
    if "loop_detected" not in rule.on:
        return
    with reading(store) as connection:
        place = _find_place(connection, rule)
        look = find_loops(connection, rule, after=place.loop_position, now=now)
    if not look.size:
        return
    with _writing(store) as connection:
        there = _lock(connection, rule)
        if there.loop_position != place.loop_position:
            return
        left = _queue(connection, rule, look.found, room=there.room, now=now)
        # Some turns of that position may be in the queue: they are known when it is looked at again.
        upto = look.upto if left is None else left.position - 1
        connection.execute(_change(rule).values(loop_position=max(upto, place.loop_position)))


def claim(store: Store, rule: Rule, *, now: datetime) -> Notice | None:
    """Return the next notice to send, which nobody else sends meanwhile; None if none is due.

    That is the oldest one. Those that were set aside go after what waited when their pause ended.
    """
    with reading(store) as connection:
        retry_at = connection.scalar(select(notice_rules.c.retry_at).where(notice_rules.c.rule == rule.name))
        if retry_at is not None and retry_at > now:
            return None
        query = select(notices).where(
            notices.c.rule == rule.name,
            notices.c.outcome == "pending",
            or_(notices.c.retry_at.is_(None), notices.c.retry_at <= now),
        )
        since = func.coalesce(notices.c.retry_at, notices.c.made_at)
        row = connection.execute(query.order_by(since, notices.c.position, notices.c.notice_id).limit(1)).one_or_none()
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
    return Notice(row.notice_id, row.kind, row.run_id, row.state, row.made_at, row.tries + 1)


def settle(
    store: Store, rule: Rule, notice: Notice, outcome: Outcome, *, now: datetime, error: str | None = None
) -> None:
    """Note that a notice was sent, or refused by its receiver for good."""
    changed = update(notices).where(notices.c.notice_id == notice.notice_id)
    with _writing(store) as connection:
        connection.execute(changed.values(outcome=outcome, settled_at=now, error=error, claimed_until=None))
        connection.execute(_change(rule).values(failures=0, retry_at=None, error=None))
        _forget_old(connection, rule, now)


def _forget_old(connection: Connection, rule: Rule, now: datetime) -> None:
    is_old = and_(
        notices.c.rule == rule.name,
        notices.c.outcome.in_(("sent", "refused", "quiet")),
        notices.c.made_at < now - KEEP,
        # A run that is silent still would be told of again.
        ~exists().where(liveness.c.run_id == notices.c.run_id),
    )
    last: int | None = connection.scalar(select(func.max(notices.c.position)).where(is_old))
    if last is None:
        return
    # A run that ended so long ago must not be told of again when somebody says more of it.
    connection.execute(_change(rule).where(notice_rules.c.floor_position < last).values(floor_position=last))
    connection.execute(delete(notices).where(is_old))


def postpone(store: Store, rule: Rule, notice: Notice, answer: Answer, *, now: datetime) -> timedelta:
    """Leave a notice in the queue, and its receiver alone for a while, longer each time; return for how long.

    One that the receiver keeps answering with a no is set aside for a while, so that the others get their turn; what
    becomes of it from then on says nothing of the receiver.
    """
    query = select(notice_rules.c.failures).where(notice_rules.c.rule == rule.name)
    is_aside = answer.is_answered and notice.tries >= ASIDE_AFTER
    was_aside = answer.is_answered and notice.tries > ASIDE_AFTER
    with _writing(store) as connection:
        failures = connection.execute(query).scalar_one() + (0 if was_aside else 1)
        pause = max(timedelta(0) if was_aside else _pause_after(failures), min(answer.retry_after, LONGEST_ASKED))
        changed = update(notices).where(notices.c.notice_id == notice.notice_id)
        again_at = now + _pause_after(notice.tries) if is_aside else None
        connection.execute(changed.values(claimed_until=None, retry_at=again_at, error=answer.reason))
        connection.execute(_change(rule).values(failures=failures, retry_at=now + pause, error=answer.reason))
    return pause


def note_trouble(store: Store, rule: Rule, error: str | None) -> None:
    """Note why a rule can't look for occasions, or that it can again."""
    with _writing(store) as connection:
        connection.execute(_change(rule).values(error=error))


def _pause_after(failures: int) -> timedelta:
    return min(timedelta(seconds=2 ** min(failures - 1, 16)), LONGEST_PAUSE)


def _change(rule: Rule) -> Any:
    return update(notice_rules).where(notice_rules.c.rule == rule.name)


def _lock(connection: Connection, rule: Rule) -> _Place:
    """Return where a rule is, which nobody else can move until the end."""
    return _find_place(connection, rule, for_update=True)


def _find_place(connection: Connection, rule: Rule, *, for_update: bool = False) -> _Place:
    columns = (notice_rules.c.position, notice_rules.c.loop_position, notice_rules.c.floor_position)
    query = select(*columns).where(notice_rules.c.rule == rule.name)
    position, loop_position, floor = connection.execute(query.with_for_update() if for_update else query).one()
    waiting = select(func.count()).where(notices.c.rule == rule.name, notices.c.outcome == "pending")
    return _Place(position, loop_position, floor, MAX_PENDING - connection.execute(waiting).scalar_one())


def _queue(
    connection: Connection, rule: Rule, found: Sequence[Occasion], *, room: int, now: datetime
) -> Occasion | None:
    """Queue what is new, as far as there is room; return the first occasion that there was none for."""
    new = _leave_known(connection, {_name(rule, occasion): occasion for occasion in found})
    fitting = dict(list(new.items())[: max(0, room)])
    told = find_told_lately(connection, rule, now) if rule.repeat_after and fitting else set[Any]()
    rows: list[dict[str, Any]] = []
    for notice_id, occasion in fitting.items():
        about = None if occasion.definition is None else (occasion.kind, occasion.definition)
        rows.append(
            {
                "notice_id": notice_id,
                "rule": rule.name,
                "kind": occasion.kind,
                "run_id": occasion.run_id,
                "state": occasion.state,
                "made_at": now,
                "position": occasion.position,
                "tries": 0,
                "outcome": "quiet" if about in told else "pending",
            }
        )
        if rule.repeat_after and about is not None:
            told.add(about)
    if rows:
        connection.execute(_insert(connection, notices).on_conflict_do_nothing(), rows)
    return next((occasion for notice_id, occasion in new.items() if notice_id not in fitting), None)


def _name(rule: Rule, occasion: Occasion) -> UUID:
    return uuid5(_NAMES, "\0".join([rule.name, occasion.kind, str(occasion.run_id), occasion.detail]))


def _leave_known(connection: Connection, found: dict[UUID, Occasion]) -> dict[UUID, Occasion]:
    query = select(notices.c.notice_id).where(is_among(notices.c.notice_id, these(found)))
    known = set(connection.scalars(query)) if found else set[UUID]()
    return {notice_id: occasion for notice_id, occasion in found.items() if notice_id not in known}


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
