"""What names an Airflow run: the same for the worker, the scheduler, the API server and the REST follower.

A DAG run's attempt is told by the DAG run's `start_date`, the one thing that all of them hold and that moves only when
a finished run is reopened, or deleted and made again (`clear_number` moves when a running one's task is cleared, too).
A DAG run that waits has no `start_date` yet, so it goes by a provisional id until it starts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.model.identity import definition_version_id, run_id, timestamp

ENGINE: Final = "airflow"


class DagRunKey(NamedTuple):
    """One attempt of a DAG run; `start_date` is None while it waits."""

    dag_id: str
    run_id: str
    start_date: datetime | None
    queued_at: datetime | None = None

    @property
    def native_key(self) -> str:
        """The key that all attempts of this DAG run share."""
        return join_key(self.dag_id, self.run_id)

    def uuid(self, deployment: str) -> UUID:
        """Return RunVis's id of this attempt."""
        if self.start_date is None:
            return self.waiting_uuid(deployment)
        return run_id(ENGINE, deployment, ("dag_run", self.dag_id, self.run_id, timestamp(self.start_date)))

    def waiting_uuid(self, deployment: str) -> UUID:
        """Return the provisional id that this attempt had while it waited."""
        queued_at = timestamp(self.queued_at) if self.queued_at else None
        return run_id(ENGINE, deployment, ("dag_run_waiting", self.dag_id, self.run_id, queued_at))


class TaskKey(NamedTuple):
    """One try of a task instance, under the DAG run attempt in which it ran."""

    dag_run: DagRunKey
    task_id: str
    map_index: int
    try_number: int

    @property
    def definition(self) -> str:
        """The name of what runs."""
        return f"{self.dag_run.dag_id}.{self.task_id}"

    @property
    def native_key(self) -> str:
        """The key that all tries of this task instance share."""
        return task_native_key(self.dag_run.dag_id, self.dag_run.run_id, self.task_id, self.map_index)

    @property
    def native_id(self) -> str:
        """The try as a person would name it."""
        return f"{self.native_key}/{self.try_number}"

    def uuid(self, deployment: str) -> UUID:
        """Return RunVis's id of this try."""
        dag_run = self.dag_run
        started = timestamp(dag_run.start_date) if dag_run.start_date else None
        parts = (dag_run.dag_id, dag_run.run_id, self.task_id, self.map_index, self.try_number, started)
        return run_id(ENGINE, deployment, ("task_instance", *parts))


def join_key(*parts: str | int) -> str:
    """Return the parts as one readable key; a `/` inside a part can't be mistaken for the border between two."""
    return "/".join(str(part).replace("%", "%25").replace("/", "%2F") for part in parts)


def task_native_key(dag_id: str, native_run_id: str, task_id: str, map_index: int) -> str:
    """Return the key that all tries of one task instance share."""
    return join_key(dag_id, native_run_id, task_id, map_index)


def version_id(deployment: str, dag_id: str, dag_version_id: str | None) -> UUID | None:
    """Return the id of a DAG's version; Airflow's own version id stands for the content that it was made from."""
    return definition_version_id(ENGINE, deployment, dag_id, dag_version_id) if dag_version_id else None
