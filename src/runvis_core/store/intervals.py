"""What was going on, and since when that is known: a projection beside the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, case, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from runvis_core.model.entry import Entry
from runvis_core.model.fold import apply_event, fold_entries
from runvis_core.model.past import TELLING, TIMELESS, Span, Summary, find_spans, join_spans, moments_of
from runvis_core.model.run import Record
from runvis_core.model.state import State
from runvis_core.store import tables as t
from runvis_core.store.log import StoredEntry
from runvis_core.store.step_rows import find_foreign_rows, find_position, name_differences, walk_runs

EARLY = "early"
"""How much earlier than its place in lists a run began, at most."""
AHEAD = "ahead"
"""How much later than its first recording a run's place in lists is, at most."""


class IntervalStep:
    """Keeps `run_intervals` and `interval_bounds`."""

    name = "intervals"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Add what these entries tell of the state of their runs, and when."""
        runs = _find_runs(connection, {entry.run_id for entry in entries if entry.run_id is not None})
        fresh: dict[UUID, list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.run_id is not None and _tells(entry, runs[entry.run_id]):
                fresh[entry.run_id].append(entry.parse())
        if not fresh:
            return
        before = _find_entries(connection, [runs[run_id] for run_id in fresh], until=entries[0].position)
        standing = _find_standing(connection, list(fresh))
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
        for runs in walk_runs(connection, until=until):
            told = _find_entries(connection, runs, until=until + 1)
            changes = _Changes(bounds)
            for run in runs:
                history = _History(run, [], [])
                for entry in told[run.run_id]:
                    history.take(entry, changes)
                changes.note(run, history)
            expected = [tuple(row[name] for name in _NAMES) for row in changes.rows()]
            query = select(t.run_intervals).where(t.run_intervals.c.run_id.in_([run.run_id for run in runs]))
            yield from name_differences(t.run_intervals, connection.execute(query), expected)
        yield from find_foreign_rows(connection, t.run_intervals)
        if until:
            yield from name_differences(
                t.interval_bounds, connection.execute(select(t.interval_bounds)), bounds.items()
            )


_NAMES = tuple(column.name for column in t.run_intervals.columns)


def _find_runs(connection: Connection, run_ids: set[UUID]) -> dict[UUID, Any]:
    columns = (t.runs.c.run_id, t.runs.c.first_position, t.runs.c.sort_at, t.runs.c.engine, t.runs.c.deployment)
    found: dict[UUID, Any] = {}
    for chunk in _chunks(sorted(run_ids)):
        found.update(
            (row.run_id, row) for row in connection.execute(select(*columns).where(t.runs.c.run_id.in_(chunk)))
        )
    return found


def _tells(entry: StoredEntry, run: Any) -> bool:
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


def _find_standing(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, list[tuple[int, Span]]]:
    """Return by run the spans that are known now, each with the position since which it is."""
    columns = t.run_intervals.c
    found: dict[UUID, list[tuple[int, Span]]] = defaultdict(list)
    for chunk in _chunks(run_ids):
        query = select(t.run_intervals).where(columns.run_id.in_(chunk), columns.known_to.is_(None))
        for row in connection.execute(query.order_by(columns.from_at)):
            found[row.run_id].append((row.known_from, Span(row.from_at, row.to_at, _read_summary(row))))
    return found


def _read_summary(row: Any) -> Summary:
    said: dict[str, Any] = {name: getattr(row, name) for name in Summary._fields}
    if said["effective_state"] is not None:
        said["effective_state"] = State(said["effective_state"])
    return Summary(**said)


class _History:
    """A run's spans as its entries come, one by one."""

    def __init__(self, run: Any, entries: list[Entry], standing: list[tuple[int, Span]]) -> None:
        self.run = run
        self.entries = entries
        self.standing = standing
        self._record: Record | None = fold_entries(None, entries) if entries else None
        self._latest: datetime | None = max((moments_of(entry)[-1] for entry in entries), default=None)

    def take(self, entry: Entry, changes: _Changes) -> None:
        """Go on with one more entry, and note which spans it ends and which it tells."""
        self.entries.append(entry)
        self._record = apply_event(self._record, entry)
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

    def __init__(self, bounds: dict[str, float] | None = None) -> None:
        self._told: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._ended: list[dict[str, Any]] = []
        self._bounds = bounds if bounds is not None else {EARLY: 0.0, AHEAD: 0.0}

    def tell(self, run: Any, position: int, span: Span) -> None:
        """Add a span that is known from a position on."""
        said = span.summary._asdict()
        state = said["effective_state"]
        said["effective_state"] = None if state is None else state.value
        key = {"run_id": run.run_id, "known_from": position, "from_at": span.from_at}
        of_run = {"sort_at": run.sort_at, "engine": run.engine, "deployment": run.deployment}
        self._told[tuple(key.values())] = {**key, "known_to": None, "to_at": span.to_at, **of_run, **said}

    def end(self, run: Any, position: int, span: Span, *, known_to: int) -> None:
        """Note the position from which on a span is known otherwise."""
        key = (run.run_id, position, span.from_at)
        if key in self._told:
            self._told[key]["known_to"] = known_to
        else:
            names = ("of_run", "since", "beginning")
            self._ended.append({**dict(zip(names, key, strict=True)), "known_until": known_to})

    def note(self, run: Any, history: _History) -> None:
        """Widen the bounds by where a run stands in lists."""
        first = history.standing[0][1].from_at
        self._bounds[EARLY] = max(self._bounds[EARLY], (run.sort_at - first).total_seconds())
        recorded_at = history.entries[0].recorded_at
        self._bounds[AHEAD] = max(self._bounds[AHEAD], (run.sort_at - recorded_at).total_seconds())

    def rows(self) -> Iterable[dict[str, Any]]:
        """Return the new rows."""
        return self._told.values()

    def write(self, connection: Connection) -> None:
        """Write everything."""
        columns = t.run_intervals.c
        if self._ended:
            ending = update(t.run_intervals).where(
                columns.run_id == bindparam("of_run"),
                columns.known_from == bindparam("since"),
                columns.from_at == bindparam("beginning"),
            )
            connection.execute(ending.values(known_to=bindparam("known_until")), self._ended)
        if self._told:
            connection.execute(insert(t.run_intervals), list(self._told.values()))
        widen: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(t.interval_bounds)
        is_wider = widen.excluded.seconds > t.interval_bounds.c.seconds
        seconds = case((is_wider, widen.excluded.seconds), else_=t.interval_bounds.c.seconds)
        widen = widen.on_conflict_do_update(index_elements=["name"], set_={"seconds": seconds})
        connection.execute(widen, [{"name": name, "seconds": value} for name, value in self._bounds.items()])


def _chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + 400] for start in range(0, len(items), 400)]


INTERVALS = IntervalStep()
