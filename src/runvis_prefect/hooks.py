"""Hooks for Prefect's flows and tasks, to be given to them by hand.

```python
from runvis_prefect import hooks

@flow(**hooks.for_flow())
def orders(): ...

@task(retries=3, **hooks.for_task())
def load(): ...
```

`runvis_prefect.install()` does this for every flow and task made after it. They write to the process's spool and
return: they wait for nothing and raise nothing.
"""

from __future__ import annotations

import atexit
import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypedDict
from uuid import UUID

from runvis_core.emit.current import clear_current, set_current
from runvis_core.emit.process import process_recorder
from runvis_core.emit.recorder import Recorder
from runvis_core.model.state import Witness
from runvis_prefect import surroundings
from runvis_prefect.facts import Surroundings
from runvis_prefect.identity import ENGINE
from runvis_prefect.logs import RunLogs
from runvis_prefect.states import type_name
from runvis_prefect.watch import Watch

StateHook = Callable[[Any, Any, Any], None]
RetryCondition = Callable[[Any, Any, Any], Any]


class FlowHooks(TypedDict):
    """The keyword arguments of `@flow` that record it."""

    on_running: list[StateHook]
    on_completion: list[StateHook]
    on_failure: list[StateHook]
    on_cancellation: list[StateHook]
    on_crashed: list[StateHook]


class TaskHooks(TypedDict):
    """The keyword arguments of `@task` that record it."""

    on_running: list[StateHook]
    on_completion: list[StateHook]
    on_failure: list[StateHook]
    retry_condition_fn: RetryCondition


def for_flow() -> FlowHooks:
    """Return the hooks that record a flow, as keyword arguments of `@flow`."""
    return FlowHooks(
        on_running=[flow_hook],
        on_completion=[flow_hook],
        on_failure=[flow_hook],
        on_cancellation=[flow_hook],
        on_crashed=[flow_hook],
    )


def for_task(*, retry_condition_fn: RetryCondition | None = None) -> TaskHooks:
    """Return the hooks that record a task, as keyword arguments of `@task`.

    A task's own retry condition is to be given here: no hook but that one is told that an attempt failed.
    """
    return TaskHooks(
        on_running=[task_hook],
        on_completion=[task_hook],
        on_failure=[task_hook],
        retry_condition_fn=recorded_retry_condition(retry_condition_fn),
    )


def flow_hook(flow: Any, flow_run: Any, state: Any) -> None:
    """Record the state that a flow run entered: for any of a flow's hooks."""
    process = process_watch()
    error = sys.exception()
    process.recorder.record(process.watch.flow_hook(flow, flow_run, state, error))
    if error is not None and type_name(state) == "CRASHED":
        # Prefect goes on to end the process by the signal that it caught, and no exit handler will run.
        process.recorder.close()


def task_hook(task: Any, task_run: Any, state: Any) -> None:
    """Record the state that a task run entered: for any of a task's hooks."""
    process = process_watch()
    process.recorder.record(process.watch.task_hook(task, task_run, state))


def recorded_retry_condition(condition: RetryCondition | None) -> RetryCondition:
    """Return a retry condition that decides as `condition` does and records the attempt that will be tried again.

    A plain function, or a coroutine function where `condition` is one: Prefect takes nothing else for a condition.
    """
    if inspect.iscoroutinefunction(condition):

        async def decide_later(task: Any, task_run: Any, state: Any) -> bool:
            will_retry = bool(await condition(task, task_run, state))
            _record_retry(task, task_run, state, will_retry=will_retry)
            return will_retry

        return _mark_recorded(decide_later)

    def decide(task: Any, task_run: Any, state: Any) -> bool:
        will_retry = condition is None or bool(condition(task, task_run, state))
        _record_retry(task, task_run, state, will_retry=will_retry)
        return will_retry

    return _mark_recorded(decide)


def is_recorded(condition: RetryCondition | None) -> bool:
    """Whether a retry condition is one that `recorded_retry_condition` made."""
    return hasattr(condition, "__runvis_recorded__")


def _mark_recorded(condition: RetryCondition) -> RetryCondition:
    condition.__dict__["__runvis_recorded__"] = True
    return condition


def _record_retry(task: Any, task_run: Any, state: Any, *, will_retry: bool) -> None:
    process = process_watch()
    if will_retry:
        process.recorder.record(process.watch.task_retry(task, task_run, state))


class ProcessWatch:
    """The recorder and the watch of this process."""

    def __init__(self) -> None:
        versions = {name: version(name) for name in surroundings.PACKAGES}
        self.recorder: Recorder = process_recorder(
            engine=ENGINE, component="flow", witness=Witness.WORKER, versions=versions
        )
        self.watch = Watch(self, RunLogs(), self._follow)
        self._current: ContextVar[UUID | None] = ContextVar("runvis_prefect_current_run", default=None)

    def flow_run(self, flow: Any, flow_run: Any) -> Surroundings:
        """Return what surrounds a flow run that begins in this process."""
        return surroundings.of_flow_run(flow, flow_run, self.recorder.deployment, self.watch.flow_attempt_at)

    def task_run(self, task: Any, task_run: Any) -> Surroundings:
        """Return what surrounds a task run that begins in this process."""
        return surroundings.of_task_run(task, task_run, self.recorder.deployment, self.watch.flow_attempt_at)

    def outside(self) -> Surroundings:
        """Return what is known of a run whose process is another one, such as a child of the runner that we are in."""
        return surroundings.from_outside(self.recorder.deployment)

    def tell_the_rest(self) -> None:
        """Record what no hook told, as the process ends."""
        self.recorder.record(self.watch.last_look())

    def _follow(self, run_id: UUID | None) -> UUID | None:
        """Make a run the one that user code in this context speaks for; return the one before."""
        before = self._current.get()
        self._current.set(run_id)
        if run_id is None:
            clear_current()
        else:
            set_current(run_id, self.recorder, find_correlation=surroundings.correlation_id)
        return before


@lru_cache(maxsize=1)
def process_watch() -> ProcessWatch:
    """Return the watch of this process, made when the first hook is called."""
    made = ProcessWatch()
    # Exit handlers run last registered first, so this one runs while the recorder is still open.
    atexit.register(made.tell_the_rest)
    return made
