"""How the rules are doing, as the store knows it. Needs no settings, and so tells no secret."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, func, or_, select

from runvis_core.services.notify.answers import RuleStatus, RuleStatuses
from runvis_core.services.notify.queue import KEEP
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.tables import head, notice_rules, notices
from runvis_core.store.types import Moment

_SINCE: Final = bindparam("since", type_=Moment)
# An old one leaves the queue only when its rule settles another.
_IS_NEW: Final = func.coalesce(notices.c.settled_at, notices.c.made_at) >= _SINCE
_REFUSAL: Final = (
    select(notices.c.error)
    .where(notices.c.rule == notice_rules.c.rule, notices.c.outcome == "refused", _IS_NEW)
    .order_by(notices.c.settled_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("refusal")
)


def list_rules(store: Store) -> RuleStatuses:
    """Return how each rule is doing that ever began, by name."""
    counted = (
        select(
            notices.c.rule,
            notices.c.outcome,
            func.count().label("number"),
            func.min(notices.c.made_at).label("oldest_at"),
            func.max(notices.c.settled_at).label("settled_at"),
        )
        .where(or_(notices.c.outcome == "pending", _IS_NEW))
        .group_by(notices.c.rule, notices.c.outcome)
    )
    since = {_SINCE.key: store.clock() - KEEP}
    with reading(store) as connection:
        end: int = connection.execute(select(head.c.position)).scalar_one()
        rules = connection.execute(select(notice_rules, _REFUSAL).order_by(notice_rules.c.rule), since).all()
        counts: dict[str, dict[str, Any]] = {}
        for row in connection.execute(counted, since):
            counts.setdefault(row.rule, {})[row.outcome] = row
    return RuleStatuses(items=[_status(row, counts.get(row.rule, {}), end) for row in rules])


def _status(row: Any, counts: dict[str, Any], end: int) -> RuleStatus:
    numbers = {outcome: counted.number for outcome, counted in counts.items()}
    settled = [counted.settled_at for counted in counts.values() if counted.settled_at is not None]
    return RuleStatus(
        rule=row.rule,
        # One that tells of no ends does not look through the log.
        behind=0 if row.tells_of is not None and "run_ended" not in row.tells_of.split() else end - row.position,
        refusal=row.refusal,
        oldest_pending_at=counts["pending"].oldest_at if "pending" in counts else None,
        last_settled_at=max(settled, default=None),
        retry_at=row.retry_at,
        error=row.error,
        **numbers,
    )
