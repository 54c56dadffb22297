"""What names a run of Prefect: the same for the process that runs it, and for who reads the server.

A flow run or task run of Prefect keeps its id over all its attempts; `run_count` tells them apart. Resuming a run that
was paused is no new attempt.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from runvis_core.model import identity

ENGINE: Final = "prefect"


def flow_run_id(deployment: str, native_id: UUID | str, attempt: int) -> UUID:
    """Return RunVis's id of an attempt of a flow run."""
    return identity.run_id(ENGINE, deployment, ("flow_run", str(native_id), attempt))


def task_run_id(deployment: str, native_id: UUID | str, attempt: int) -> UUID:
    """Return RunVis's id of an attempt of a task run."""
    return identity.run_id(ENGINE, deployment, ("task_run", str(native_id), attempt))


def deployment_name(flow_name: str, name: str) -> str:
    """Return what a deployment of Prefect is called as a definition: as Prefect's own commands call it."""
    return f"{flow_name}/{name}"
