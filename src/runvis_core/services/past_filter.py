"""Which past is asked about. Needs no store, so that a client over HTTP has the same words."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from runvis_core.services.filters import RunFilter

Position = Annotated[int, Field(ge=0, le=2**63 - 1)]


class PastFilter(BaseModel):
    """Which past is asked about; without either it is the present."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: AwareDatetime | None = Field(
        default=None,
        description="What was going on at this moment (with its time zone), by all that is known now.",
    )
    known_at: Position | AwareDatetime | None = Field(
        default=None,
        description="By what had been recorded then: a position of the log, or a moment (with its time zone).",
    )

    @property
    def is_present(self) -> bool:
        """Whether no past is asked about."""
        return self.as_of is None and self.known_at is None


class PastRunFilter(RunFilter, PastFilter):
    """Which runs of which past a list shows: what its cursors are bound to."""
