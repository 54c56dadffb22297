"""How a follower tells the store what its engine says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from runvis_core.services.ingest import ingest_events

if TYPE_CHECKING:
    from runvis_core.emit.redaction import Redactor
    from runvis_core.model.event import EventBase
    from runvis_core.services.trouble import Trouble
    from runvis_core.store.database import Store

PRINCIPAL: Final = "follower"
BODY_CHARACTERS: Final = 128 * 1024
"""How much of a body's text is told."""


def tell_events(
    store: Store, events: Sequence[EventBase], *, engine: str, redactor: Redactor, trouble: Trouble
) -> None:
    """Ingest events, redacted as a worker's are; what the store refuses of them is said with the engine's name."""
    told = [_redact(event, redactor) for event in events]
    for outcome in ingest_events(store, told, principal=PRINCIPAL) if told else ():
        if outcome.status == "refused":
            trouble.note(f"the store refuses what {engine} says: {outcome.field}: {outcome.reason}")


def _redact(event: EventBase, redactor: Redactor) -> EventBase:
    if not event.content:
        return event
    content = {
        name: redactor.redact(value, name=name, max_characters=BODY_CHARACTERS) for name, value in event.content.items()
    }
    return event.model_copy(update={"content": content})
