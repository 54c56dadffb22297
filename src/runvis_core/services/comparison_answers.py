"""What a comparison of two runs answers. Needs no store."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from runvis_core.services.answers import Answer, RunRef


class Theme(StrEnum):
    """What a difference is about, in the order in which differences are ranked: what may be a cause, then what came
    of it."""

    CODE = "code"
    INPUTS = "inputs"
    """Parameters, conf, tags, and why it started."""
    ENVIRONMENT = "environment"
    """Engine, packages, variables, pools."""
    STRUCTURE = "structure"
    """Which steps there are, and how they follow one another."""
    DATASETS = "datasets"
    """What was read and written, and the artifacts."""
    OUTCOME = "outcome"
    """How it ended: state, attempts, failure."""
    METRICS = "metrics"
    QUEUE = "queue"
    """Seconds from being queued to the start."""
    DURATION = "duration"
    """Seconds from start to end."""
    INCIDENTAL = "incidental"
    """What differs between any two runs: process, host, logical date."""


class Difference(Answer):
    """One thing that differs. `None` on a side that has no such thing: then it was added or removed."""

    theme: Theme
    field: str
    """What differs: `code.commit`, `parameters.rows.0`, `reads s3://raw orders`, `state`."""
    change: Literal["added", "removed", "changed"]
    """From left to right."""
    left: JsonValue = None
    right: JsonValue = None
    delta: float | None = None
    """Right minus left, where both are numbers."""
    steps: list[str] = Field(default_factory=list[str])
    """The steps in which it differs alike; empty when it is the compared runs themselves."""
    cut_steps: int = 0
    """How many more steps there are."""


class StepSide(Answer):
    """A step as one of the runs had it: its last attempt."""

    run: RunRef
    attempts: int
    """How many attempts of it there were."""
    offset_seconds: float | None = None
    """From the first evidence of the compared run to the start of this attempt."""
    queue_seconds: float | None = None


class StepPair(Answer):
    """One step in both runs, aligned by its name; None on the side that has no such step."""

    step: str
    """The path of names below the compared run: `load`, `inner/stage[2]`; empty for the run itself."""
    left: StepSide | None = None
    right: StepSide | None = None
    differs: bool
    """True if any difference but a duration or an incidental one was found in it."""


class EqualFields(Answer):
    """What was compared and found equal."""

    theme: Theme
    count: int
    fields: list[str]
    """The first of them, by name."""


class Comparison(Answer):
    """Two runs, what differs between them, and what does not."""

    left: RunRef
    right: RunRef
    first_divergence: Difference | None = None
    """Where they part first, in the order of cause: what the runs themselves were given, their code, inputs and
    environment; where that is equal, what differs in the step that differs first in time. It stands first in
    `differences` too."""
    differences: list[Difference] = Field(default_factory=list[Difference])
    """Ranked: the first divergence, then by theme, the largest change first."""
    equal: list[EqualFields] = Field(default_factory=list[EqualFields])
    steps: list[StepPair] = Field(default_factory=list[StepPair])
    """The run itself, then its steps in the order in which they began on either side."""
    cut_differences: int = 0
    cut_steps: int = 0
    """How many steps were left out, and not compared."""
    cut_fields: int = 0
    """How many fields of steps are too large, or have too many items, on either side to be compared whole."""
