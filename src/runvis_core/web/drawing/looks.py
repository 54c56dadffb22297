"""How a state looks: a word, a shape and a colour's name. The shape alone tells it apart from the others."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple, Protocol

from markupsafe import Markup

from runvis_core.model.state import State, Verdict


class Look(NamedTuple):
    """A state as pages show it: `key` names its colour and its shape, `word` says it."""

    key: str
    word: str


class HasState(Protocol):
    """A run, or an attempt of one."""

    @property
    def state(self) -> State | None:
        """The frozen state."""
        ...

    @property
    def effective_state(self) -> State | None:
        """The state in effect."""
        ...

    @property
    def native_state(self) -> str | None:
        """The engine's own word."""
        ...

    @property
    def presumed(self) -> Verdict | None:
        """The verdict on its silence, where there is one."""
        ...


_LOOKS: Final = {
    State.QUEUED: Look("queued", "Queued"),
    State.INITIALIZING: Look("starting", "Initializing"),
    State.RUNNING: Look("running", "Running"),
    State.FINALIZING: Look("starting", "Finalizing"),
    State.SUCCEEDED: Look("succeeded", "Succeeded"),
    State.FAILED: Look("failed", "Failed"),
    State.CANCELLED: Look("cancelled", "Cancelled"),
    State.TIMED_OUT: Look("timedout", "Timed out"),
}
_NATIVE: Final = {
    "skipped": Look("skipped", "Skipped"),
    "upstream_failed": Look("skipped", "Upstream failed"),
    "removed": Look("skipped", "Removed"),
    "up_for_retry": Look("failed", "To be retried"),
}
"""Native states that people look for."""
_UNKNOWN: Final = Look("unknown", "Unknown")
_PRESUMED: Final = {
    Verdict.LOST: Look("silent", "Presumed lost"),
    Verdict.SILENT: Look("silent", "Silent"),
}

# Each in a box of 12 by 12, drawn in the state's colour.
_SHAPES: Final = {
    "queued": '<path d="M6 6V1a5 5 0 0 1 5 5z"/><circle cx="6" cy="6" r="4.5" class="o d"/>',
    "starting": '<circle cx="6" cy="6" r="4" class="o"/>',
    "running": '<path d="M3 1.5v9L10.5 6z"/>',
    "succeeded": '<circle cx="6" cy="6" r="5.5"/><path d="M3.5 6.2l1.8 1.8L8.6 4.3" class="k"/>',
    "failed": '<path d="M.5.5h11v11H.5z"/><path d="M3.5 3.5l5 5m0-5l-5 5" class="k"/>',
    "timedout": '<path d="M.5.5h11v11H.5z"/><path d="M6 2.5V6l2.5 1.5" class="k"/>',
    "cancelled": '<path d="M6 0l6 6-6 6-6-6z"/><path d="M4 8l4-4" class="k"/>',
    "skipped": '<path d="M1 9V5h7M6 2.5L8.8 5 6 7.5" class="o"/>',
    "silent": '<circle cx="6" cy="6" r="5" class="o d"/><path d="M4.6 4.6a1.5 1.5 0 1 1 2 1.5L6 7m0 2v.4" class="o"/>',
    "unknown": '<path d="M2 6h8" class="o d"/>',
}
KEYS: Final = tuple(_SHAPES)
# What bars of silent runs are filled with.
_HATCH: Final = (
    '<pattern id="silent-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M1 0v6" class="silent o"/></pattern>'
)


SILENT: Final = _PRESUMED[Verdict.SILENT]


def look_at(run: HasState, *, is_silent: bool = False) -> Look:
    """Return how a run's effective state looks; a presumption shows as one, and so does an overdue heartbeat."""
    if run.presumed is not None and is_presumed(run.presumed):
        return _PRESUMED[run.presumed]
    if is_silent:
        return SILENT
    # The native state is that of the frozen state: of a run that was skipped and then failed it would say skipped.
    is_frozen = run.state is None or run.effective_state is run.state
    return look_of(run.effective_state or run.state, run.native_state if is_frozen else None)


def look_of(state: State | None, native_state: str | None = None) -> Look:
    """Return how a state looks; some of the engines' own words have looks of their own."""
    if state is None:
        return _UNKNOWN
    if state.is_terminal and state is not State.SUCCEEDED and native_state in _NATIVE:
        return _NATIVE[native_state]
    return _LOOKS[state]


def is_presumed(verdict: Verdict | None) -> bool:
    """Return whether a verdict says that a run went silent or was lost."""
    return verdict in _PRESUMED


@cache
def icon(key: str) -> Markup:
    """Return a reference to a state's shape, which the page defines once: see `sprite`."""
    return Markup('<svg class="i {0}" aria-hidden="true"><use href="#i-{0}"/></svg>').format(key)


def sprite() -> Markup:
    """Return the shapes of all states, to be referred to from anywhere in a page."""
    shapes = "".join(f'<symbol id="i-{key}" viewBox="0 0 12 12">{shape}</symbol>' for key, shape in _SHAPES.items())
    return Markup(f'<svg class="sprite" aria-hidden="true">{shapes}{_HATCH}</svg>')  # noqa: S704 - our own shapes, no data
