"""Legal holds: what they cover is not erased until they are released."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, text

from runvis_core.errors import NotFoundError
from runvis_core.model.decision import HOLD_PLACED, HOLD_RELEASED, Held
from runvis_core.services.decision_answers import HoldRequest, HoldView
from runvis_core.services.decisions import record_decision
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.guards.holds import HELD
from runvis_core.store.tables import decisions, hold_releases, holds


def place_hold(store: Store, request: HoldRequest, *, principal: str) -> HoldView:
    """Place a hold. Raises `NotFoundError` if it names a run that there is not."""
    run_id = None
    if request.run is not None:
        with reading(store) as connection:
            run_id = resolve_run(connection, request.run)
    held = Held(
        run_id=run_id, engine=request.engine, deployment=request.deployment, definition=request.definition
    ).model_dump(mode="json", exclude_none=True)
    hold_id = secrets.token_hex(4)
    record_decision(store, HOLD_PLACED, hold_id, held, principal=principal, run_id=run_id, reason=request.reason)
    return _find(store, hold_id)


def release_hold(store: Store, hold_id: str, *, principal: str, reason: str | None = None) -> HoldView:
    """Release a hold, named by its id. Raises `NotFoundError`; one that is released already stays so."""
    found = _find(store, hold_id)
    if found.released_at is None:
        record_decision(store, HOLD_RELEASED, hold_id, {}, principal=principal, run_id=found.run_id, reason=reason)
    return _find(store, hold_id)


def list_holds(store: Store) -> list[HoldView]:
    """Return all holds that were ever placed, newest first."""
    released = decisions.alias("released")
    query = (
        select(
            holds,
            decisions.c.reason,
            decisions.c.occurred_at.label("placed_at"),
            decisions.c.principal,
            released.c.occurred_at.label("released_at"),
        )
        .join(decisions, decisions.c.position == holds.c.position)
        .outerjoin(hold_releases, hold_releases.c.hold_id == holds.c.hold_id)
        .outerjoin(released, released.c.position == hold_releases.c.position)
        .order_by(holds.c.position.desc())
    )
    with reading(store) as connection:
        return [_view(row) for row in connection.execute(query)]


def find_holds(connection: Connection, positions: Sequence[int]) -> list[str]:
    """Return the ids of the holds in force that cover the runs of some entries."""
    query = HELD.replace("SELECT 1", "SELECT DISTINCT holds.hold_id", 1).format(position=":position")
    found: set[str] = set()
    for position in positions:
        found |= set(connection.execute(text(query), {"position": position}).scalars())
    return sorted(found)


def _find(store: Store, hold_id: str) -> HoldView:
    found = next((hold for hold in list_holds(store) if hold.hold_id == hold_id), None)
    if found is None:
        raise NotFoundError(f"there is no hold {hold_id!r}: `runvis holds list` says which there are")
    return found


def _view(row: Any) -> HoldView:
    return HoldView(
        hold_id=row.hold_id,
        run_id=row.held_run_id,
        engine=row.engine,
        deployment=row.deployment,
        definition=row.definition,
        reason=row.reason,
        placed_at=row.placed_at,
        placed_by=row.principal,
        released_at=row.released_at,
    )
