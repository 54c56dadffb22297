"""What the process knows about a run besides what a hook is handed: contexts, checkout, host, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_UI_URL

from runvis_core.model.event import Json
from runvis_prefect.causes import find_causes
from runvis_prefect.checkout import find_checkout
from runvis_prefect.facts import Surroundings
from runvis_prefect.identity import deployment_name, flow_run_id

PACKAGES: Final = ("prefect", "runvis")
VARIABLES: Final = ("PREFECT_API_URL", "PREFECT_PROFILE", "TZ")
"""The environment variables that are recorded, where they are set; no other is."""


AttemptAt = Callable[[UUID, int], int]
"""Returns the attempt of a flow run of this process at a count of Prefect's."""


def of_flow_run(flow: Any, flow_run: Any, deployment: str, attempt_at: AttemptAt) -> Surroundings:
    """Return what surrounds a flow run that begins in this process."""
    name = _prefect_deployment(flow_run)
    return Surroundings(
        deployment=deployment,
        code=code_of(flow.fn),
        environment=environment(),
        ui_url=PREFECT_UI_URL.value(),
        prefect_deployment=name,
        started_from=deployment_name(str(flow.name), name) if name else None,
        parent_run_id=_parent_flow_run(flow_run, deployment, attempt_at),
    )


def correlation_id() -> str | None:
    """Return the correlation id of the flow run that the caller is in."""
    context = FlowRunContext.get()
    return find_causes(context.flow_run, "").correlation_id if context and context.flow_run else None


def of_task_run(task: Any, task_run: Any, deployment: str, attempt_at: AttemptAt) -> Surroundings:
    """Return what surrounds a task run that begins in this process."""
    flow_context, task_context = FlowRunContext.get(), TaskRunContext.get()
    ours = task_context is not None and task_context.task_run.id == task_run.id
    parent, count = task_run.flow_run_id, int(task_run.flow_run_run_count)
    return Surroundings(
        deployment=deployment,
        code=code_of(task.fn),
        environment=environment(),
        ui_url=PREFECT_UI_URL.value(),
        parent_run_id=flow_run_id(deployment, parent, attempt_at(parent, count)) if parent and count else None,
        flow_name=flow_context.flow.name if flow_context and flow_context.flow else None,
        parameters=task_context.parameters if task_context and ours else None,
    )


def from_outside(deployment: str) -> Surroundings:
    """Return what is known of a run that ran in another process, such as a runner's child: not its environment."""
    return Surroundings(deployment=deployment, ui_url=PREFECT_UI_URL.value())


def code_of(function: Any) -> Json:
    """Return where a function's code comes from: the file, and the git commit that its folder is at."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    path = Path(code.co_filename).absolute()
    checkout = find_checkout(path.parent)
    if checkout is None:
        return {"path": str(path)}
    found = {"path": str(path.relative_to(checkout.root)), "commit": checkout.commit, "branch": checkout.branch}
    return {key: value for key, value in found.items() if value is not None}


def environment() -> Json:
    """Return the host and versions of this process."""
    return {**_host_and_versions(), "pid": os.getpid()}


@lru_cache(maxsize=1)
def _host_and_versions() -> Json:
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _prefect_deployment(flow_run: Any) -> str | None:
    """Return the name of the run's deployment, which Prefect's runner hands to the process that it starts.

    Prefect's own loggers name it by the same rule: a run with a parent may belong to another deployment.
    """
    if flow_run.deployment_id is None or flow_run.parent_task_run_id is not None:
        return None
    return os.environ.get("PREFECT__DEPLOYMENT_NAME")


def _parent_flow_run(flow_run: Any, deployment: str, attempt_at: AttemptAt) -> UUID | None:
    """Return the attempt of the flow run that called this one as a subflow.

    While a subflow's `on_running` hook runs, the context is still the caller's; its count is up to date.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or flow_run.parent_task_run_id is None:
        return None
    if context.flow_run.id == flow_run.id:
        return None
    parent = context.flow_run
    return flow_run_id(deployment, parent.id, attempt_at(parent.id, max(1, parent.run_count)))
