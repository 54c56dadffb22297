"""What became of one item of a batch."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple
from uuid import UUID

Status = Literal["stored", "known", "attested", "conflict", "refused"]


class Outcome(NamedTuple):
    """What became of one item of a batch."""

    # A tuple's own `index` is of no use here, and the door's word for the place is this one.
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    status: Status
    event_id: UUID | None = None
    position: int | None = None
    """Of the entry that the item is recorded in; of the known one, where it said nothing new."""
    field: str | None = None
    """Of a refused item: the place of the fault."""
    reason: str | None = None
    marks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as the server answers it: without what does not apply."""
        said: dict[str, Any] = {"index": self.index, "status": self.status}
        if self.event_id is not None:
            said["event_id"] = str(self.event_id)
        if self.position is not None:
            said["position"] = self.position
        if self.reason is not None:
            said |= {"field": self.field, "reason": self.reason}
        said["marks"] = list(self.marks)
        return said
