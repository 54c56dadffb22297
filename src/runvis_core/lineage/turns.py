"""Chains of causes that come back to the definition where they began."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from runvis_core.model.identity import named_id

MAX_CHAIN: Final = 64
"""How many causes after one another a turn may have."""
MAX_LOOKED: Final = 20_000
"""How many starts are looked at for the turns that one start closes."""


class Trigger(NamedTuple):
    """A row of `lineage_triggers`: a thing of the definition `target` was started by `cause`, a thing of `source`."""

    thing: UUID
    source: int
    target: int
    cause: UUID
    run_id: UUID
    position: int
    happened_at: datetime


class Turn(NamedTuple):
    """A chain of causes that came back: the thing that closed it, and the definitions that it went through."""

    thing: UUID
    node: int
    run_id: UUID
    position: int
    happened_at: datetime
    """From when on it belongs to the past: when the last start of its chain happened."""
    path: tuple[int, ...]
    """Each definition of the chain once, the one that it came back to first, then in the order of the causes."""

    @property
    def cycle(self) -> UUID:
        """Return the id that all turns through the same definitions share."""
        return named_id("cycle", *sorted(self.path))


class _Way(NamedTuple):
    """How far a climb came: the things and the definitions from here on down, and the latest start on the way."""

    things: tuple[UUID, ...]
    path: tuple[int, ...]
    happened_at: datetime


Column = Literal["thing", "cause"]
Read = Callable[[Column, Iterable[UUID]], Iterable[Trigger]]
"""Gives all starts of which a column is one of some things."""


class Chains:
    """Who started whom, read as far as it is needed. What a start closes depends on what was known at its position."""

    def __init__(self, new: Iterable[Trigger], read: Read) -> None:
        self._read = read
        self._looked = 0
        self._known: dict[Column, dict[UUID, list[Trigger]]] = {"thing": {}, "cause": {}}
        # What most of the new ones need, read together.
        starts = list(new)
        self._read_on("thing", {trigger.cause for trigger in starts} | {trigger.thing for trigger in starts})
        self._read_on("cause", {trigger.thing for trigger in starts})

    def _read_on(self, column: Column, things: set[UUID]) -> None:
        """Read starts level by level, in the direction in which a column leads."""
        for _ in range(MAX_CHAIN):
            fresh = things - self._known[column].keys()
            if not fresh or len(self._known[column]) > MAX_LOOKED:
                return
            found = self._of(column, fresh)
            things = {trigger.cause if column == "thing" else trigger.thing for trigger in found}

    def _of(self, column: Column, things: Iterable[UUID]) -> list[Trigger]:
        """Return all starts of things, or by them, in the order of the things, then in that in which they were told."""
        known, wanted = self._known[column], list(dict.fromkeys(things))
        fresh = [thing for thing in wanted if thing not in known]
        if fresh:
            known.update((thing, []) for thing in fresh)
            for trigger in self._read(column, fresh):
                known[getattr(trigger, column)].append(trigger)
            for thing in fresh:
                known[thing].sort(key=lambda trigger: (trigger.position, trigger.source, trigger.thing.bytes))
        return [trigger for thing in wanted for trigger in known[thing]]

    def turns_closed_by(self, new: Trigger) -> list[Turn]:
        """Return the turns that a start closes: that of the thing started, and those of what this started on."""
        self._looked = 0
        turns: list[Turn] = []
        level, seen = [new], {new.thing}
        for _ in range(MAX_CHAIN):
            if not level:
                break
            turns += [turn for trigger in level if (turn := self._turn_of(trigger, new.position))]
            below: list[Trigger] = []
            for started in self._of("cause", (trigger.thing for trigger in level)):
                if started.position <= new.position and started.thing not in seen and self._has_room():
                    seen.add(started.thing)
                    below.append(started)
            level = below
        return turns

    def _has_room(self) -> bool:
        self._looked += 1
        return self._looked <= MAX_LOOKED

    def _turn_of(self, started: Trigger, position: int) -> Turn | None:
        way = self._climb(started, position)
        if way is None:
            return None
        path = tuple(dict.fromkeys(way.path))
        return Turn(started.thing, started.target, started.run_id, position, way.happened_at, path)

    def things_of(self, closing: Trigger, position: int) -> tuple[UUID, ...]:
        """Return the things of the turn that a start closed, by what was known at a position, the first one first."""
        self._looked = 0
        way = self._climb(closing, position)
        return way.things if way is not None else (closing.thing,)

    def _climb(self, started: Trigger, position: int) -> _Way | None:
        """Climb from a thing to the nearest cause of its own definition, by what was known at a position."""
        level = [_Way((started.thing,), (), started.happened_at)]
        seen = {started.thing}
        for _ in range(MAX_CHAIN):
            self._of("thing", (way.things[0] for way in level))
            above: list[_Way] = []
            for way in level:
                for trigger in self._known["thing"][way.things[0]]:
                    if trigger.position > position or not self._has_room():
                        continue
                    happened_at = max(way.happened_at, trigger.happened_at)
                    further = _Way((trigger.cause, *way.things), (trigger.source, *way.path), happened_at)
                    if trigger.source == started.target:
                        return further
                    if trigger.cause not in seen:
                        seen.add(trigger.cause)
                        above.append(further)
            level = above
        return None
