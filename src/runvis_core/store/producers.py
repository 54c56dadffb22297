"""Producers: the processes that number their events, which of their numbers came, and where gaps opened and closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runvis_core.model.encoding import encode
from runvis_core.model.entry import Entry
from runvis_core.model.event import EventBase, ProducerClosedEvent, ProducerOpenedEvent
from runvis_core.model.identity import timestamp
from runvis_core.store.driver import Row, Values

Ranges = list[list[int]]
"""Numbers as [from, to] pairs, both included, in order, with a gap between each two."""

MAX_CLOSED_GAPS: Final = 50
"""As many gaps that closed are remembered of one producer, the latest ones; those that stand open all are."""


class Gap(NamedTuple):
    """Numbers that a producer gave and that did not come with those around them."""

    low: int
    high: int
    noticed_at: str
    """When a later number came, by the store's clock."""
    closed_at: str | None = None
    """When the numbers came after all."""


@dataclass(slots=True)
class _Producer:
    """A row of `producers`, columns in the order of the table, as the driver has them."""

    producer: Any
    engine: str
    deployment: str
    witness: str
    component: str | None = None
    host: str | None = None
    pid: int | None = None
    versions: str | None = None
    opened_at: Any = None
    closed_at: Any = None
    closed_sequence: int | None = None
    refused: int | None = None
    received: str = "[]"
    gaps: str | None = None
    last_heard_at: Any = None


def received_rows(
    entries: Sequence[Entry],
    received: Iterable[EventBase],
    known: Sequence[Row],
    values: Values,
    *,
    now: datetime | None,
) -> list[Row]:
    """Return the rows of the producers of a batch: what they said of themselves, and which numbers came `now`."""
    producers = {values.read_id(row[0]): _Producer(*row) for row in known}
    numbers: dict[UUID, list[int]] = {}
    for event in received:
        producer = event.producer
        if producer is None:
            continue
        if producer not in producers:
            bound = values.bind_id(producer)
            producers[producer] = _Producer(bound, event.engine, event.deployment, event.witness.value)
        if event.sequence is not None:
            numbers.setdefault(producer, []).append(event.sequence)
    for entry in entries:
        event = entry.event
        if event.producer is None:
            continue
        if isinstance(event, ProducerOpenedEvent):
            _open(producers[event.producer], event, values)
        elif isinstance(event, ProducerClosedEvent):
            _close(producers[event.producer], event, values)
    for producer, came in numbers.items():
        assert now is not None, "what comes, comes at a time"
        _receive(producers[producer], came, values, now)
    return [astuple(row) for row in producers.values()]


def _receive(row: _Producer, came: Sequence[int], values: Values, now: datetime) -> None:
    before = orjson.loads(row.received)
    after = add_numbers(before, came)
    row.received = encode(after).decode()
    row.last_heard_at = values.bind_moment(now)
    if find_holes(before) != find_holes(after):
        row.gaps = encode(move_gaps(read_gaps(row.gaps), before, after, now)).decode()


def _open(row: _Producer, event: ProducerOpenedEvent, values: Values) -> None:
    row.component, row.host, row.pid = event.component, event.host, event.pid
    row.versions = encode(event.versions).decode()
    row.opened_at = values.bind_moment(event.occurred_at)


def _close(row: _Producer, event: ProducerClosedEvent, values: Values) -> None:
    row.closed_at = values.bind_moment(event.occurred_at)
    row.closed_sequence, row.refused = event.sequence, event.refused


def add_numbers(ranges: Ranges, numbers: Iterable[int]) -> Ranges:
    """Return the ranges that cover `ranges` and `numbers`. A number that was there counts once."""
    return merge_ranges([*ranges, *([number, number] for number in numbers)])


def merge_ranges(ranges: Iterable[list[int]]) -> Ranges:
    """Return the fewest ranges, in order, that cover the same numbers."""
    merged: Ranges = []
    for low, high in sorted((span[0], span[1]) for span in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    return merged


def find_holes(ranges: Ranges, *, last: int | None = None) -> Ranges:
    """Return the numbers from 0 to the last one that came, or to `last`, that did not come."""
    holes: Ranges = []
    expected = 0
    for low, high in ranges:
        if low > expected:
            holes.append([expected, low - 1])
        expected = high + 1
    if last is not None and last >= expected:
        holes.append([expected, last])
    return holes


def without_numbers(ranges: Ranges, taken: Ranges) -> Ranges:
    """Return what is left of `ranges` without the numbers of `taken`."""
    left: Ranges = []
    for low, high in ranges:
        for taken_low, taken_high in taken:
            if taken_high < low or taken_low > high:
                continue
            if taken_low > low:
                left.append([low, taken_low - 1])
            low = taken_high + 1
        if low <= high:
            left.append([low, high])
    return left


def count_numbers(ranges: Ranges) -> int:
    """Return how many numbers ranges cover."""
    return sum(high - low + 1 for low, high in ranges)


def read_gaps(text: str | None) -> list[Gap]:
    """Return the gaps that a producer's row remembers, in the order in which they were noticed."""
    return [Gap(*gap) for gap in orjson.loads(text)] if text else []


def move_gaps(gaps: Sequence[Gap], before: Ranges, after: Ranges, now: datetime) -> list[Gap]:
    """Return the gaps once numbers came: new ones are open, filled ones closed, and those filled in part divided."""
    moment, holes = timestamp(now), find_holes(after)
    moved: list[Gap] = []
    for gap in gaps:
        if gap.closed_at is not None:
            moved.append(gap)
            continue
        still = [[max(low, gap.low), min(high, gap.high)] for low, high in holes if low <= gap.high and high >= gap.low]
        filled = without_numbers([[gap.low, gap.high]], still)
        moved += [Gap(low, high, gap.noticed_at, moment) for low, high in filled]
        moved += [Gap(low, high, gap.noticed_at) for low, high in still]
    # Beyond the last number that had come nothing was missing before.
    end = before[-1][1] if before else -1
    moved += [Gap(low, high, moment) for low, high in holes if low > end]
    closed = [gap for gap in moved if gap.closed_at is not None]
    forgotten = set(closed[: max(0, len(closed) - MAX_CLOSED_GAPS)])
    return [gap for gap in moved if gap not in forgotten]


def carry_over(before: Row, rebuilt: Row | None) -> Row:
    """Return a producer's row after a rebuild: which numbers came, and when, the log alone can't say.

    A report that was known already left no entry.
    """
    kept = _Producer(*before)
    if rebuilt is None:
        return before
    row = _Producer(*rebuilt)
    row.received = encode(merge_ranges([*orjson.loads(row.received), *orjson.loads(kept.received)])).decode()
    row.gaps, row.last_heard_at = kept.gaps, kept.last_heard_at
    return astuple(row)


def find_gaps_of(text: str | None, missing: Ranges) -> list[Gap]:
    """Return a producer's gaps: what is missing now, each with when that was noticed, then those that closed.

    What was refused is not missing, and a tail that its closing tells of was noticed with no later number: it has "".
    """
    remembered = read_gaps(text)
    standing: list[Gap] = []
    left = missing
    for gap in remembered:
        if gap.closed_at is None:
            span = [[gap.low, gap.high]]
            rest = without_numbers(left, span)
            standing += [Gap(low, high, gap.noticed_at) for low, high in without_numbers(left, rest)]
            left = rest
    standing += [Gap(low, high, "") for low, high in left]
    return [*sorted(standing), *(gap for gap in remembered if gap.closed_at is not None)]
