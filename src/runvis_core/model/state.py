"""States of a run, and the words for who reported a fact and why a run started."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a run is in its life. The last four are terminal: a run reaches one of them once."""

    QUEUED = "Queued"
    INITIALIZING = "Initializing"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    TIMED_OUT = "TimedOut"

    @property
    def is_terminal(self) -> bool:
        """Whether a run ends with this state."""
        return self in TERMINAL_STATES


TERMINAL_STATES: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT})


def is_going_on(state: State | None) -> bool:
    """Return whether nobody has said that a run ended whose effective state this is."""
    return state is None or not state.is_terminal


LIFECYCLE_RANK: Final[dict[State, int]] = {
    State.QUEUED: 0,
    State.INITIALIZING: 1,
    State.RUNNING: 2,
    State.FINALIZING: 3,
    State.SUCCEEDED: 4,
    State.FAILED: 4,
    State.CANCELLED: 4,
    State.TIMED_OUT: 4,
}
"""Breaks a tie between two states with the same `occurred_at`: the one further on in life is the current one."""


class Witness(StrEnum):
    """Who reported a fact."""

    WORKER = "worker"
    SCHEDULER = "scheduler"
    FOLLOWER = "follower"
    IMPORT = "import"
    RECONCILER = "reconciler"
    OPERATOR = "operator"
    """Who runs RunVis itself: what they decide is an entry as well."""


class TriggerKind(StrEnum):
    """Why a run started."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    RUN = "run"
    DATASET = "dataset"
    BACKFILL = "backfill"
    RETRY = "retry"
    API = "api"
    UNKNOWN = "unknown"


class Relation(StrEnum):
    """How the run that a link belongs to stands to the link's target."""

    CAUSED = "caused"
    """The run started the target (TriggerDagRun, run_deployment, a dataset event)."""
    CAUSED_BY = "caused_by"
    """The target started the run: what a child says whose engine names its cause (an asset event's source task)."""
    CARRIED_OVER = "carried_over"
    """The run is a reopened parent that keeps the target, a try which ran under an earlier attempt of it."""
    BECAME = "became"
    """The run was waiting under a provisional id, and is the target since it started."""


class Verdict(StrEnum):
    """What is presumed of a run whose engine went silent. Reversible; it freezes nothing."""

    SILENT = "silent"
    BEATING = "beating"
    LOST = "lost"
