"""Producers: the processes that number their events, and which of their numbers came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any
from uuid import UUID

import orjson

from runvis_core.model.encoding import encode
from runvis_core.model.entry import Entry
from runvis_core.model.event import EventBase, ProducerClosedEvent, ProducerOpenedEvent
from runvis_core.store.driver import Row, Values

Ranges = list[list[int]]
"""Numbers as [from, to] pairs, both included, in order, with a gap between each two."""


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


def received_rows(
    entries: Sequence[Entry], received: Iterable[EventBase], known: Sequence[Row], values: Values
) -> list[Row]:
    """Return the rows of the producers of a batch: what they said of themselves, and which numbers came."""
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
        row = producers[producer]
        row.received = encode(add_numbers(orjson.loads(row.received), came)).decode()
    return [astuple(row) for row in producers.values()]


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
