"""What is said of what is missing from the record. Needs no store."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from runvis_core.services.answers import Answer, RunCompleteness
from runvis_core.services.calendar import AskedEnd, AskedMoment
from runvis_core.services.filters import Word


class UncertainRun(Answer):
    """A run of which it can't be said that its record is whole."""

    run_id: UUID
    engine: str
    deployment: str
    definition: str | None = None
    native_id: str | None = None


class GapView(Answer):
    """Numbers that a producer gave and that did not come with those around them."""

    producer: UUID
    engine: str | None = None
    deployment: str | None = None
    component: str | None = None
    host: str | None = None
    pid: int | None = None
    low: int
    """The first number of the gap."""
    high: int
    """The last number of the gap."""
    noticed_at: AwareDatetime | None = None
    """When a later number came, by the store's clock."""
    closed_at: AwareDatetime | None = None
    """When the numbers came after all."""
    late_seconds: float | None = None
    """How long the gap stood open."""
    runs: list[UncertainRun] = Field(default_factory=list[UncertainRun])
    """The latest runs of the asked time that it makes uncertain; none any more once it is closed."""
    run_count: int = 0
    """How many there are."""


class AccountRow(Answer):
    """What came and what did not, of one producer, or of one day of a deployment or definition."""

    day: dt.date | None = None
    """The day, in UTC: of producers the one on which they opened, of runs the one by which lists have them."""
    engine: str | None = None
    deployment: str | None = None
    definition: str | None = None
    producer: UUID | None = None
    component: str | None = None
    witness: str | None = None
    host: str | None = None
    pid: int | None = None
    opened_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    last_heard_at: AwareDatetime | None = None
    """The last sign of life, by the store's clock."""
    producers: int = 0
    closed: int = 0
    """How many of the producers said that they have said all."""
    sent: int = 0
    """How many events were numbered; of a producer that has not closed, up to the last one that came."""
    stored: int = 0
    """How many of them came and are in the record."""
    refused: int = 0
    """How many the door refused; their senders keep them as dead letters."""
    missing: int = 0
    """How many neither came nor were refused."""
    unkept: int = 0
    """How many events the producers say they could not keep themselves."""
    runs: int = 0
    whole: int = 0
    """How many of the runs are known to be whole."""
    open: int = 0
    """How many of the runs have not ended."""
    incomplete: int = 0
    """How many of the runs miss events, or had some refused."""
    lacking: int = 0
    """How many of the runs lack the word of their worker."""
    unknown: int = 0
    """Of how many of the runs it can't be known whether they are whole."""


class NumberSpan(Answer):
    """Numbers of a producer, the first and the last one."""

    producer: UUID
    low: int
    high: int


class RunGap(UncertainRun):
    """A run whose record is not whole."""

    completeness: RunCompleteness
    spans: list[NumberSpan] = Field(default_factory=list[NumberSpan])
    """The numbers that never came, or were refused, and may have been about it."""


class Completeness(Answer):
    """The account of what is missing from the record."""

    by: str
    since: AwareDatetime
    until: AwareDatetime
    whole: bool | None = None
    """False if something is missing, refused or lacking; None if nothing is, but not all can be known."""
    items: list[AccountRow]
    total: AccountRow
    """All of it as one: also what `items` leave out, and once what several of them count. By definition it counts what
    was said of runs, else all that was numbered."""
    cut: int = 0
    """How many rows were left out."""
    gaps: list[GapView] = Field(default_factory=list[GapView])
    """Gaps, those that stand open first, then the latest to close."""
    cut_gaps: int = 0
    runs: list[RunGap] = Field(default_factory=list[RunGap])
    """Runs whose record is not whole, the latest first."""
    cut_runs: int = 0


class By(StrEnum):
    """What the account is kept by."""

    DEPLOYMENT = "deployment"
    DEFINITION = "definition"
    PRODUCER = "producer"


class CompletenessFilter(BaseModel):
    """Of what the account is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: By = Field(
        default=By.DEPLOYMENT,
        description="One row for each day of what: a deployment, a definition or a producer. "
        "Of one definition the account is always by definition.",
    )
    engine: Word | None = Field(default=None, description="The engine: airflow, prefect, …")
    deployment: Word | None = Field(default=None, description="The installation of the engine.")
    definition: Word | None = Field(default=None, description="The definition's whole name.")
    since: AskedMoment | None = Field(
        default=None, description="From this moment on (with its time zone); by default the last seven days."
    )
    until: AskedEnd | None = Field(default=None, description="Before this moment (with its time zone).")
