"""Prefect's states and RunVis's words for them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runvis_core.model.state import State

STATE_OF_TYPE: Final[Mapping[str, State]] = {
    "SCHEDULED": State.QUEUED,
    "PENDING": State.INITIALIZING,
    "RUNNING": State.RUNNING,
    # A run that waits for a person, or that is being stopped, has begun and has not ended.
    "PAUSED": State.RUNNING,
    "CANCELLING": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
"""The canonical state by Prefect's type of state. Names are free: users may give their own, and the type holds."""

STATE_OF_NAME: Final[Mapping[tuple[str, str], State]] = {
    # It ends the attempt that failed; the next attempt begins with Retrying.
    ("SCHEDULED", "AwaitingRetry"): State.FAILED,
    ("FAILED", "TimedOut"): State.TIMED_OUT,
    # The run completed and was then undone: nothing of what it did is left.
    ("COMPLETED", "RolledBack"): State.FAILED,
}
"""The states of Prefect whose name says more than their type. No state of Prefect means Finalizing."""


def canonical_state(state: Any) -> State:
    """Return the canonical state of a state of Prefect."""
    kind = type_name(state)
    return STATE_OF_NAME.get((kind, str(state.name)), STATE_OF_TYPE[kind])


def type_name(state: Any) -> str:
    """Return a state's type as a word, from an enum member or a plain string."""
    return str(getattr(state.type, "value", state.type))
