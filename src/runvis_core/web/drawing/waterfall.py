"""A waterfall: rows of bars on one axis of time. Places are per cent of the axis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.services.answers import RunRef
from runvis_core.services.labels import name_run
from runvis_core.web.drawing.intervals import Interval, share_time
from runvis_core.web.drawing.looks import Look
from runvis_core.web.drawing.spans import (
    Span,
    begin_of,
    extent_of,
    first_failed,
    going_on,
    is_all_told,
    is_live,
    mark_critical,
)
from runvis_core.web.drawing.text import name_duration

MAX_ROWS: Final = 1000
"""How many rows a page shows; what is beyond is folded into the row above it."""
NEAR: Final = 10
"""How many rows are sure to be in the first screen."""
DEEPEST: Final = 12
"""The deepest level that is set in further than the one above it."""
_STEPS: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
    86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000,
)  # fmt: skip
_MOST_TICKS: Final = 6


class Bar(NamedTuple):
    """A stretch of a row; `key` is the state's.

    `kind`: `queued`, `ran`, `open` for what still runs, `retry`, `tick` for what never began. From the row's top
    `from` and on with `hand`: from the end of what started it to its own beginning. `skew` with an `end` at both
    sides: a bracket under what a clock that was off told.
    """

    kind: str
    key: str
    x: str
    width: str
    title: str


class Row(NamedTuple):
    """One thing and all its attempts."""

    run_id: UUID
    label: str
    engine: str
    kind: str | None
    depth: int
    look: Look
    attempts: list[tuple[int | None, UUID, Look]]
    waited_seconds: float | None
    ran_seconds: float | None
    bars: list[Bar]
    is_critical: bool
    is_caused: bool
    crosses: bool
    """Whether it runs in another engine than the row that it belongs to."""
    clock_suspect: bool
    after_seconds: float | None
    """How long after the end of the axis it began: it has no place on it."""
    folded: int
    """How many rows inside are not shown."""
    folded_failed: int
    folded_in: UUID | None
    """The run of whose children some are shown on no page of a run; None where the row's own page shows the rest."""


class Tick(NamedTuple):
    """A mark on the axis."""

    x: str
    label: str


class Waterfall(NamedTuple):
    """Rows on an axis; `extent` is None while nothing is known to have run."""

    rows: list[Row]
    ticks: list[Tick]
    extent: Interval | None
    shares: dict[str, float] | None
    """None where it is not known of all inside when it was."""
    unshown: int
    """How many more there are than rows."""
    unshown_failed: int
    has_hand_off: bool
    has_skew: bool
    first_failed: Row | None
    """The row that failed first, where it stands so far down that the first screen would not show it."""


def draw_waterfall(root: Span, *, now: datetime, max_rows: int = MAX_ROWS) -> Waterfall:
    """Return the waterfall of a run's spans."""
    extent = extent_of(root, now=now)
    mark_critical(root)
    total = sum(1 for _ in root.walk())
    shown, hidden = _fold(root, max_rows, total)
    scale = _Scale(*extent) if extent else None
    rows = [_row(span, above, scale, hidden.get(id(span), (0, 0))) for span, above in shown]
    shares: dict[str, float] | None = {}
    if extent:
        shares = share_time(*extent, going_on(root, end=extent[1])) if is_all_told(root) else None
    failed = first_failed(root)
    is_far = failed is not None and all(span is not failed for span, _ in shown[:NEAR])
    row = next((row for row, (span, _) in zip(rows, shown, strict=True) if span is failed), None) if is_far else None
    kinds = {bar.kind for one in rows for bar in one.bars}
    return Waterfall(
        rows=rows,
        ticks=scale.ticks() if scale else [],
        extent=extent,
        shares=shares,
        unshown=sum(one.folded for one in rows),
        unshown_failed=sum(one.folded_failed for one in rows),
        has_hand_off="hand" in kinds,
        has_skew="skew" in kinds,
        first_failed=row,
    )


class _Scale:
    def __init__(self, start: datetime, end: datetime) -> None:
        self.start = start
        self.end = end
        self.seconds = (end - start).total_seconds()

    def place(self, moment: datetime) -> float:
        if self.seconds <= 0 or moment <= self.start:
            return 0.0
        return 100.0 if moment >= self.end else (moment - self.start).total_seconds() / self.seconds * 100

    def after(self, span: Span) -> float | None:
        """Return how long after the end of the axis the first evidence of a span is; None if it is on the axis."""
        begins = begin_of(span)
        return (begins - self.end).total_seconds() if begins is not None and begins > self.end else None

    def bar(self, kind: str, key: str, start: datetime, end: datetime, title: str) -> Bar:
        x = self.place(start)
        return Bar(kind, key, _percent(x), _percent(max(0.15, self.place(end) - x)), title)

    def ticks(self) -> list[Tick]:
        if self.seconds <= 0:
            return [Tick("0%", "0")]
        step = next((step for step in _STEPS if self.seconds / step <= _MOST_TICKS), self.seconds)
        count = int(self.seconds / step)
        return [
            Tick(_percent(i * step / self.seconds * 100), name_duration(i * step) if i else "0")
            for i in range(count + 1)
        ]


def _percent(share: float) -> str:
    return f"{share:.2f}".rstrip("0").rstrip(".") + "%"


def _row(span: Span, above: Span | None, scale: _Scale | None, hidden: tuple[int, int]) -> Row:
    last = span.last
    waited: list[float] = []
    ran: list[float] = []
    has_begun = False
    for run in span.attempts:
        if run.started_at is not None:
            has_begun = True
            if run.queued_at is not None:
                waited.append((run.started_at - run.queued_at).total_seconds())
        if run.duration_seconds is not None:
            ran.append(run.duration_seconds)
    after = scale.after(span) if scale and has_begun else None
    return Row(
        run_id=last.run_id,
        label=_label(last, above),
        engine=last.engine,
        kind=last.kind,
        depth=min(span.depth, DEEPEST),
        look=span.look,
        attempts=[(run.attempt, run.run_id, look) for run, look in zip(span.attempts, span.looks, strict=True)],
        waited_seconds=sum(waited) if waited else None,
        ran_seconds=sum(ran) if ran else None,
        bars=_all_bars(span, above, scale) if scale and after is None else [],
        is_critical=span.is_critical,
        is_caused=span.is_caused,
        crosses=above is not None and above.last.engine != last.engine,
        clock_suspect=any(facts.clock_suspect for facts in span.facts),
        after_seconds=after,
        folded=hidden[0] + span.cut,
        folded_failed=hidden[1] + span.cut_failed,
        # The page of the whole is the one that folds it.
        folded_in=span.cut_in or (last.run_id if above is None else None),
    )


def _all_bars(span: Span, above: Span | None, scale: _Scale) -> list[Bar]:
    bars = list(_bars(span, scale))
    return [*_hand_off(span, above, scale), *bars] if span.is_caused else bars


def _label(run: RunRef, above: Span | None) -> str:
    name = name_run(run) or run.native_id or "unnamed"
    prefix = f"{above.last.definition}." if above is not None and above.last.definition else None
    # A task's whole name begins with its flow's, which stands above it.
    return name.removeprefix(prefix) or name if prefix else name


def _hand_off(span: Span, above: Span | None, scale: _Scale) -> Iterator[Bar]:
    """Yield what joins a run to the one that started it, as long as the time from that one's end to its beginning."""
    begins, ended = begin_of(span), above.last.ended_at if above is not None else None
    if not span.is_caused or begins is None or ended is None:
        return
    gap = (begins - ended).total_seconds()
    words = f"handed over {name_duration(gap)} after the end" if gap > 0 else "handed over while it still ran"
    yield scale.bar("from", "queued", min(begins, ended), min(begins, ended), words)
    if gap > 0:
        yield scale.bar("hand", "queued", ended, begins, words)


def _bars(span: Span, scale: _Scale) -> Iterator[Bar]:
    for place, (run, facts, look) in enumerate(zip(span.attempts, span.facts, span.looks, strict=True)):
        if run.started_at is None:
            due = run.queued_at or facts.retry_expected_at or run.ended_at
            if due is not None:
                yield _unbegun(due, look, scale, is_live=is_live(run))
            continue
        if run.queued_at is not None and run.queued_at < run.started_at:
            waited = name_duration((run.started_at - run.queued_at).total_seconds())
            yield scale.bar("queued", "queued", run.queued_at, run.started_at, f"waited {waited}")
        if run.started_at > scale.end:
            continue
        end = run.ended_at or scale.end
        ran = name_duration((end - run.started_at).total_seconds())
        yield scale.bar("ran" if run.ended_at else "open", look.key, run.started_at, end, f"{look.word}, ran {ran}")
        if facts.clock_suspect:
            yield from _bracket(run.started_at, end, look, scale)
        after = span.attempts[place + 1] if place + 1 < len(span.attempts) else None
        if after is not None and run.ended_at is not None:
            again = after.queued_at or after.started_at
            if again is not None and again > run.ended_at:
                waits = name_duration((again - run.ended_at).total_seconds())
                yield scale.bar("retry", "queued", run.ended_at, again, f"waited {waits} to try again")


def _unbegun(due: datetime, look: Look, scale: _Scale, *, is_live: bool) -> Bar:
    if is_live:
        return scale.bar("queued", "queued", due, scale.end, "still waits for a worker")
    never = "no start was recorded" if look.key == "succeeded" else "never began"
    return scale.bar("tick", look.key, due, due, f"{look.word}: {never}")


def _bracket(start: datetime, end: datetime, look: Look, scale: _Scale) -> Iterator[Bar]:
    said = "a clock was off: its place may be another one"
    yield scale.bar("skew", look.key, start, end, said)
    for side in (start, end):
        yield scale.bar("end", look.key, side, side, said)


def _fold(root: Span, max_rows: int, total: int) -> tuple[list[tuple[Span, Span | None]], dict[int, tuple[int, int]]]:
    """Return the spans to show, each with the one above it, and by span how many inside are hidden and failed.

    What failed is shown with all above it before anything else; then level by level.
    """
    shown: list[tuple[Span, Span | None]] = []
    hidden: dict[int, tuple[int, int]] = {}
    _show(root, None, None if total <= max_rows else _choose(root, max_rows), shown, hidden)
    return shown, hidden


# Functions of their own, not ones inside others that call themselves: those would hold all spans in a circle.


def _show(
    span: Span,
    above: Span | None,
    kept: set[int] | None,
    shown: list[tuple[Span, Span | None]],
    hidden: dict[int, tuple[int, int]],
) -> None:
    """Show a span, and those inside that are kept: all where `kept` is None."""
    shown.append((span, above))
    for inner in span.inside:
        if kept is None or id(inner) in kept:
            _show(inner, span, kept, shown, hidden)
        else:
            inside = list(inner.walk())
            count, failed = hidden.get(id(span), (0, 0))
            hidden[id(span)] = (
                count + sum(1 + one.cut for one in inside),
                failed + sum(one.has_failed + one.cut_failed for one in inside),
            )


def _find_failures(span: Span, above: tuple[Span, ...]) -> Iterator[tuple[Span, ...]]:
    """Yield each span that failed, with all above it."""
    path = (*above, span)
    if span.has_failed:
        yield path
    for inner in span.inside:
        yield from _find_failures(inner, path)


def _choose(root: Span, max_rows: int) -> set[int]:
    kept = {id(root)}
    for path in _find_failures(root, ()):
        if len(kept) + len(path) > max_rows:
            break
        kept.update(map(id, path))
    level = [root]
    while level and len(kept) < max_rows:
        below = [inner for span in level for inner in span.inside if id(span) in kept]
        for span in below:
            if len(kept) >= max_rows:
                break
            kept.add(id(span))
        level = below
    return kept
