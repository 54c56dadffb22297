"""What is missing from the record: by the numbers that producers give, and by whose word is expected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, select

from runvis_core.model.state import Witness
from runvis_core.services.answers import Check, Wholeness
from runvis_core.services.completeness_answers import (
    AccountRow,
    By,
    Completeness,
    CompletenessFilter,
    GapView,
    NumberSpan,
    RunGap,
    UncertainRun,
)
from runvis_core.services.plain_producers import PlainProducers
from runvis_core.services.producers import Producer, conditions_of, count_opened_plain, find_opened, view_gaps
from runvis_core.services.reading import chunks, reading
from runvis_core.services.run_completeness import RunRecord, find_numbers, judge_runs
from runvis_core.services.sure_runs import SureRuns, part_runs
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.producers import count_numbers
from runvis_core.store.tables import producers, runs

DEFAULT_SPAN: Final = timedelta(days=7)
"""How far back the account goes for who names no moment."""
MAX_GAPS: Final = 100
MAX_RUNS: Final = 100
"""As many gaps, and runs that are not whole, an account names."""
MAX_UNCERTAIN: Final = 5
"""How many runs an account names of each gap."""
_RUN_COLUMNS: Final = (
    runs.c.run_id,
    runs.c.sort_at,
    runs.c.engine,
    runs.c.deployment,
    runs.c.definition,
    runs.c.definition_kind,
    runs.c.native_id,
    runs.c.started_at,
    runs.c.ended_at,
    runs.c.frozen_position,
)


def get_completeness(store: Store, filters: CompletenessFilter, *, limit: int, now: datetime) -> Completeness:
    """Return the account of what came and what did not, at most `limit` rows, the latest days first.

    A row that misses something is never left out for one that does not.
    """
    until = filters.until or now
    since = filters.since if filters.since is not None else until - DEFAULT_SPAN
    with reading(store) as connection:
        by = By.DEFINITION if filters.definition is not None else filters.by
        account = _Account(by)
        if by is By.DEPLOYMENT:
            for some in count_opened_plain(connection, filters, since, until):
                account.add_plain(some)
        if by is not By.DEFINITION:
            for producer in find_opened(connection, filters, since, until, plain=by is By.PRODUCER):
                account.add_producer(producer)
        chosen = [runs.c.sort_at >= since, runs.c.sort_at < until, runs.c.became_run_id.is_(None)]
        chosen += conditions_of(runs, filters)
        if by is By.DEFINITION:
            found = _find_runs(connection, chosen)
        else:
            sure, found = part_runs(connection, _RUN_COLUMNS, chosen)
            account.add_sure_runs(sure)
        for rows in chunks(found):
            account.add_runs(connection, rows)
        if account.spans:
            account.gaps += _gaps_of(connection, account.spans)
    return account.answer(since, until, limit)


def _find_runs(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> Sequence[Any]:
    query = select(*_RUN_COLUMNS).where(*conditions).order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
    return connection.execute(query).all()


def _gaps_of(connection: Connection, spans: set[tuple[UUID, int, int]]) -> list[GapView]:
    wanted = sorted({producer for producer, _, _ in spans})
    numbers = find_numbers(connection, wanted)
    found: list[GapView] = []
    for chunk in chunks(wanted):
        for row in connection.execute(select(producers).where(producers.c.producer.in_(chunk))):
            found += view_gaps(row, numbers[row.producer])
    return found


class _Account:
    """An account as it grows."""

    def __init__(self, by: By) -> None:
        self.by = by
        self.gaps: list[GapView] = []
        self.spans: set[tuple[UUID, int, int]] = set()
        """Of the runs, where no producers are looked at by themselves."""
        self._rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._spans: dict[tuple[Any, ...], dict[str, set[Any]]] = {}
        self._runs: list[RunGap] = []
        self._cut_runs = 0
        self._beside: dict[str, Any] = dict.fromkeys(_NUMBERS, 0)
        """Of the runs, where the rows are those of producers."""
        self._uncertain: dict[UUID, dict[tuple[int, int], list[UncertainRun]]] = defaultdict(dict)
        """By producer and missing numbers of it the latest runs that these may have been about."""
        self._uncertain_counts: Counter[tuple[UUID, int, int]] = Counter()

    def add_producer(self, producer: Producer) -> None:
        """Add what came and what did not of one producer."""
        row, numbers, gaps = producer
        heard_at = getattr(row, "last_heard_at", None) or getattr(row, "last_refused_at", None)
        moment = getattr(row, "opened_at", None) or heard_at
        day = moment.date() if moment is not None else None
        made = self._row(day, row, producer=row.producer)
        if self.by is By.PRODUCER:
            told = ("component", "witness", "host", "pid", "opened_at", "closed_at")
            made.update({name: getattr(row, name, None) for name in told})
        made["producers"] += 1
        made["closed"] += numbers.is_closed
        made["sent"] += numbers.sent
        made["stored"] += count_numbers(numbers.received)
        made["refused"] += count_numbers(numbers.refused)
        made["missing"] += count_numbers(numbers.missing)
        made["unkept"] += getattr(row, "refused", None) or 0
        made["last_heard_at"] = _later(made["last_heard_at"], heard_at)
        self.gaps += gaps

    def add_plain(self, some: PlainProducers) -> None:
        """Add producers of which every number came: of a deployment's account."""
        (day,) = some.times
        made = self._row(date.fromisoformat(day) if day else None, some)
        for name in ("producers", "closed", "sent", "unkept"):
            made[name] += getattr(some, name)
        made["stored"] += some.sent
        made["last_heard_at"] = _later(made["last_heard_at"], some.last_heard_at)

    def add_sure_runs(self, counts: Mapping[SureRuns, int]) -> None:
        """Add runs that need no look: of a deployment's account."""
        for group, number in counts.items():
            made = self._row_of_runs(group.day, group)
            made["runs"] += number
            made["open" if group.is_open else "whole"] += number

    def add_runs(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Add whether runs are whole."""
        records = judge_runs(connection, rows, count_entries(connection, [row.run_id for row in rows]))
        for row in rows:
            record = records[row.run_id]
            made = self._row_of_runs(row.sort_at.date(), row)
            made["runs"] += 1
            made[_COUNTED[record.completeness.outcome]] += 1
            if self.by is By.DEFINITION:
                self._add_numbers(made, row, record)
            if record.completeness.whole is False:
                self._add_gap(row, record)

    def _add_numbers(self, made: dict[str, Any], row: Any, record: RunRecord) -> None:
        seen = self._spans.setdefault(self._key(row.sort_at.date(), row), {"producers": set(), "missing": set()})
        refused = seen.setdefault("refused", set())
        made["stored"] += sum(one.entries for one in record.told)
        seen["producers"] |= {one.producer for one in record.told}
        seen["missing"] |= record.missing
        refused |= record.refused
        self.spans |= record.missing
        made["producers"] = len(seen["producers"])
        for name in ("missing", "refused"):
            made[name] = count_numbers([[low, high] for _, low, high in seen[name]])
        made["sent"] = made["stored"] + made["missing"] + made["refused"]

    def _row_of_runs(self, day: date, row: Any) -> dict[str, Any]:
        return self._beside if self.by is By.PRODUCER else self._row(day, row)

    def _add_gap(self, row: Any, record: RunRecord) -> None:
        for span in record.missing:
            self._uncertain_counts[span] += 1
            first = self._uncertain[span[0]].setdefault(span[1:], [])
            if len(first) < MAX_UNCERTAIN:
                first.append(UncertainRun(**{name: getattr(row, name) for name in UncertainRun.model_fields}))
        if len(self._runs) >= MAX_RUNS:
            self._cut_runs += 1
            return
        said = {name: getattr(row, name) for name in UncertainRun.model_fields}
        spans = [NumberSpan(producer=span[0], low=span[1], high=span[2]) for span in _sorted(record)]
        self._runs.append(RunGap(**said, completeness=record.completeness, spans=spans))

    def _key(self, day: date | None, row: Any, producer: UUID | None = None) -> tuple[Any, ...]:
        definition = row.definition if self.by is By.DEFINITION else None
        return (day, row.engine, row.deployment, definition, producer if self.by is By.PRODUCER else None)

    def _row(self, day: date | None, row: Any, producer: UUID | None = None) -> dict[str, Any]:
        key = self._key(day, row, producer)
        made = self._rows.get(key)
        if made is None:
            names = ("day", "engine", "deployment", "definition", "producer")
            zero = dict.fromkeys(_NUMBERS, 0)
            made = self._rows[key] = {**dict(zip(names, key, strict=True)), **zero, "last_heard_at": None}
        return made

    def answer(self, since: datetime, until: datetime, limit: int) -> Completeness:
        """Return the account."""
        rows = sorted((AccountRow(**row) for row in self._rows.values()), key=_newest_first)
        kept = sorted(sorted(rows, key=_is_whole)[:limit], key=_newest_first)
        gaps = sorted(self.gaps, key=_open_first)
        total = self._total(rows)
        # By definition nobody is asked whether a producer closed: what it leaves unknown is said of its runs.
        unsure = total.open or total.unknown or (self.by is not By.DEFINITION and total.producers > total.closed)
        return Completeness(
            by=self.by.value,
            since=since,
            until=until,
            whole=False if not _is_whole(total) else None if unsure else True,
            items=kept,
            total=total,
            cut=len(rows) - len(kept),
            gaps=[self._with_runs(gap) for gap in gaps[:MAX_GAPS]],
            cut_gaps=max(0, len(gaps) - MAX_GAPS),
            runs=self._runs,
            cut_runs=self._cut_runs,
        )

    def _total(self, rows: Iterable[AccountRow]) -> AccountRow:
        total = {name: self._beside[name] + sum(getattr(row, name) for row in rows) for name in _NUMBERS}
        if self.by is By.DEFINITION:
            # A producer tells of several definitions, and what it did not tell may have been about any of them.
            seen = {name: set[Any]().union(*(one[name] for one in self._spans.values())) for name in _SHARED}
            total["producers"] = len(seen["producers"])
            for name in ("missing", "refused"):
                total[name] = count_numbers([[low, high] for _, low, high in seen[name]])
            total["sent"] = total["stored"] + total["missing"] + total["refused"]
        return AccountRow(**total)

    def _with_runs(self, gap: GapView) -> GapView:
        if gap.closed_at is not None:
            return gap
        # A gap lies in one stretch of missing numbers; others may have come up beside it since.
        for (low, high), first in self._uncertain.get(gap.producer, {}).items():
            if low <= gap.low and gap.high <= high:
                count = self._uncertain_counts[gap.producer, low, high]
                return gap.model_copy(update={"runs": first, "run_count": count})
        return gap


def _sorted(record: RunRecord) -> list[tuple[UUID, int, int]]:
    return sorted(record.missing | record.refused, key=lambda span: (str(span[0]), span[1]))


_NUMBERS: Final = (
    *("producers", "closed", "sent", "stored", "refused", "missing", "unkept"),
    *("runs", "whole", "open", "incomplete", "lacking", "unknown"),
)
_SHARED: Final = ("producers", "missing", "refused")
"""What the rows of several definitions may count in common."""
_COUNTED: Final = {
    Wholeness.WHOLE: "whole",
    Wholeness.OPEN: "open",
    Wholeness.MISSING: "incomplete",
    Wholeness.REFUSED: "incomplete",
    Wholeness.LACKING: "lacking",
    Wholeness.UNCLOSED: "unknown",
    Wholeness.UNHEARD: "unknown",
}


def _later(*moments: datetime | None) -> datetime | None:
    return max((at for at in moments if at is not None), default=None)


def _is_whole(row: AccountRow) -> bool:
    return not (row.missing or row.refused or row.unkept or row.incomplete or row.lacking)


def _newest_first(row: AccountRow) -> tuple[Any, ...]:
    day = -(row.day or date.min).toordinal()
    return (day, row.engine or "", row.deployment or "", row.definition or "", str(row.producer))


def _open_first(gap: GapView) -> tuple[Any, ...]:
    moment = gap.closed_at or gap.noticed_at or datetime.min.replace(tzinfo=UTC)
    return (gap.closed_at is not None, -moment.timestamp(), str(gap.producer), gap.low)


def check_completeness(store: Store, *, now: datetime) -> Check:
    """Return what the account of the last day says, for the doctor."""
    day = CompletenessFilter(since=now - timedelta(days=1))
    found = get_completeness(store, day, limit=1, now=now)
    total = found.total
    said = (
        f"of the last day {total.producers} producers sent {total.sent} events: {total.stored} stored, "
        f"{total.refused} refused, {total.missing} missing; of {total.runs} runs "
        f"{total.whole} are whole, {total.lacking} lack the word of their {Witness.WORKER.value}"
    )
    if total.missing or total.refused:
        remedy = "run `runvis completeness` for where; `runvis spool status` on those machines says what still waits"
        return Check(name="completeness", outcome="problem", detail=said, remedy=remedy)
    if total.lacking:
        remedy = "run `runvis completeness`: RunVis may not be installed, or not be set up, where those runs worked"
        return Check(name="completeness", outcome="warning", detail=said, remedy=remedy)
    return Check(name="completeness", outcome="ok", detail=said)
