"""What follows from decisions about the store itself: rows of tokens, legal holds and erasures."""

from __future__ import annotations

from runvis_core.model.decision import ERASURE, HOLD_PLACED, HOLD_RELEASED, Erased, Held
from runvis_core.model.encoding import encode
from runvis_core.model.entry import Entry
from runvis_core.model.event import AccessEvent, DecisionEvent
from runvis_core.store.driver import Changes, Values


def decide(changes: Changes, entry: Entry, values: Values) -> None:
    """Add what follows from a decision or an access."""
    event = entry.event
    moment = values.bind_moment(event.occurred_at)
    if isinstance(event, AccessEvent):
        said = (event.access, event.subject, None, entry.principal, moment, None, encode(event.details).decode())
        changes.insert("decisions", (entry.position, event.kind, *said))
        return
    assert isinstance(event, DecisionEvent), f"'{event.kind}' is told apart by its kind"
    run_id = None if event.run_id is None else values.bind_id(event.run_id)
    details = encode(event.details).decode()
    said = (event.decision, event.subject, run_id, entry.principal, moment, event.reason, details)
    changes.insert("decisions", (entry.position, event.kind, *said))
    _carry_out(changes, entry.position, event, values)


def read_details(event: DecisionEvent) -> Held | Erased | None:
    """Return what a decision says that has rows of its own; None for any other. Raises pydantic's `ValidationError`."""
    if event.decision == HOLD_PLACED:
        return Held.model_validate(event.details)
    return Erased.model_validate(event.details) if event.decision == ERASURE else None


def _carry_out(changes: Changes, position: int, event: DecisionEvent, values: Values) -> None:
    said = read_details(event)
    if isinstance(said, Held):
        run_id = None if said.run_id is None else values.bind_id(said.run_id)
        changes.insert("holds", (event.subject, position, run_id, said.engine, said.deployment, said.definition))
    elif isinstance(said, Erased):
        for body in said.bodies:
            changes.insert("erasures", (body.position, bytes.fromhex(body.digest), position))
    elif event.decision == HOLD_RELEASED:
        changes.insert("hold_releases", (event.subject, position))
