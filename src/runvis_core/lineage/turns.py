"""Chains of causes that come back to the definition where they began; pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.model.identity import named_id

MAX_CHAIN: Final = 64
"""How many causes after one another a turn may have."""


class Trigger(NamedTuple):
    """A row of `lineage_triggers`: a thing of the definition `target` was started by `cause`, a thing of `source`."""

    thing: UUID
    source: int
    target: int
    cause: UUID
    run_id: UUID
    position: int


class Turn(NamedTuple):
    """A chain of causes that came back: the thing that closed it, and the definitions that it went through."""

    thing: UUID
    node: int
    run_id: UUID
    position: int
    path: tuple[int, ...]
    """Each definition of the chain once, the one that it came back to first, then in the order of the causes."""

    @property
    def cycle(self) -> UUID:
        """Return the id that all turns through the same definitions share."""
        return named_id("cycle", *sorted(self.path))


class Chains:
    """Who started whom, as far as it was fetched."""

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        self._causes: defaultdict[UUID, list[Trigger]] = defaultdict(list)
        self._caused: defaultdict[UUID, list[Trigger]] = defaultdict(list)
        for trigger in sorted(triggers, key=lambda trigger: (trigger.position, trigger.source)):
            self._causes[trigger.thing].append(trigger)
            self._caused[trigger.cause].append(trigger)

    def turns_closed_by(self, new: Trigger) -> list[Turn]:
        """Return the turns that a trigger closes: that of the thing started, and those of what this started on."""
        turns: list[Turn] = []
        level, seen = [new], {new.thing}
        for _ in range(MAX_CHAIN):
            if not level:
                break
            turns += [turn for trigger in level if (turn := self._turn_of(trigger, new.position))]
            below: list[Trigger] = []
            for trigger in level:
                for started in self._caused.get(trigger.thing, ()):
                    if started.position <= new.position and started.thing not in seen:
                        seen.add(started.thing)
                        below.append(started)
            level = below
        return turns

    def _turn_of(self, started: Trigger, position: int) -> Turn | None:
        """Climb from a thing to the nearest cause of its own definition, by what was known at a position."""
        above: deque[tuple[UUID, tuple[int, ...]]] = deque([(started.thing, ())])
        seen = {started.thing}
        while above:
            thing, path = above.popleft()
            if len(path) >= MAX_CHAIN:
                continue
            for trigger in self._causes.get(thing, ()):
                if trigger.position > position:
                    continue
                through = (trigger.source, *path)
                if trigger.source == started.target:
                    return Turn(started.thing, started.target, started.run_id, position, tuple(dict.fromkeys(through)))
                if trigger.cause not in seen:
                    seen.add(trigger.cause)
                    above.append((trigger.cause, through))
        return None
