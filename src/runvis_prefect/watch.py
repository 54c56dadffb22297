"""The runs of this process: which of their states were told, and what no hook will tell.

Prefect calls a task's `on_running` again while the task is torn down, and calls no hook for a crashed task, a cancelled
flow or an attempt that will be tried again. But the objects that its hooks are handed are the engine's own, and the
engine keeps their `state` up to date: a last look at them tells the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

from runvis_core.model.event import ContextEvent, EventBase, LogEvent
from runvis_prefect import translate
from runvis_prefect.facts import Report, Surroundings
from runvis_prefect.identity import flow_run_id, task_run_id
from runvis_prefect.states import canonical_state, type_name


class Around(Protocol):
    """Looks around a run in the process that it is in."""

    def flow_run(self, flow: Any, flow_run: Any) -> Surroundings:
        """Return what surrounds a flow run that begins here."""
        ...

    def task_run(self, task: Any, task_run: Any) -> Surroundings:
        """Return what surrounds a task run that begins here."""
        ...

    def outside(self) -> Surroundings:
        """Return what is known of a run whose process is another one."""
        ...


class Logs(Protocol):
    """Keeps the last log lines of each run of this process."""

    def begin(self, native_id: UUID) -> None:
        """Keep the lines of this run from now on."""
        ...

    def end(self, native_id: UUID) -> dict[str, Any]:
        """Return the fields of the run's `LogEvent`, empty when it logged nothing, and forget it."""
        ...


@dataclass(slots=True)
class LiveRun:
    """A run that began in this process, by the engine's own object of it."""

    kind: Literal["flow", "task"]
    definition: Any
    native: Any
    around: Surroundings
    run_id: UUID
    attempt: int
    told_state_id: UUID
    outer: UUID | None = None
    """The run that was current when this one began."""
    told_context_id: UUID | None = None


class Watch:
    """Turns hook calls into events, each state once; `follow` is told which run user code now speaks for."""

    def __init__(self, around: Around, logs: Logs, follow: Callable[[UUID | None], UUID | None]) -> None:
        self._around = around
        self._logs = logs
        self._follow = follow
        self._live: dict[UUID, LiveRun] = {}
        self._told_definitions: set[tuple[str, str]] = set()

    def flow_hook(self, flow: Any, flow_run: Any, state: Any, error: BaseException | None) -> Iterator[EventBase]:
        """Tell the state that a flow run entered; `error` is what is being handled in the engine right now."""
        live = self._live.get(flow_run.id)
        if live is not None and live.told_state_id == state.id:
            return
        if type_name(state) == "RUNNING":
            yield from self._flow_begins(flow, flow_run, state, error)
            return
        yield from self.last_look(flow_run_id=flow_run.id)
        around = live.around if live is not None else self._around.outside()
        if live is not None:
            # The engine reads its flow run anew once the run is under way; this is the one that it keeps up to date.
            live.native = flow_run
        else:
            yield translate.flow_identity(flow, flow_run, state, around)
        attempt = live.attempt if live is not None else None
        yield from self._ends(live, state, translate.flow_ended(flow_run, state, around, attempt))

    def task_hook(self, task: Any, task_run: Any, state: Any) -> Iterator[EventBase]:
        """Tell the state that a task run entered."""
        live = self._live.get(task_run.id)
        if live is not None and live.told_state_id == state.id:
            return
        if type_name(state) == "RUNNING":
            yield from self._task_begins(task, task_run, state)
            return
        around = live.around if live is not None else self._around.task_run(task, task_run)
        if live is None:
            yield translate.task_identity(task, task_run, state, around)
        yield from self._ends(live, state, translate.task_ended(task_run, state, around))

    def task_retry(self, task: Any, task_run: Any, state: Any) -> Iterator[EventBase]:
        """Tell that a task's attempt failed and that another one will follow."""
        live = self._live.get(task_run.id)
        around = live.around if live is not None else self._around.task_run(task, task_run)
        yield from self._log_of(live, state)
        yield from self._news(task_run.id, translate.task_retried(task, task_run, state, around))
        self._forget(live)

    def flow_attempt_at(self, flow_run_id: UUID, count: int) -> int:
        """Return the attempt that a flow run was in when Prefect's count of it was `count`.

        A pause that the process waits out raises the count, and is no attempt.
        """
        live = self._live.get(flow_run_id)
        return min(live.attempt, count) if live is not None else count

    def last_look(self, *, flow_run_id: UUID | None = None) -> Iterator[EventBase]:
        """Tell the ends that no hook told: of a flow run's tasks, or of everything in this process."""
        for live in list(self._live.values()):
            if flow_run_id is not None and getattr(live.native, "flow_run_id", None) != flow_run_id:
                continue
            state = live.native.state
            if state is None or state.id == live.told_state_id or not canonical_state(state).is_terminal:
                continue
            if live.kind == "flow":
                told = translate.flow_ended(live.native, state, live.around, live.attempt)
            else:
                told = translate.task_ended(live.native, state, live.around)
            yield from self._ends(live, state, told)

    def _flow_begins(self, flow: Any, flow_run: Any, state: Any, error: BaseException | None) -> Iterator[EventBase]:
        attempt = translate.flow_attempt(flow_run, state)
        before = self._live.get(flow_run.id)
        if before is not None and before.attempt < attempt:
            attempt = before.attempt + 1
            yield from self._log_of(before, state)
            yield from translate.flow_retried(flow_run, state, error, before.around, attempt)
        around = self._around.flow_run(flow, flow_run) if before is None else before.around
        run_id = flow_run_id(around.deployment, flow_run.id, attempt)
        self._begin(LiveRun("flow", flow, flow_run, around, run_id, attempt, state.id))
        version = translate.flow_version(flow)
        if (flow.name, version) not in self._told_definitions:
            self._told_definitions.add((flow.name, version))
            yield translate.flow_definition(flow, state, around)
        yield from self._news(flow_run.id, translate.flow_started(flow, flow_run, state, around, attempt))

    def _task_begins(self, task: Any, task_run: Any, state: Any) -> Iterator[EventBase]:
        around = self._around.task_run(task, task_run)
        attempt = translate.task_attempt(task_run)
        run_id = task_run_id(around.deployment, task_run.id, attempt)
        self._begin(LiveRun("task", task, task_run, around, run_id, attempt, state.id))
        yield from self._news(task_run.id, translate.task_started(task, task_run, state, around))

    def _begin(self, live: LiveRun) -> None:
        before = self._live.get(live.native.id)
        outer = self._follow(live.run_id)
        live.outer = outer if before is None else before.outer
        self._live[live.native.id] = live
        self._logs.begin(live.native.id)

    def _ends(self, live: LiveRun | None, state: Any, told: list[EventBase]) -> Iterator[EventBase]:
        """Tell an end, or a state on the way to it, in which case the run lives on."""
        if live is None:
            yield from told
            return
        live.told_state_id = state.id
        has_ended = canonical_state(state).is_terminal
        if has_ended:
            yield from self._log_of(live, state)
        yield from self._news(live.native.id, told)
        if has_ended:
            self._forget(live)

    def _news(self, native_id: UUID, told: list[EventBase]) -> Iterator[EventBase]:
        """Leave out a context that says no more than the one before."""
        live = self._live.get(native_id)
        for event in told:
            if live is not None and isinstance(event, ContextEvent):
                if event.event_id == live.told_context_id:
                    continue
                live.told_context_id = event.event_id
            yield event

    def _forget(self, live: LiveRun | None) -> None:
        if live is not None:
            self._live.pop(live.native.id, None)
            self._follow(live.outer)

    def _log_of(self, live: LiveRun | None, state: Any) -> Iterator[EventBase]:
        log = self._logs.end(live.native.id) if live is not None else {}
        if live is not None and log:
            yield LogEvent(**Report(live.around.deployment, live.run_id, state.timestamp).fields, **log)
