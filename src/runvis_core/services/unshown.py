"""Which of a run's children a tree shows where there are more than it has room for, and what is told of the others."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from runvis_core.services.feed import FAILED

MAX_TIMED: Final = 5000
"""Of how many runs that a tree doesn't show it tells all the same when they were and how they ended."""


class UnshownRun(Protocol):
    """A run that a tree has no room for: what the sums over all of the tree need of it."""

    @property
    def effective_state(self) -> str | None:
        """A state's value."""
        ...

    @property
    def native_state(self) -> str | None:
        """The engine's own word for it."""
        ...

    @property
    def queued_at(self) -> datetime | None:
        """When it began to wait."""
        ...

    @property
    def started_at(self) -> datetime | None:
        """When it began to run."""
        ...

    @property
    def ended_at(self) -> datetime | None:
        """When it ended."""
        ...


class Unshown(NamedTuple):
    """What a tree leaves out right under one run."""

    things: list[list[UnshownRun]]
    """All attempts of one thing together, the first one first."""
    is_whole: bool
    """Whether this is all of it: nothing more was left out, and nothing lies inside."""


class Picked(NamedTuple):
    """Which of some runs are shown, by their places."""

    kept: set[int]
    failed: list[int]
    """Of each thing that failed and isn't shown the last attempt."""


def pick_shown(rows: Sequence[Any], most: int) -> Picked:
    """Return which of these runs are shown, given in the order of time: first what failed, then the earliest.

    All attempts of a thing are shown together, so that none looks failed which went well when it was tried again.
    """
    failed: list[list[int]] = []
    others: list[list[int]] = []
    for thing in _things(rows):
        (failed if rows[thing[-1]].effective_state in FAILED else others).append(thing)
    kept: set[int] = set()
    for thing in (*failed, *others):
        if len(kept) >= most:
            break
        kept.update(thing[-(most - len(kept)) :])
    return Picked(kept, [thing[-1] for thing in failed if thing[-1] not in kept])


def drop_retried(rows: Sequence[Any], failed: Container[UUID]) -> list[Any]:
    """Return the runs without the things that failed but for those whose last attempt is known to be in `failed`.

    Where not all attempts were read, the last one that was may be followed by one that went well.
    """
    return [
        rows[place]
        for thing in _things(rows)
        if rows[thing[-1]].effective_state not in FAILED or rows[thing[-1]].run_id in failed
        for place in thing
    ]


def describe_unshown(rows: Sequence[Any], *, cut: int) -> Unshown:
    """Return what is told of what isn't shown under one run: of `cut` runs, of which these rows are known."""
    things: list[list[UnshownRun]] = [[rows[place] for place in thing] for thing in _things(rows)]
    return Unshown(things, is_whole=len(rows) == cut and not any(row.has_children for row in rows))


def _things(rows: Sequence[Any]) -> Iterable[list[int]]:
    """Return the places of the attempts of each thing, the first one first; things in the order in which they began."""
    things: dict[object, list[int]] = {}
    for place, row in enumerate(rows):
        native_key = row.native_key
        key = (native_key, row.engine, row.deployment) if native_key is not None else place
        things.setdefault(key, []).append(place)
    for thing in things.values():
        if len(thing) > 1:
            thing.sort(key=lambda place: rows[place].attempt or 0)
    return things.values()
