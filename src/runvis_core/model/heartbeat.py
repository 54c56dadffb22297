"""Signs of life. They refresh one row per live run and are no entries of the log."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from runvis_core.model.state import Witness


class Heartbeat(BaseModel):
    """The run was alive at `occurred_at`, and means to say so again within `interval_seconds`."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    kind: Literal["heartbeat"] = "heartbeat"
    run_id: UUID
    engine: str
    deployment: str
    witness: Witness
    team: str | None = None
    occurred_at: AwareDatetime
    interval_seconds: float = Field(gt=0)
