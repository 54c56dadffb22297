"""What statistics answer: counts, times, trends, grids, and how definitions stand. Needs no store."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from runvis_core.model.state import State
from runvis_core.services.answers import Answer, AttemptView, DefinitionVersion, RunRef
from runvis_core.services.filters import Dimension
from runvis_core.services.lineage_answers import LineageRef


class Times(Answer):
    """How long something took, in seconds: each quantile is within 1% of the true one."""

    count: int
    """Of how many runs it is known."""
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class StatRow(Answer):
    """Runs that have in common what the question tells apart; the rest of the names are None."""

    engine: str | None = None
    deployment: str | None = None
    definition: str | None = None
    """Empty for runs that nobody named."""
    kind: str | None = None
    begins_at: AwareDatetime | None = None
    """The beginning of the hour or day, by when the runs were first heard of."""
    runs: int
    states: dict[State, int] = Field(default_factory=dict[State, int])
    """How many of them by effective state."""
    failed_share: float | None = None
    """Of those that succeeded, failed or timed out: the part that failed or timed out."""
    duration: Times
    """From start to end."""
    queue: Times
    """From being queued to the start."""


class StatTable(Answer):
    """Statistics of the runs that were first heard of in a range of time."""

    since: AwareDatetime
    until: AwareDatetime
    """The range, in whole hours or days: `runs?since=…&until=…` with the same filters lists just these runs."""
    by: list[Dimension]
    items: list[StatRow]
    notes: list[str] = Field(default_factory=list[str])


class Trend(Answer):
    """A definition over time."""

    engine: str
    deployment: str
    definition: str
    kind: str
    since: AwareDatetime
    until: AwareDatetime
    step: Dimension
    points: list[StatRow]
    """One per hour or day that has runs, the earliest first."""
    whole: StatRow
    """The whole range as one."""
    versions: list[DefinitionVersion]
    """What was recorded of the definition in the range, the earliest first."""


class GridAttempt(AttemptView):
    """One attempt of a step."""

    queue_seconds: float | None = None
    offset_seconds: float | None = None
    """From the run's beginning to the start of this attempt."""
    native_key: str | None = None
    """What attempts of one thing share: those of another instance of the step have another one."""
    native_id: str | None = None


class GridInstances(Answer):
    """How many instances of a step stand alike in a run, by the last attempt of each."""

    count: int
    last_attempt: AttemptView
    """That of the first of them."""


class GridCell(Answer):
    """A step in one run: all its attempts, the first one first; none when it was expected and is absent."""

    attempts: list[GridAttempt] = Field(default_factory=list[GridAttempt])
    """Of several instances those of each beside one another, of the failed ones first."""
    cut_attempts: int = 0
    """How many more attempts there are: the first ones of a single thing, the last ones of several instances."""
    instances: list[GridInstances] = Field(default_factory=list[GridInstances])
    """How those stand that ran of a step as several (mapped tasks, calls in a loop), failed ones first; else empty."""


class GridColumn(Answer):
    """One run of the definition, or one that was due and is absent: then `run` is None."""

    run: RunRef | None = None
    due_at: AwareDatetime | None = None
    version: str | None = None
    """The version of the definition that it ran: the engine's own word for it, else the beginning of its hash."""
    is_new_version: bool = False
    """True if the run before it, as far as shown, ran another version."""


class GridRow(Answer):
    """One step over the runs."""

    step: str
    cells: list[GridCell | None]
    """In the order of the columns; None where the step neither ran nor was expected."""


class Grid(Answer):
    """Steps by runs of one definition, the newest run last."""

    engine: str
    deployment: str
    definition: str
    kind: str
    columns: list[GridColumn]
    """The oldest first. Of runs that were due and are absent the last ones, at most as many as runs were asked for;
    `notes` count those before."""
    rows: list[GridRow]
    """In the order in which the steps first began, or in that of the versions where there are very many."""
    step_count: int
    """How many steps there are; `rows` are those from `first_step` on."""
    first_step: int = 0
    next_cursor: str | None = None
    """For the runs before these."""
    notes: list[str] = Field(default_factory=list[str])


class DefinitionHealth(Answer):
    """How one definition stands."""

    engine: str
    deployment: str
    definition: str
    kind: str
    is_inner: bool
    """True if its last run ran inside another one."""
    schedule: str | None = None
    last_run: RunRef | None = None
    """The last run that succeeded, failed or timed out."""
    last_good: RunRef | None = None
    failing_since: AwareDatetime | None = None
    """When the first failure after the last success began."""
    error_type: str | None = None
    failure_line: str | None = None
    """The first line of the last run's failure, or of what failed inside it."""
    blocks: list[LineageRef] = Field(default_factory=list[LineageRef])
    """Of what fails: definitions that lie downstream of it, the nearest first, the first of them only."""
    blocks_count: int = 0
    """How many there are."""
    blocks_cut: bool = False
    """Whether there may be more: the lineage was not followed further."""
    last_begun_at: AwareDatetime | None = None
    due_at: AwareDatetime | None = None
    """When the first run that is missing was due."""
    missed: int = 0
    """How many runs were due since the last one began."""
    missed_cut: bool = False
    """Whether there may be more: they were not counted further."""


class EngineDay(Answer):
    """The runs of one kind of an engine on one day."""

    engine: str
    deployment: str
    kind: str
    day: AwareDatetime
    states: dict[State, int]
    runs: int


class Health(Answer):
    """What is broken, late or silent now, and the last days of each engine."""

    at: AwareDatetime
    failing: list[DefinitionHealth]
    """Definitions of which the last run failed or timed out, the longest-failing one last; those that run inside others
    are left out."""
    failing_count: int
    late: list[DefinitionHealth]
    late_count: int
    silent: list[RunRef]
    """Live runs whose heartbeat is overdue."""
    silent_count: int
    days: list[EngineDay]
    notes: list[str] = Field(default_factory=list[str])
