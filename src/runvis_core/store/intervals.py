"""What was going on, and since when that is known: a projection beside the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, case, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from runvis_core.model.entry import Entry
from runvis_core.model.fold import fold_entries, fold_into
from runvis_core.model.past import TELLING, TIMELESS, Span, Summary, find_spans, join_spans, moments_of
from runvis_core.model.run import Record
from runvis_core.model.state import State
from runvis_core.store import tables as t
from runvis_core.store.bulk import Bulk, single
from runvis_core.store.log import StoredEntry
from runvis_core.store.step_rows import find_foreign_rows, find_position, name_differences, walk_runs

EARLY = "early"
"""How much earlier than its place in lists a run began, at most."""
AHEAD = "ahead"
"""How much later than its first recording a run's place in lists is, at most."""


class IntervalStep:
    """Keeps `run_intervals`, `interval_bounds` and `outer_definitions`."""

    name = "intervals"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Add what these entries tell of the state of their runs, and when."""
        bulk = Bulk(connection)
        runs = _find_runs(bulk, {entry.run_id for entry in entries if entry.run_id is not None})
        fresh: dict[UUID, list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.run_id is not None and _tells(entry, runs[entry.run_id]):
                fresh[entry.run_id].append(entry.parse())
        if not fresh:
            return
        start = entries[0].position
        before = _find_entries(connection, [runs[run_id] for run_id in fresh], until=start)
        standing = _find_standing(bulk, [run_id for run_id in fresh if runs[run_id].first_position < start])
        changes = _Changes()
        for run_id, told in fresh.items():
            history = _History(runs[run_id], before[run_id], standing[run_id])
            for entry in told:
                history.take(entry, changes)
            changes.note(runs[run_id], history)
        changes.write(connection)

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, up to where the step is."""
        until = find_position(connection, self.name)
        bounds = {EARLY: 0.0, AHEAD: 0.0}
        outer: set[_Outer] = set()
        for runs in walk_runs(connection, until=until):
            told = _find_entries(connection, runs, until=until + 1)
            changes = _Changes(bounds, outer)
            for run in runs:
                history = _History(run, [], [])
                for entry in told[run.run_id]:
                    history.take(entry, changes)
                changes.note(run, history)
            expected = map(tuple, changes.rows())
            query = select(t.run_intervals).where(t.run_intervals.c.run_id.in_([run.run_id for run in runs]))
            yield from name_differences(t.run_intervals, connection.execute(query), expected)
        yield from find_foreign_rows(connection, t.run_intervals)
        if until:
            yield from name_differences(
                t.interval_bounds, connection.execute(select(t.interval_bounds)), bounds.items()
            )
        yield from name_differences(t.outer_definitions, connection.execute(select(t.outer_definitions)), outer)


class _Run(NamedTuple):
    """What the intervals of a run need to know of it."""

    run_id: UUID
    first_position: int
    sort_at: datetime
    engine: str
    deployment: str


def _find_runs(bulk: Bulk, run_ids: set[UUID]) -> dict[UUID, _Run]:
    found = bulk.find(t.runs, _Run._fields, ("run_id",), single(sorted(run_ids)))
    return {row[0]: _Run(*row) for row in found}


def _tells(entry: StoredEntry, run: _Run) -> bool:
    return entry.kind in TELLING or entry.position == run.first_position


def _find_entries(connection: Connection, runs: Sequence[Any], *, until: int) -> dict[UUID, list[Entry]]:
    """Return by run its entries before a position that tell of its state, in order; and its first one."""
    columns = t.entries.c
    known = [run for run in runs if run.first_position < until]
    found: dict[UUID, list[Entry]] = defaultdict(list)
    for chunk in _chunks(known):
        query = (
            select(t.entries)
            .where(
                columns.run_id.in_([run.run_id for run in chunk]),
                columns.position < until,
                or_(columns.kind.in_(TELLING), columns.position.in_([run.first_position for run in chunk])),
            )
            .order_by(columns.position)
        )
        for row in connection.execute(query):
            found[row.run_id].append(StoredEntry(*row).parse())
    return found


def _find_standing(bulk: Bulk, run_ids: Sequence[UUID]) -> dict[UUID, list[tuple[int, Span]]]:
    """Return by run the spans that are known now, each with the position since which it is."""
    found: dict[UUID, list[tuple[int, Span]]] = defaultdict(list)
    for run_id, known_from, known_to, from_at, to_at, *said in bulk.find(
        t.run_intervals, (*_OF_SPAN, *Summary._fields), ("run_id",), single(run_ids)
    ):
        if known_to is None:
            found[run_id].append((known_from, Span(from_at, to_at, _read_summary(said))))
    for spans in found.values():
        spans.sort(key=_beginning)
    return found


_OF_SPAN: Final = ("run_id", "known_from", "known_to", "from_at", "to_at")


def _beginning(known: tuple[int, Span]) -> datetime:
    return known[1].from_at


def _read_summary(said: Sequence[Any]) -> Summary:
    summary = Summary(*said)
    state = summary.effective_state
    return summary if state is None else summary._replace(effective_state=State(state))


class _History:
    """A run's spans as its entries come, one by one."""

    def __init__(self, run: _Run, entries: list[Entry], standing: list[tuple[int, Span]]) -> None:
        self.run = run
        self.entries = entries
        self.standing = standing
        self._record: Record | None = fold_entries(None, entries) if entries else None
        self._latest: datetime | None = max((moments_of(entry)[-1] for entry in entries), default=None)

    def take(self, entry: Entry, changes: _Changes) -> None:
        """Go on with one more entry, and note which spans it ends and which it tells."""
        self.entries.append(entry)
        # Nobody else has this record.
        self._record = fold_into(self._record, (entry,))
        spans = self._spans(entry, self._record)
        now = {span: position for position, span in self.standing}
        kept = {span for span in spans if span in now}
        for position, span in self.standing:
            if span not in kept:
                changes.end(self.run, position, span, known_to=entry.position)
        self.standing = [(now.get(span, entry.position), span) for span in spans]
        for position, span in self.standing:
            if span not in kept:
                changes.tell(self.run, position, span)

    def _spans(self, entry: Entry, record: Record) -> list[Span]:
        moments = moments_of(entry)
        latest, self._latest = self._latest, max(moments[-1], self._latest or moments[-1])
        if latest is None or entry.event.kind in TIMELESS or len(moments) > 1 or moments[0] < latest:
            return [_storable(span) for span in find_spans(self.entries)]
        # Told in the order in which it happened, as most is: only the end of the run's time is another.
        before = [(span.from_at, span.summary) for _, span in self.standing if span.from_at < moments[0]]
        return join_spans([*before, (moments[0], _storable_summary(Summary.of(record)))])


def _storable(span: Span) -> Span:
    return span._replace(summary=_storable_summary(span.summary))


def _storable_summary(summary: Summary) -> Summary:
    """Put U+FFFD for the NUL character, as in every table beside the log."""
    words = {name: value.replace("\0", "\ufffd") for name, value in summary._asdict().items() if type(value) is str}
    return summary._replace(**words) if words else summary


class _Changes:
    """What a part of the log changes in the tables."""

    def __init__(self, bounds: dict[str, float] | None = None, outer: set[_Outer] | None = None) -> None:
        self._told: dict[_Key, list[Any]] = {}
        self._ended: dict[_Key, list[Any]] = {}
        self._bounds = bounds if bounds is not None else {EARLY: 0.0, AHEAD: 0.0}
        self._outer = outer if outer is not None else set[_Outer]()

    def tell(self, run: _Run, position: int, span: Span) -> None:
        """Add a span that is known from a position on."""
        self._told[run.run_id, position, span.from_at] = _row(run, position, span)
        named = span.summary.definition
        if named is not None and span.summary.parent_run_id is None:
            self._outer.add((run.engine, run.deployment, named))

    def end(self, run: _Run, position: int, span: Span, *, known_to: int) -> None:
        """Note the position from which on a span is known otherwise."""
        key = (run.run_id, position, span.from_at)
        row = self._told.get(key)
        if row is None:
            row = self._ended[key] = _row(run, position, span)
        row[_KNOWN_TO] = known_to

    def note(self, run: _Run, history: _History) -> None:
        """Widen the bounds by where a run stands in lists."""
        first = history.standing[0][1].from_at
        self._bounds[EARLY] = max(self._bounds[EARLY], (run.sort_at - first).total_seconds())
        recorded_at = history.entries[0].recorded_at
        self._bounds[AHEAD] = max(self._bounds[AHEAD], (run.sort_at - recorded_at).total_seconds())

    def rows(self) -> Iterable[list[Any]]:
        """Return the new rows, in the order of the table's columns."""
        return self._told.values()

    def write(self, connection: Connection) -> None:
        """Write everything."""
        bulk = Bulk(connection)
        bulk.upsert(t.run_intervals, self._ended.values())
        bulk.insert(t.run_intervals, self._told.values())
        insert: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
        widen = insert(t.interval_bounds)
        is_wider = widen.excluded.seconds > t.interval_bounds.c.seconds
        seconds = case((is_wider, widen.excluded.seconds), else_=t.interval_bounds.c.seconds)
        widen = widen.on_conflict_do_update(index_elements=["name"], set_={"seconds": seconds})
        connection.execute(widen, [{"name": name, "seconds": value} for name, value in self._bounds.items()])
        if self._outer:
            names = [column.name for column in t.outer_definitions.columns]
            rows = [dict(zip(names, one, strict=True)) for one in sorted(self._outer)]
            connection.execute(insert(t.outer_definitions).on_conflict_do_nothing(), rows)


_Key = tuple[UUID, int, datetime]
_Outer = tuple[str, str, str]
"""The engine, deployment and name of a definition."""

_NAMES: Final = (*_OF_SPAN, "sort_at", "engine", "deployment", *Summary._fields)
"""The columns of a row, as they are in the table."""
_KNOWN_TO: Final = _NAMES.index("known_to")


def _row(run: _Run, position: int, span: Span) -> list[Any]:
    from_at, to_at, summary = span
    named, state, *rest = summary
    of_run = (run.sort_at, run.engine, run.deployment)
    return [run.run_id, position, None, from_at, to_at, *of_run, named, None if state is None else state.value, *rest]


def _chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + 400] for start in range(0, len(items), 400)]


INTERVALS = IntervalStep()
