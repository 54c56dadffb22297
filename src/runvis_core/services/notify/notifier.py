"""Follows the log for one rule, and sends what is in its queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from runvis_core.errors import NotFoundError, SettingsError
from runvis_core.services.answers import RunSummary
from runvis_core.services.notify import queue
from runvis_core.services.notify.rules import Rule
from runvis_core.services.notify.webhook import Answer, send, write_message
from runvis_core.services.reading import reading
from runvis_core.services.run_refs import SUMMARY_COLUMNS
from runvis_core.services.run_summaries import summarise
from runvis_core.store.database import Store, utc_now
from runvis_core.store.tables import runs

PAUSE_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 10.0
"""How often a rule looks for silent runs and new loops."""

_log = logging.getLogger(__name__)


def keep_notifying(
    store: Store, rule: Rule, public_url: str | None, stop: threading.Event, *, now: Callable[[], datetime] = utc_now
) -> None:
    """Tell a rule's receiver of what it is for, until `stop` is set. Raises `UnreachableError` without the store."""
    since = now()
    queue.begin(store, rule, now=since)
    looked_at = datetime.min.replace(tzinfo=UTC)
    trouble: str | None = None
    while not stop.is_set():
        gathered = 0
        looks_beside = now() - looked_at >= timedelta(seconds=LOOK_SECONDS)
        if looks_beside or trouble is None:
            looked_at = now() if looks_beside else looked_at
            gathered, error = _gather(store, rule, looks_beside=looks_beside, since=since, now=now())
            _tell_trouble(store, rule, error, before=trouble)
            trouble = error
        if not send_next(store, rule, public_url, now=now) and gathered < queue.CHUNK:
            stop.wait(PAUSE_SECONDS)


def _gather(store: Store, rule: Rule, *, looks_beside: bool, since: datetime, now: datetime) -> tuple[int, str | None]:
    """Look for occasions; return how many entries were looked at, and what hinders it, if anything does."""
    try:
        if looks_beside:
            queue.gather_silent(store, rule, since=since, now=now)
            queue.gather_loops(store, rule, now=now)
        return queue.gather(store, rule, now=now), None
    except NotFoundError as error:
        # It may come yet: the rule waits for it in the log, and what is in its queue is sent.
        return 0, f"the filter names a run that there is not: {error}"


def _tell_trouble(store: Store, rule: Rule, error: str | None, *, before: str | None) -> None:
    if error is not None or before is not None:
        # Each time: a notice that was taken meanwhile says that all is well.
        queue.note_trouble(store, rule, error)
    if error is not None and error != before:
        _log.warning("the rule %s waits: %s", rule.name, error)


def send_next(store: Store, rule: Rule, public_url: str | None, *, now: Callable[[], datetime]) -> bool:
    """Send the next notice of a rule's queue, if one is due; return whether it left the queue."""
    notice = queue.claim(store, rule, now=now())
    if notice is None:
        return False
    answer = _deliver(store, rule, notice, public_url)
    if answer.is_taken:
        queue.settle(store, rule, notice, "sent", now=now())
        return True
    if answer.is_final:
        _log.warning("the notice %s of the rule %s is given up: %s", notice.notice_id, rule.name, answer.reason)
        queue.settle(store, rule, notice, "refused", now=now(), error=answer.reason)
        return True
    pause = queue.postpone(store, rule, notice, answer, now=now())
    if notice.tries == 1:
        _log.warning("notices of the rule %s wait: %s; next try in %.0f s", rule.name, answer.reason, pause.seconds)
    return False


def _deliver(store: Store, rule: Rule, notice: queue.Notice, public_url: str | None) -> Answer:
    run = _find_run(store, notice.run_id)
    try:
        message = write_message(
            rule,
            notice_id=notice.notice_id,
            kind=notice.kind,
            state=notice.state,
            made_at=notice.made_at,
            run=run,
            public_url=public_url,
        )
    except SettingsError as error:
        return Answer(is_taken=False, is_final=True, reason=str(error))
    return send(rule, message, notice_id=notice.notice_id)


def _find_run(store: Store, run_id: UUID) -> RunSummary | None:
    with reading(store) as connection:
        rows = connection.execute(select(*SUMMARY_COLUMNS).where(runs.c.run_id == run_id)).all()
        found = summarise(connection, rows)
    return found[0] if found else None
