"""What Prefect's server reports, read in the order in which it came: from its rows and events to RunVis's events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from runvis_core.model.event import EventBase
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import Witness
from runvis_prefect import history
from runvis_prefect.books import Books
from runvis_prefect.history import AWAITING_RETRY, Caller, Change, Kind, Placed, Source
from runvis_prefect.identity import ENGINE
from runvis_prefect.memory import Recent, RecentIds
from runvis_prefect.reader import Reader
from runvis_prefect.rows import FlowRun, PrefectEvent, TaskRun, native_id

KEPT: Final = 60_000
"""Events that are remembered as read, at least half of them: as many as come in a sweep's overlap at 500 a second."""
KEPT_RUNS: Final = 10_000
"""Attempts that are remembered as told; of one that is forgotten is asked anew once it changes again."""
KEPT_STATES: Final = 20_000
"""States whose attempt is remembered; that of others is in the store, and in the run's history."""
FAILURE_WAITS: Final = timedelta(seconds=10)
"""How long the process has the first word on why it failed: it knows the exception, the server a line about it."""
FILTERS: Final[dict[str, Any]] = {
    "event": {
        "prefix": [
            "prefect.flow-run.",
            "prefect.task-run.",
            "prefect.asset.",
            "prefect.worker.",
            "prefect.automation.action.executed",
        ]
    }
}
"""Which events are read."""
HEARTBEAT: Final = "prefect.flow-run.heartbeat"
MATERIALIZED: Final = "prefect.asset.materialization.succeeded"
WORKER_TOOK: Final = "prefect.worker.submitted-flow-run"
STARTS_DEPLOYMENT: Final = "run_deployment"
"""In the key of a task run that stands for the run of a deployment."""
AUTOMATED: Final = "prefect.automation.action.executed"


class _Told(NamedTuple):
    """What is kept of a state: little, since there are many."""

    run_id: UUID
    attempt: int
    ends_attempt_before: bool


class Record(Protocol):
    """What was told before."""

    def find_attempt(self, native: UUID, moment: datetime) -> UUID | None:
        """Return the run that a flow run or task run, by Prefect's id, was at a moment; None if it is not known."""
        ...

    def find_run_of_event(self, event_id: UUID) -> UUID | None:
        """Return the run that an event is about; None if it is not known, or about none."""
        ...


class Journal:
    """Reads what the server says, for one thread; raises `PrefectApiError` where it must ask and gets no answer."""

    def __init__(
        self,
        books: Books,
        source: Source,
        reader: Reader,
        *,
        record: Record,
        on_state: Callable[[Kind, UUID, Placed], None],
        heartbeat_seconds: float,
    ) -> None:
        self._books = books
        self._source = source
        self._reader = reader
        self._record = record
        self._on_state = on_state
        self._heartbeat_seconds = heartbeat_seconds
        self._read = RecentIds(KEPT)
        self._introduced: Recent[tuple[UUID, int], int] = Recent(KEPT_RUNS)
        self._attempts: Recent[UUID, tuple[Kind, int]] = Recent(KEPT_RUNS)
        self._states_told: Recent[UUID, _Told] = Recent(KEPT_STATES)
        self._beats: dict[UUID, Heartbeat] = {}

    def forget(self) -> None:
        """Read everything anew: what was read may not have been stored."""
        self._read.clear()
        self._introduced = Recent(KEPT_RUNS)

    def take_beats(self) -> list[Heartbeat]:
        """Return the signs of life that were read since this was last asked."""
        beats, self._beats = list(self._beats.values()), {}
        return beats

    def read_events(self, raw: Iterable[Any]) -> list[EventBase]:
        """Return what events of Prefect say; those that were read before say nothing."""
        fresh = [event for event in self._reader.rows(PrefectEvent, raw) if event.id not in self._read]
        changes: dict[UUID, Change] = {}
        for event in fresh:
            found = self._reader.value("state", lambda event=event: [history.state_change(event)])
            if found is not None:
                self._read.add(event.id)
            for change in found or ():
                if change is not None:
                    changes[event.id] = change
        flow_runs = self._books.flow_runs(self._unknown(changes.values(), "flow"))
        self._books.learn(list(flow_runs.values()))
        bare = [event for event in fresh if event.id in changes and not event.payload.get("task_run")]
        task_runs = self._books.task_runs(self._unknown((changes[event.id] for event in bare), "task"))
        told: list[EventBase] = []
        for event in fresh:
            change = changes.get(event.id)
            if change is None:
                told += self._other(event)
            elif change.kind == "flow":
                told += self._flow_change(event, change, flow_runs.get(change.native_id))
            else:
                told += self._task_change(event, change, task_runs.get(change.native_id))
        return told

    def read_flow_runs(self, rows: Sequence[FlowRun], known_states: set[UUID], *, now: datetime) -> Iterator[EventBase]:
        """Yield what rows say of flow runs, with the whole history where the present state is not known yet."""
        self._books.learn(rows)
        for row in rows:
            placed = self._placed(row, "flow", known_states, resuming=bool(row.empirical_policy.resuming))
            for attempt, at in _attempts_of(placed):
                yield from self._flow_run(row, attempt, at)
            yield from self._states("flow", row.id, placed, now)

    def read_task_runs(
        self, rows: Sequence[TaskRun], known_states: set[UUID], flow_names: Mapping[UUID, str], *, now: datetime
    ) -> Iterator[EventBase]:
        """Yield what rows say of task runs; those that only stand for a subflow are no runs of their own."""
        for row in rows:
            if _stands_for_subflow(row):
                continue
            flow_name = flow_names.get(row.flow_run_id) if row.flow_run_id else None
            placed = self._placed(row, "task", known_states)
            under = self._under_its_flow_run(row)
            for attempt, at in _attempts_of(placed):
                yield from history.task_run_events(under, attempt, self._source, at=at, flow_name=flow_name)
            yield from self._states("task", row.id, placed, now)

    # --- events ---

    def _unknown(self, changes: Iterable[Change], kind: Kind) -> set[UUID]:
        """Return the runs of a kind of which a new attempt is told, so that their rows are wanted."""
        found: set[UUID] = set()
        for change in changes:
            placed = history.place(change)
            if change.kind == kind and (placed is None or (change.native_id, placed.attempt) not in self._introduced):
                found.add(change.native_id)
        return found

    def _flow_change(self, event: PrefectEvent, change: Change, row: FlowRun | None) -> Iterator[EventBase]:
        placed = self._certain("flow", change)
        if placed is None:
            return
        if row is None and (change.native_id, placed.attempt) not in self._introduced:
            row = self._reader.value("flow run", lambda: history.flow_run_of(event))
        if row is not None and self._is_new(change.native_id, placed.attempt):
            yield from self._flow_run(row, placed.attempt, placed.state.timestamp, event=event)
        self._remember("flow", change.native_id, placed)
        yield from history.state_events("flow", change.native_id, placed, self._source)

    def _task_change(self, event: PrefectEvent, change: Change, row: TaskRun | None) -> Iterator[EventBase]:
        placed = self._certain("task", change)
        if placed is None:
            return
        if row is None and event.payload.get("task_run"):
            row = self._reader.value("task run", lambda: history.task_run_of(event))
        row = self._under_its_flow_run(row) if row is not None else None
        if row is not None and self._is_new(change.native_id, placed.attempt, under=row.flow_run_run_count):
            flow_name = next((related.name for related in event.find_related("flow")), None)
            at = placed.state.timestamp
            yield from history.task_run_events(row, placed.attempt, self._source, at=at, flow_name=flow_name)
        self._remember("task", change.native_id, placed)
        yield from history.state_events("task", change.native_id, placed, self._source)

    def _certain(self, kind: Kind, change: Change) -> Placed | None:
        """Return a change's attempt, from the run's history where the event alone does not tell it."""
        placed = history.place(change)
        if placed is None:
            found = self._books.history(kind, change.native_id)
            return next((one for one in found if one.state.id == change.state.id), None)
        if kind == "flow" and change.state.name == AWAITING_RETRY:
            # The event does not say when it is tried again, and the state must be told alike by all.
            state = self._books.state(kind, change.state.id)
            return placed._replace(state=state) if state is not None else None
        return placed

    def _under_its_flow_run(self, row: TaskRun) -> TaskRun:
        """Return a task run with the attempt of its flow run.

        Before it runs it does not say that itself; and what it says then is Prefect's count, which may be higher.
        """
        if row.flow_run_id is None:
            return row
        attempt = self._books.flow_attempt(row.flow_run_id, row.flow_run_run_count)
        if not attempt and (flow_run := self._attempts.find(row.flow_run_id)) is not None:
            attempt = flow_run[1]
        return row.model_copy(update={"flow_run_run_count": attempt})

    def _remember(self, kind: Kind, native: UUID, placed: Placed) -> None:
        self._on_state(kind, native, placed)
        self._attempts.set(native, (kind, placed.attempt))
        run_id = self._source.run_id(kind, native, placed.attempt)
        self._states_told.set(placed.state.id, _Told(run_id, placed.attempt, placed.ends_attempt_before))

    def _is_new(self, native: UUID, attempt: int, *, under: int = 0) -> bool:
        is_new = self._introduced.find((native, attempt)) != under
        self._introduced.set((native, attempt), under)
        return is_new

    def _flow_run(
        self, row: FlowRun, attempt: int, at: datetime, *, event: PrefectEvent | None = None
    ) -> Iterator[EventBase]:
        flow_name = next((related.name for related in event.find_related("flow")), None) if event else None
        caller = self._books.caller(row)
        if caller is not None and row.deployment_id is not None and self._is_new(caller.task.id, 1):
            yield from self._start_of_deployment(caller)
        yield from history.flow_run_events(
            row,
            attempt,
            self._source,
            at=at,
            flow_name=flow_name or self._books.flow_name(row.flow_id),
            prefect_deployment=self._books.deployment_name(row),
            caller=caller,
        )

    def _start_of_deployment(self, caller: Caller) -> Iterator[EventBase]:
        """Tell the task run that stands for a deployment's run: there is no event of it."""
        task, state = caller.task, caller.task.state
        if state is not None:
            yield from history.task_run_events(task, 1, self._source, at=state.timestamp, flow_name=caller.flow_name)
            placed = Placed(state, 1, ends_attempt_before=False)
            yield from history.state_events("task", task.id, placed, self._source)

    def _other(self, event: PrefectEvent) -> Iterator[EventBase]:
        if event.event == MATERIALIZED:
            run_id = self._run_at(event.related_uuid("task-run", "task-run"), event.occurred)
            if run_id is None:
                run_id = self._run_at(event.related_uuid("flow-run", "flow-run"), event.occurred)
            if run_id is not None:
                yield from history.dataset_events(event, run_id, self._source)
        elif event.event == HEARTBEAT:
            self._beat(event)
        elif event.event == WORKER_TOOK:
            run_id = self._run_at(event.related_uuid("flow-run", "flow-run"), event.occurred)
            if run_id is not None:
                yield history.worker_context(event, run_id, self._source)
        elif event.event == AUTOMATED:
            yield from self._automated(event)

    def _automated(self, event: PrefectEvent) -> Iterator[EventBase]:
        """Say which run an automation answered with which, where it was a run's state that set it off."""
        started = event.related_uuid("flow-run", "flow-run")
        state_id = event.related_uuid("triggering-event", "event")
        if started is None or state_id is None:
            return
        told = self._states_told.find(state_id)
        cause = told.run_id if told is not None else self._record.find_run_of_event(state_id)
        if cause is not None:
            yield history.caused_by(event, started, cause, self._source)

    def _beat(self, event: PrefectEvent) -> None:
        run_id = self._run_at(native_id(event.resource_id, "flow-run"), event.occurred)
        if run_id is not None:
            self._beats[run_id] = Heartbeat(
                run_id=run_id,
                engine=ENGINE,
                deployment=self._source.deployment,
                witness=Witness.FOLLOWER,
                occurred_at=event.occurred,
                interval_seconds=self._heartbeat_seconds,
            )

    def _run_at(self, native: UUID | None, moment: datetime) -> UUID | None:
        if native is None:
            return None
        known = self._attempts.find(native)
        if known is not None:
            return self._source.run_id(known[0], native, known[1])
        return self._record.find_attempt(native, moment)

    # --- rows ---

    def _placed(
        self, row: FlowRun | TaskRun, kind: Kind, known_states: set[UUID], *, resuming: bool = False
    ) -> list[Placed]:
        """Return a run's states that are to be told: the present one alone where it is known, or is the only one."""
        state = row.state
        if state is None:
            return []
        present = Placed(state, history.present_attempt(row, resuming=resuming), ends_attempt_before=False)
        is_first = state.type == "SCHEDULED" and state.name == "Scheduled" and row.run_count == 0
        if is_first or (state.id in known_states and row.run_count <= 1):
            return [present]
        told = self._states_told.find(state.id)
        if state.id in known_states and told is not None:
            return [Placed(state, told.attempt, told.ends_attempt_before)]
        # Whoever goes on meanwhile is read again at the next sweep.
        return self._books.history(kind, row.id) or [present]

    def _states(self, kind: Kind, native: UUID, placed: Sequence[Placed], now: datetime) -> Iterator[EventBase]:
        for one in placed:
            self._remember(kind, native, one)
            yield from history.state_events(kind, native, one, self._source)
            if one.state.timestamp <= now - FAILURE_WAITS:
                yield from history.failure_events(kind, native, one, self._source)


def _attempts_of(placed: Iterable[Placed]) -> Iterator[tuple[int, datetime]]:
    """Yield each attempt once, with the time of the first state that it has here."""
    first: dict[int, datetime] = {}
    for one in placed:
        first.setdefault(one.attempt, one.state.timestamp)
    yield from first.items()


def _stands_for_subflow(row: TaskRun) -> bool:
    """Whether a task run only stands for a subflow; until that is there, the task run has no word of it."""
    state = row.state
    if state is None:
        return True
    if STARTS_DEPLOYMENT in row.task_key:
        return False
    is_waiting = row.flow_run_id is not None and state.type == "PENDING" and row.run_count == 0
    return is_waiting or state.state_details.child_flow_run_id is not None
