"""When what a hook said may be told: after its transaction is committed, and never when it is rolled back.

Hooks of DAG runs are called before the commit, inside a retry: what they say may never come true, or come twice. The
session tells of its commits; nothing is committed here, so that the scheduler's guard of its own commits is not upset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import event

from runvis_airflow import compat

_WAITING: Final = "runvis_waiting"
"""Where a session keeps what is to be told, as pairs of the savepoint in which it was said and the telling."""


def after_commit(orm_object: Any, tell: Callable[[], None]) -> None:
    """Call `tell` once the object's transaction is committed; at once when the object belongs to no session."""
    with compat.reading(orm_object) as session:
        if session is None:
            tell()
            return
    if _WAITING not in session.info:
        # A scheduler keeps its session for good, so it gets its listeners once: SQLAlchemy doesn't drop them after use.
        session.info[_WAITING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_soft_rollback", _rolled_back)
        event.listen(session, "after_transaction_end", _ended)
    session.info[_WAITING].append((session.get_nested_transaction(), tell))


def _committed(session: Any) -> None:
    waiting: list[tuple[Any, Callable[[], None]]] = session.info[_WAITING]
    savepoint = session.get_nested_transaction()
    if savepoint is not None:
        # A released savepoint's word is as good as that of the transaction around it; nothing is true yet.
        around = savepoint.parent if savepoint.parent is not None and savepoint.parent.nested else None
        waiting[:] = [(around if said_in is savepoint else said_in, tell) for said_in, tell in waiting]
        return
    told = list(waiting)
    waiting.clear()
    for _, tell in told:
        tell()


def _rolled_back(session: Any, previous: Any) -> None:
    if previous.nested:
        session.info[_WAITING][:] = [said for said in session.info[_WAITING] if said[0] is not previous]


def _ended(session: Any, transaction: Any) -> None:
    # Rolled back or closed without a commit: what was committed is told by now.
    if transaction.parent is None:
        session.info[_WAITING].clear()
