"""An event as the log holds it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from runvis_core.model.event import EventBase


class Entry(NamedTuple):
    """An event at its `position`, with the store's clock and the principal that brought it."""

    position: int
    recorded_at: datetime
    principal: str
    event: EventBase
