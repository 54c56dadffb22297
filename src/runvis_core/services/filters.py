"""What a list may be narrowed by. Needs no store, so that a client over HTTP has the same words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from runvis_core.model.state import State, TriggerKind
from runvis_core.services.calendar import AskedEnd, AskedMoment

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


def is_storable(text: str) -> bool:
    """Return whether a name can be in a store: PostgreSQL has no NUL, and UTF-8 no lone surrogate."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("no name has a NUL character or a lone surrogate")
    return text


def _spelled(value: object) -> object:
    # The spelling is the record's; a person may type `failed` all the same.
    if isinstance(value, str):
        return _STATE_SPELLINGS.get(value.replace("_", "").lower(), value)
    return value


_STATE_SPELLINGS = {state.value.lower(): state.value for state in State}

Word = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_storable)]
StateWord = Annotated[State, BeforeValidator(_spelled)]


class RunFilter(BaseModel):
    """Which runs a list shows; what is None or empty narrows nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Word | None = Field(default=None, description="The engine: airflow, prefect, …")
    deployment: Word | None = Field(default=None, description="The installation of the engine.")
    definition: Word | None = Field(default=None, description="The definition's whole name.")
    kind: Word | None = Field(default=None, description="The kind of definition: dag, task, flow, …")
    parent: Word | None = Field(default=None, description="Only what ran inside this run, named as for `runs/{name}`.")
    text: Word | None = Field(
        default=None, description="Words of the failure's first line; the last one may be the beginning of a word."
    )
    state: list[StateWord] = Field(
        default_factory=list[State], description="The effective state; several mean any of them."
    )
    native_state: Word | None = Field(default=None, description="The engine's own word for the state.")
    tag: Word | None = Field(default=None, description="A tag of the run.")
    since: AskedMoment | None = Field(default=None, description="Runs from this moment on (with its time zone).")
    until: AskedEnd | None = Field(default=None, description="Runs before this moment (with its time zone).")
    trigger: TriggerKind | None = Field(default=None, description="Why the run started.")
    top: bool = Field(default=False, description="Only runs that lie in no other run: no tasks, no subflows.")
    correlation: Word | None = Field(default=None, description="The correlation id, the run's own or an inherited one.")
    silent: bool = Field(default=False, description="Only live runs whose heartbeat is overdue.")
    conflicting: bool = Field(default=False, description="Only runs with corrections.")
    unnamed: bool = Field(default=False, description="Only runs of which nobody has told what they are of.")


class DefinitionFilter(BaseModel):
    """Which definitions a list shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Word | None = Field(default=None, description="The engine: airflow, prefect, …")
    deployment: Word | None = Field(default=None, description="The installation of the engine.")
    kind: Word | None = Field(default=None, description="The kind of definition: dag, task, flow, …")

    def definition_filter(self) -> DefinitionFilter:
        """Return this alone, of a query that asks for more."""
        return DefinitionFilter(engine=self.engine, deployment=self.deployment, kind=self.kind)


class Dimension(StrEnum):
    """What statistics may be told apart by."""

    ENGINE = "engine"
    DEPLOYMENT = "deployment"
    DEFINITION = "definition"
    KIND = "kind"
    STATE = "state"
    HOUR = "hour"
    DAY = "day"


class StatFilter(BaseModel):
    """Which runs statistics are about, and what they are told apart by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Word | None = Field(default=None, description="The engine: airflow, prefect, …")
    deployment: Word | None = Field(default=None, description="The installation of the engine.")
    definition: Word | None = Field(default=None, description="The definition's whole name.")
    kind: Word | None = Field(default=None, description="The kind of definition: dag, task, flow, …")
    state: list[StateWord] = Field(
        default_factory=list[State], description="The effective state; several mean any of them."
    )
    since: AskedMoment | None = Field(
        default=None, description="From the hour or day that has this moment; 14 days before `until` if left out."
    )
    until: AskedEnd | None = Field(
        default=None, description="To the end of the hour or day that has this moment; now if left out."
    )
    by: list[Dimension] = Field(
        default_factory=list[Dimension], description="What to tell apart: several mean each combination."
    )
