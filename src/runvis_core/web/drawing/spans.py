"""A run's tree as rows of a waterfall: one row for all attempts of one thing, its children under it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from operator import itemgetter
from typing import Final
from uuid import UUID

from runvis_core.model.state import State
from runvis_core.services.answers import RunRef, TreeNode
from runvis_core.services.spans import SpanFacts
from runvis_core.services.unshown import Unshown, UnshownRun
from runvis_core.web.drawing.intervals import Interval
from runvis_core.web.drawing.looks import Look, is_presumed, look_at

_NO_FACTS: Final = SpanFacts()
_NOTHING: Final[Mapping[UUID, Unshown]] = {}
_UNTOLD: Final = Unshown([], is_whole=False)


@dataclass(slots=True)
class Span:
    """All attempts of one thing under one parent, the first one first, and what ran inside them."""

    attempts: list[RunRef]
    facts: list[SpanFacts]
    depth: int
    inside: list[Span] = field(default_factory=list["Span"])
    unshown: list[Unshown] = field(default_factory=list[Unshown])
    """What the tree left out right inside, of each attempt that has more inside than is shown."""
    cut: int = 0
    """How many runs inside the tree left out."""
    cut_failed: int = 0
    """How many things of them failed."""
    cut_in: UUID | None = None
    """The attempt of which they are, or most of them."""
    is_caused: bool = False
    """Started by the span above, not contained in it."""
    is_critical: bool = False
    last: RunRef = field(init=False)
    """The attempt that counts."""
    looks: list[Look] = field(init=False)
    """How each attempt looks."""
    look: Look = field(init=False)
    """How the last one looks."""

    def __post_init__(self) -> None:
        self.looks = [
            look_at(run, is_silent=facts.is_silent) for run, facts in zip(self.attempts, self.facts, strict=True)
        ]
        self.last, self.look = self.attempts[-1], self.looks[-1]

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt failed by itself, not for want of another's success, or is presumed to have."""
        return self.look.key in ("failed", "timedout") or is_presumed(self.last.presumed)

    @property
    def is_told(self) -> bool:
        """Whether of all right inside it is known when it was."""
        return not self.cut or all(unshown.is_whole for unshown in self.unshown)

    def walk(self) -> Iterator[Span]:
        """Yield this span and all inside, as rows stand under each other."""
        yield self
        for span in self.inside:
            yield from span.walk()

    def walk_own(self) -> Iterator[Span]:
        """Yield this span and all inside, without what they started elsewhere."""
        yield self
        for span in self.inside:
            if not span.is_caused:
                yield from span.walk_own()


def spans_of(tree: TreeNode, facts: Mapping[UUID, SpanFacts], unshown: Mapping[UUID, Unshown] = _NOTHING) -> Span:
    """Return the spans of a tree; `unshown` is by run what it leaves out."""
    return _span([tree], facts, unshown, 0)


def _span(
    attempts: list[TreeNode], facts: Mapping[UUID, SpanFacts], unshown: Mapping[UUID, Unshown], depth: int
) -> Span:
    if len(attempts) > 1:
        attempts = sorted(attempts, key=lambda node: (node.attempt or 0, node.started_at is None, node.started_at or 0))
    known = [facts.get(node.run_id, _NO_FACTS) for node in attempts]
    span = Span([*attempts], known, depth)
    for node in attempts:
        if node.cut_children:
            span.unshown.append(unshown.get(node.run_id, _UNTOLD))
            span.cut += node.cut_children
            span.cut_failed += node.cut_failed
            span.cut_in = max(attempts, key=lambda one: one.cut_children).run_id
    inside = [child for node in attempts for child in node.children]
    span.inside += [_span(group, facts, unshown, depth + 1) for group in _groups(inside, facts)]
    for node in attempts:
        for started in node.caused:
            span.inside.append(replace(_span([started], facts, unshown, depth + 1), is_caused=True))
    return span


def _groups(nodes: Iterable[TreeNode], facts: Mapping[UUID, SpanFacts]) -> Iterable[list[TreeNode]]:
    groups: dict[object, list[TreeNode]] = {}
    for node in nodes:
        native_key = facts.get(node.run_id, _NO_FACTS).native_key
        key = (node.engine, node.deployment, native_key) if native_key is not None else node.run_id
        groups.setdefault(key, []).append(node)
    return groups.values()


def extent_of(root: Span, *, now: datetime) -> Interval | None:
    """Return from the first to the last evidence of what ran; to `now` only while the root itself is running.

    None if nothing is known to have waited or run.
    """
    moments: list[datetime] = []
    for attempts, _ in _told(root):
        for run in attempts:
            # What never began has no place in time but its due time, which must not stretch the axis.
            if run.started_at is not None:
                moments += [moment for moment in (run.started_at, run.queued_at, run.ended_at) if moment is not None]
    if is_live(root.last) and root.last.started_at is not None:
        moments.append(max(now, root.last.started_at))
    if moments:
        # What it started and began while it went on is seen to its end; a loop may go on for days.
        end = max(moments)
        started = [span.last for span in root.walk() if span.is_caused and span.last.started_at]
        moments += [run.ended_at for run in started if run.ended_at and run.started_at and run.started_at <= end]
    else:
        moments = [moment for run in root.attempts for moment in (run.queued_at, run.ended_at) if moment]
    return (min(moments), max(moments)) if moments else None


def begin_of(span: Span) -> datetime | None:
    """Return when a span was first queued or running; None while neither is known."""
    return min((moment for run in span.attempts for moment in (run.queued_at, run.started_at) if moment), default=None)


def is_live(run: RunRef) -> bool:
    """Return whether nobody has said that the run ended."""
    return run.effective_state is None or not run.effective_state.is_terminal


def is_all_told(root: Span) -> bool:
    """Return whether of all inside of a span it is known when it was, be it shown or not."""
    return all(span.is_told for span in root.walk_own())


def _told(root: Span) -> Iterator[tuple[Sequence[RunRef | UnshownRun], bool]]:
    """Yield of each thing inside the attempts, shown or not, and whether it has nothing inside."""
    for span in root.walk_own():
        yield span.attempts, not span.cut and all(inner.is_caused for inner in span.inside)
        for unshown in span.unshown:
            for thing in unshown.things:
                yield thing, True


def going_on(root: Span, *, end: datetime) -> dict[str, list[Interval]]:
    """Return when something ran, waited for its next attempt, or waited for a worker: only what has nothing inside."""
    running: list[Interval] = []
    retry: list[Interval] = []
    queued: list[Interval] = []
    for attempts, is_leaf in _told(root):
        for run in attempts:
            if run.queued_at is not None:
                queued.append((run.queued_at, run.started_at or run.ended_at or end))
            if run.started_at is not None and is_leaf:
                running.append((run.started_at, run.ended_at or end))
        for run, after in pairwise(attempts):
            if run.ended_at is not None:
                retry.append((run.ended_at, after.queued_at or after.started_at or run.ended_at))
    return {"running": running, "retry": retry, "queued": queued}


def mark_critical(root: Span) -> None:
    """Mark the chain of spans which ended the root when it ended: none of them could have ended later unnoticed.

    It may lead through what isn't shown. Where it isn't known when all inside was, nothing inside is marked.
    """
    root.is_critical = True
    if not root.is_told:
        return
    until = root.last.ended_at
    # From the last to the first: each is the one that ended last before the next began.
    for ended, begun, span in sorted(_ended(root), key=itemgetter(0), reverse=True):
        if until is None or ended <= until:
            if span is not None:
                mark_critical(span)
            until = begun


def _ended(root: Span) -> Iterator[tuple[datetime, datetime, Span | None]]:
    """Yield of what ran right inside and ended its end, its beginning, and its span if it is shown."""
    things = [(span.attempts, span) for span in root.inside if not span.is_caused]
    unshown = [(thing, None) for one in root.unshown for thing in one.things]
    for attempts, span in (*things, *unshown):
        first, last = attempts[0], attempts[-1]
        if last.ended_at is not None and last.started_at is not None:
            yield last.ended_at, first.queued_at or first.started_at or last.started_at, span


def first_failed(root: Span) -> Span | None:
    """Return the span that failed first among those which have nothing failed inside; the root only if it is alone."""
    failed = [span for span in root.walk() if span.has_failed and not any(inner.has_failed for inner in span.inside)]
    return min(failed, key=lambda span: (span.last.ended_at is None, span.last.ended_at or 0), default=None)


def count_not_run(root: Span) -> int:
    """Return how many things inside ended without having begun, skipped by decision ones left out.

    Where not all inside is told it is at least so many.
    """
    inside = (attempts for attempts, _ in _told(root) if attempts is not root.attempts)
    return sum(_is_not_run(attempts[-1]) for attempts in inside)


def _is_not_run(run: RunRef | UnshownRun) -> bool:
    return run.effective_state == State.CANCELLED and run.started_at is None and run.native_state != "skipped"
