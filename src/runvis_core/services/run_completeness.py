"""Whether the records of some runs are whole: by their producers' numbers, and by whose word is expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, bindparam, func, select

from runvis_core.model.state import Witness
from runvis_core.services.answers import RunCompleteness, Wholeness
from runvis_core.services.reading import RUN_IDS, chunks
from runvis_core.store.account import ACCOUNT, Told, find_told
from runvis_core.store.id_lists import id_list, is_among
from runvis_core.store.producers import Ranges, count_numbers, find_holes, without_numbers
from runvis_core.store.steps import list_lags
from runvis_core.store.tables import entries, producers, refusals, run_producers, worker_definitions


class Numbers(NamedTuple):
    """Which of a producer's numbers came, were refused, and did neither."""

    received: Ranges
    refused: Ranges
    missing: Ranges
    is_closed: bool

    @property
    def sent(self) -> int:
        """How many numbers it gave, as far as is known."""
        return max([high + 1 for ranges in self for _, high in (ranges if isinstance(ranges, list) else [])], default=0)


def read_numbers(received: str, refused: str | None, closed_sequence: int | None, *, is_closed: bool) -> Numbers:
    """Return a producer's numbers by what its rows say."""
    came: Ranges = orjson.loads(received)
    # What was refused and taken after all, once the server was upgraded, was not refused.
    turned_away = without_numbers(orjson.loads(refused), came) if refused else []
    last = max([closed_sequence or 0, *(high for _, high in turned_away)]) if turned_away or is_closed else None
    return Numbers(came, turned_away, without_numbers(find_holes(came, last=last), turned_away), is_closed)


def find_numbers(connection: Connection, names: Sequence[UUID]) -> dict[UUID, Numbers]:
    """Return the numbers of producers, by the producer."""
    found: dict[UUID, Numbers] = {}
    for chunk in chunks(names):
        for row in connection.execute(_NUMBERS, {_PRODUCERS.key: chunk}):
            is_closed = row.closed_at is not None
            found[row.producer] = read_numbers(row.received, row.numbers, row.closed_sequence, is_closed=is_closed)
    return found


# Built once each: to build such a statement takes longer than to run it.
_PRODUCERS: Final = id_list("producers")
_NUMBERS: Final = (
    select(
        producers.c.producer,
        producers.c.received,
        producers.c.closed_sequence,
        producers.c.closed_at,
        refusals.c.numbers,
    )
    .outerjoin(refusals, refusals.c.producer == producers.c.producer)
    .where(is_among(producers.c.producer, _PRODUCERS))
)
_TELLERS: Final = select(run_producers).where(is_among(run_producers.c.run_id, RUN_IDS))
_WORKED: Final = select(worker_definitions).where(
    worker_definitions.c.definition.in_(bindparam("names", expanding=True))
)


class RunRecord(NamedTuple):
    """What there is to judge a run's record by."""

    told: list[Told]
    missing: set[tuple[UUID, int, int]]
    """Numbers that never came and may have been about the run: producer, first, last."""
    refused: set[tuple[UUID, int, int]]
    completeness: RunCompleteness


class Expected(NamedTuple):
    """Since when workers are heard: of which definitions, and of which kinds of them in a deployment."""

    definitions: Mapping[tuple[str, ...], datetime]
    kinds: Mapping[tuple[str, ...], datetime]


def judge_runs(
    connection: Connection, rows: Sequence[Any], witnesses: Mapping[UUID, tuple[int, list[str]]]
) -> dict[UUID, RunRecord]:
    """Return by run whether its record is whole. `witnesses` are as `count_entries` gives them."""
    told = find_tellers(connection, [row.run_id for row in rows])
    names = sorted({one.producer for tellers in told.values() for one in tellers})
    numbers = find_numbers(connection, names)
    expected = _find_expected(connection, rows)
    return {
        row.run_id: _judge(row, told.get(row.run_id, []), numbers, witnesses.get(row.run_id, (0, []))[1], expected)
        for row in rows
    }


def find_tellers(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, list[Told]]:
    """Return by run what each of its producers told. What the projection does not have yet is read from the log."""
    (lag,) = list_lags(connection, [ACCOUNT])
    found: dict[tuple[UUID, UUID], Told] = {}
    for chunk in chunks(run_ids):
        for row in connection.execute(_TELLERS, {RUN_IDS.key: chunk}):
            found[row.run_id, row.producer] = Told(*row)
        if lag.entries:
            query = select(entries.c.run_id, entries.c.entry).where(
                entries.c.run_id.in_(chunk), entries.c.position > lag.position
            )
            fresh = find_told((row.run_id, row.entry) for row in connection.execute(query))
            found.update((key, found[key].joined(one) if key in found else one) for key, one in fresh.items())
    by_run: dict[UUID, list[Told]] = defaultdict(list)
    for one in found.values():
        by_run[one.run_id].append(one)
    return by_run


def _find_expected(connection: Connection, rows: Sequence[Any]) -> Expected:
    columns = worker_definitions.c
    definitions: dict[tuple[str, ...], datetime] = {}
    for chunk in chunks(sorted({row.definition for row in rows if row.definition is not None})):
        for row in connection.execute(_WORKED, {"names": chunk}):
            definitions[row.engine, row.deployment, row.definition_kind, row.definition] = row.first_heard_at
    key = (columns.engine, columns.deployment, columns.definition_kind)
    by_kind = select(*key, func.min(columns.first_heard_at).label("first_at")).group_by(*key)
    # Only where a run's own definition was not heard: these rows are all that a deployment has.
    wanted = {
        (row.engine, row.deployment, row.definition_kind)
        for row in rows
        if row.definition_kind is not None
        and (row.engine, row.deployment, row.definition_kind, row.definition) not in definitions
    }
    kinds: dict[tuple[str, ...], datetime] = {}
    for engine, deployment, kind in sorted(wanted):
        query = by_kind.where(
            columns.engine == engine, columns.deployment == deployment, columns.definition_kind == kind
        )
        for row in connection.execute(query):
            kinds[row.engine, row.deployment, row.definition_kind] = row.first_at
    return Expected(definitions, kinds)


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _judge(
    row: Any, told: list[Told], numbers: Mapping[UUID, Numbers], witnesses: Sequence[str], expected: Expected
) -> RunRecord:
    missing, refused = set[tuple[UUID, int, int]](), set[tuple[UUID, int, int]]()
    for one in told:
        known = numbers.get(one.producer)
        if known is not None:
            missing |= _around(one, known.missing)
            refused |= _around(one, known.refused)
    reasons: list[str] = []
    counts = {"missing": _count(missing), "refused": _count(refused)}
    if missing:
        spans = ", ".join(_name_span(span) for span in sorted(missing, key=str)[:5])
        reasons.append(f"{_events(counts['missing'])} never came: {spans}")
    if refused:
        spans = ", ".join(_name_span(span) for span in sorted(refused, key=str)[:5])
        reasons.append(f"{_events(counts['refused'])} refused, and kept by the sender: {spans}")
    outcome, more = _judge_words(row, told, numbers, witnesses, expected)
    reasons += more
    if missing or refused:
        outcome_by_numbers = Wholeness.MISSING if missing else Wholeness.REFUSED
    else:
        outcome_by_numbers = None
    lacking = [Witness.WORKER] if outcome is Wholeness.LACKING else []
    made = RunCompleteness(
        outcome=outcome_by_numbers or outcome,
        whole=_whole(outcome_by_numbers or outcome),
        lacking=lacking,
        reasons=reasons,
        **counts,
    )
    return RunRecord(told, missing, refused, made)


def _judge_words(
    row: Any, told: list[Told], numbers: Mapping[UUID, Numbers], witnesses: Sequence[str], expected: Expected
) -> tuple[Wholeness, list[str]]:
    """Say what follows from who told of the run, and who did not."""
    if row.frozen_position is None:
        return Wholeness.OPEN, []
    if Witness.WORKER not in witnesses and _was_worked_on(row):
        kind = (row.engine, row.deployment, row.definition_kind)
        heard_at = expected.definitions.get((*kind, row.definition))
        if heard_at is not None and heard_at <= row.started_at:
            said = f"no worker told of it, and of this definition one is heard since {heard_at:%Y-%m-%d %H:%M:%S} UTC"
            return Wholeness.LACKING, [said]
        heard_at = expected.kinds.get(kind)
        if heard_at is not None and heard_at <= row.started_at:
            return Wholeness.UNHEARD, ["no worker of this definition was ever heard, and those of others here are"]
    workers = [one for one in told if one.witness == Witness.WORKER]
    if workers and not any(one.testified or _is_closed(one, numbers) for one in workers):
        last = max(workers, key=lambda one: one.last_sequence)
        said = f"its worker (producer {last.producer}) told neither the end nor that it has said all: after number "
        return Wholeness.UNCLOSED, [f"{said}{last.last_sequence} there may be more in its spool"]
    return Wholeness.WHOLE, []


def _was_worked_on(row: Any) -> bool:
    """Say whether anybody ran it: what an engine only books as done begins and ends at once, or never begins."""
    return row.started_at is not None and (row.ended_at is None or row.ended_at > row.started_at)


def _is_closed(one: Told, numbers: Mapping[UUID, Numbers]) -> bool:
    known = numbers.get(one.producer)
    return known is not None and known.is_closed


def _around(one: Told, spans: Ranges) -> set[tuple[UUID, int, int]]:
    """Return the numbers that may have been about the run: about its first one to its end, and on if none was told."""
    found: set[tuple[UUID, int, int]] = set()
    for low, high in spans:
        # The process of a worker tells of one run or few, so what it said before may have been about it; of the others
        # only the numbers right before the first one.
        begins = 0 if one.witness == Witness.WORKER else one.first_sequence - 1
        if high >= begins and (not one.testified or low <= one.last_sequence):
            found.add((one.producer, low, high))
    return found


def _count(spans: set[tuple[UUID, int, int]]) -> int:
    return count_numbers([[low, high] for _, low, high in spans])


def _name_span(span: tuple[UUID, int, int]) -> str:
    producer, low, high = span
    return f"{low}{f'-{high}' if high > low else ''} of producer {producer}"


def _whole(outcome: Wholeness) -> bool | None:
    if outcome is Wholeness.WHOLE:
        return True
    return None if outcome in (Wholeness.OPEN, Wholeness.UNCLOSED, Wholeness.UNHEARD) else False
