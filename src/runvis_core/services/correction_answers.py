"""What is said of corrections. Needs no store."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from runvis_core.model.state import State
from runvis_core.services.answers import Answer, Report
from runvis_core.services.calendar import AskedEnd, AskedMoment
from runvis_core.services.filters import Word


class CorrectionSummary(Answer):
    """A correction as lists have it, with the run that it corrects."""

    correction_id: UUID
    corrects: UUID
    """The run that is frozen otherwise."""
    engine: str
    deployment: str
    definition: str | None = None
    native_id: str | None = None
    frozen_state: State
    """What the run is frozen as."""
    state: State
    """What the correction says."""
    native_state: str | None = None
    effective_state: State
    """What counts now."""
    report: Report


class CorrectionFilter(BaseModel):
    """Which corrections a list shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Word | None = Field(default=None, description="The engine: airflow, prefect, …")
    deployment: Word | None = Field(default=None, description="The installation of the engine.")
    definition: Word | None = Field(default=None, description="The definition's whole name.")
    since: AskedMoment | None = Field(
        default=None, description="Of runs that lists have from this moment on (with its time zone)."
    )
    until: AskedEnd | None = Field(
        default=None, description="Of runs that lists have before this moment (with its time zone)."
    )
