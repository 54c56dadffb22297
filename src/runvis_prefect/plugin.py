"""`install()`: record every flow and task that is made after it, with no change to them.

Prefect has no default hooks, so `Flow.__init__` and `Task.__init__` are wrapped. Where those are not as they were in
the versions that this was made for, nothing is changed, and that is said once.
"""

from __future__ import annotations

import inspect
import logging
from functools import wraps
from typing import Any, Final

import prefect
from prefect import Flow, Task

from runvis_prefect import hooks

_log = logging.getLogger(__name__)

FLOW_HOOKS: Final = ("on_running", "on_completion", "on_failure", "on_cancellation", "on_crashed")
TASK_HOOKS: Final = ("on_running", "on_completion", "on_failure")


def install() -> bool:
    """Record all flows and tasks made from now on in this process; return whether they will be.

    They won't when RunVis is dormant (no `RUNVIS_URL`, or switched off), or when this Prefect is one that it
    doesn't know. A second call changes nothing.
    """
    if hooks.process_watch().recorder.is_dormant:
        return False
    if not _is_known_prefect():
        _log.warning(
            "RunVis records no flows of Prefect %s by install(): it doesn't know this version's Flow and Task. "
            "Give them the hooks by hand: @flow(**runvis_prefect.hooks.for_flow()).",
            prefect.__version__,
        )
        return False
    _wrap_init(Flow, _add_flow_hooks)
    _wrap_init(Task, _add_task_hooks)
    return True


def _is_known_prefect() -> bool:
    if prefect.__version__.split(".")[0] != "3":
        return False
    kinds: tuple[Any, Any] = (Flow, Task)
    flow_parameters, task_parameters = (inspect.signature(kind.__init__).parameters for kind in kinds)
    return flow_parameters.keys() >= {*FLOW_HOOKS} and task_parameters.keys() >= {*TASK_HOOKS, "retry_condition_fn"}


def _wrap_init(kind: Any, add_hooks: Any) -> None:
    original = kind.__init__
    if hasattr(original, "__runvis_wraps__"):
        return

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        add_hooks(self)

    init.__dict__["__runvis_wraps__"] = original
    kind.__init__ = init


def _add_flow_hooks(flow: Any) -> None:
    for name in FLOW_HOOKS:
        _add_hook(flow, f"{name}_hooks", hooks.flow_hook)


def _add_task_hooks(task: Any) -> None:
    for name in TASK_HOOKS:
        _add_hook(task, f"{name}_hooks", hooks.task_hook)
    condition = task.retry_condition_fn
    # Prefect refuses to retry on a condition that is no function, and so must go on seeing that one.
    if (condition is None or inspect.isfunction(condition)) and not hooks.is_recorded(condition):
        task.retry_condition_fn = hooks.recorded_retry_condition(condition)


def _add_hook(definition: Any, attribute: str, hook: hooks.StateHook) -> None:
    """Add a hook to a copy of the list: users share one list between flows, and `with_options` hands it on."""
    known: list[Any] | None = getattr(definition, attribute, None)
    if known is not None and hook not in known:
        setattr(definition, attribute, [*known, hook])
