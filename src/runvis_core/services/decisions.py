"""Decisions and accesses as entries of the log: who decided or looked at what, and when."""

from __future__ import annotations

import getpass
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import BaseModel, JsonValue
from sqlalchemy import select

from runvis_core.model.encoding import seal
from runvis_core.model.event import AccessEvent, DecisionEvent, EventBase
from runvis_core.model.state import Witness
from runvis_core.services.decision_answers import AuditItem, AuditPage, shown_details
from runvis_core.services.filters import MAX_LIMIT
from runvis_core.services.principals import LOCAL
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.tables import decisions

ENGINE: Final = "runvis"
DEPLOYMENT: Final = "store"
"""Whose facts these are: no engine's, the store's own."""
EXPORT: Final = "export"
CHECKPOINT: Final = "checkpoint"


def local_principal() -> str:
    """Return by what name a person acts who has the database itself: `local:` and the name of this machine's user."""
    try:
        return f"{LOCAL}:{getpass.getuser()}"
    except (OSError, KeyError):  # A container's user without a name.
        return LOCAL


def record_decision(
    store: Store,
    decision: str,
    subject: str,
    details: dict[str, Any],
    *,
    principal: str,
    run_id: UUID | None = None,
    reason: str | None = None,
) -> int:
    """Record a decision and carry it out, in one transaction; return its position.

    Raises `LogRuleError` where the database refuses it, and nothing happened.
    """
    said: dict[str, Any] = {"decision": decision, "subject": subject, "details": details}
    if run_id is not None:
        said["run_id"] = run_id
    if reason:
        said["reason"] = reason
    return _append(store, DecisionEvent(**_envelope(store), **said), principal)


def record_access(
    store: Store, access: str, subject: str, *, principal: str, details: dict[str, Any] | None = None
) -> int:
    """Record that somebody looked at something, took it out or had it made; return the entry's position."""
    event = AccessEvent(**_envelope(store), access=access, subject=subject[:1000], details=details or {})
    return _append(store, event, principal)


def record_export(
    store: Store, what: str, *, principal: str, asked: BaseModel | None = None, **details: JsonValue
) -> int:
    """Record that somebody took something out of the store: `what` says so, `asked` by which question."""
    said = asked.model_dump(mode="json", exclude_defaults=True) if asked is not None else {}
    return record_access(store, EXPORT, what, principal=principal, details={**said, **details})


def list_audit(store: Store, *, limit: int, before: int | None = None, name: str | None = None) -> AuditPage:
    """Return what was decided and done, newest first, from the entry in front of `before` on."""
    query = select(decisions).order_by(decisions.c.position.desc()).limit(min(limit, MAX_LIMIT))
    if before is not None:
        query = query.where(decisions.c.position < before)
    if name is not None:
        query = query.where(decisions.c.name == name)
    with reading(store) as connection:
        rows = connection.execute(query).all()
    items = [
        AuditItem(
            position=row.position,
            kind=row.kind,
            name=row.name,
            subject=row.subject,
            run_id=row.about_run_id,
            principal=row.principal,
            occurred_at=row.occurred_at,
            reason=row.reason,
            details=shown_details(orjson.loads(row.details)),
        )
        for row in rows
    ]
    return AuditPage(items=items, before=items[-1].position if len(items) == limit else None)


def _envelope(store: Store) -> dict[str, Any]:
    moment = store.clock()
    return {"engine": ENGINE, "deployment": DEPLOYMENT, "witness": Witness.OPERATOR, "occurred_at": moment}


def _append(store: Store, event: EventBase, principal: str) -> int:
    outcome = store.log.append([seal(event)], principal=principal).outcomes[0]
    assert outcome.position is not None, "what the store makes itself is recorded"
    return outcome.position
