"""A run's tree as rows of a waterfall: one row for all attempts of one thing, its children under it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Final
from uuid import UUID

from runvis_core.model.state import State
from runvis_core.services.answers import RunRef, TreeNode
from runvis_core.services.spans import SpanFacts
from runvis_core.web.drawing.intervals import Interval
from runvis_core.web.drawing.looks import Look, is_presumed, look_at

_NO_FACTS: Final = SpanFacts()


@dataclass(slots=True)
class Span:
    """All attempts of one thing under one parent, the first one first, and what ran inside them."""

    attempts: list[RunRef]
    facts: list[SpanFacts]
    depth: int
    inside: list[Span] = field(default_factory=list["Span"])
    cut: int = 0
    """How many runs inside the tree left out."""
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
            look_at(run, facts.presumed, is_silent=facts.is_silent)
            for run, facts in zip(self.attempts, self.facts, strict=True)
        ]
        self.last, self.look = self.attempts[-1], self.looks[-1]

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt failed by itself, not for want of another's success, or is presumed to have."""
        return self.look.key in ("failed", "timedout") or is_presumed(self.facts[-1].presumed)

    @property
    def never_ran(self) -> bool:
        """Whether it ended without having begun."""
        state = self.last.effective_state
        return self.last.started_at is None and state is not None and state.is_terminal

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


def spans_of(tree: TreeNode, facts: Mapping[UUID, SpanFacts]) -> Span:
    """Return the spans of a tree."""
    return _span([tree], facts, 0)


def _span(attempts: list[TreeNode], facts: Mapping[UUID, SpanFacts], depth: int) -> Span:
    if len(attempts) > 1:
        attempts = sorted(attempts, key=lambda node: (node.attempt or 0, node.started_at is None, node.started_at or 0))
    known = [facts.get(node.run_id, _NO_FACTS) for node in attempts]
    span = Span([*attempts], known, depth, cut=sum(node.cut_children for node in attempts))
    inside = [child for node in attempts for child in node.children]
    span.inside += [_span(group, facts, depth + 1) for group in _groups(inside, facts)]
    for node in attempts:
        for started in node.caused:
            span.inside.append(replace(_span([started], facts, depth + 1), is_caused=True))
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
    for span in root.walk_own():
        for run in span.attempts:
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


def going_on(root: Span, *, end: datetime) -> dict[str, list[Interval]]:
    """Return when something ran, waited for its next attempt, or waited for a worker: only what has nothing inside."""
    running: list[Interval] = []
    retry: list[Interval] = []
    queued: list[Interval] = []
    for span in root.walk_own():
        is_leaf = all(inner.is_caused for inner in span.inside)
        for run in span.attempts:
            if run.started_at is not None:
                if run.queued_at is not None:
                    queued.append((run.queued_at, run.started_at))
                if is_leaf:
                    running.append((run.started_at, run.ended_at or end))
        for run, after in pairwise(span.attempts):
            if run.ended_at is not None:
                retry.append((run.ended_at, after.queued_at or after.started_at or run.ended_at))
    return {"running": running, "retry": retry, "queued": queued}


def mark_critical(root: Span) -> None:
    """Mark the chain of spans which ended the root when it ended: none of them could have ended later unnoticed."""
    root.is_critical = True
    until = root.last.ended_at
    # From the last to the first: each is the one that ended last before the next began.
    for span in sorted(_ended(root), key=_end_of, reverse=True):
        if until is None or _end_of(span) <= until:
            mark_critical(span)
            until = span.attempts[0].queued_at or span.attempts[0].started_at


def _ended(root: Span) -> list[Span]:
    return [span for span in root.inside if span.last.ended_at and span.last.started_at and not span.is_caused]


def _end_of(span: Span) -> datetime:
    assert span.last.ended_at is not None
    return span.last.ended_at


def first_failed(root: Span) -> Span | None:
    """Return the span that failed first among those which have nothing failed inside; the root only if it is alone."""
    failed = [span for span in root.walk() if span.has_failed and not any(inner.has_failed for inner in span.inside)]
    return min(failed, key=lambda span: (span.last.ended_at is None, span.last.ended_at or 0), default=None)


def count_not_run(root: Span) -> int:
    """Return how many spans inside ended without having begun, skipped by decision ones left out."""
    return sum(
        span.never_ran and span.last.native_state != "skipped" and span.last.effective_state is State.CANCELLED
        for inner in root.inside
        if not inner.is_caused
        for span in inner.walk_own()
    )
