"""What Prefect's server is asked for beside what changed: names, callers, histories. What never changes is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from runvis_prefect.history import Caller, Kind, Placed, Source, attempt_at, count_of, walk
from runvis_prefect.memory import Recent
from runvis_prefect.reader import Reader
from runvis_prefect.rest import PAGE_SIZE, PrefectApi
from runvis_prefect.rows import Deployment, Flow, FlowRun, StateRow, TaskRun

KEPT: Final = 10_000


class Books:
    """The server's books, for one thread."""

    def __init__(self, api: PrefectApi, source: Source, reader: Reader) -> None:
        self._api = api
        self._source = source
        self._reader = reader
        self._flow_names: Recent[UUID, str] = Recent(KEPT)
        self._deployment_names: Recent[UUID, str] = Recent(KEPT)
        self._callers: Recent[UUID, Caller | None] = Recent(KEPT)
        self._attempts: Recent[tuple[UUID, int], int] = Recent(KEPT)

    def flow_runs(self, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
        """Return flow runs by their ids; those that are gone are left out."""
        rows = self._by_id("/flow_runs/filter", "flow_runs", ids)
        return {row.id: row for row in self._reader.rows(FlowRun, rows)}

    def task_runs(self, ids: Iterable[UUID]) -> dict[UUID, TaskRun]:
        """Return task runs by their ids; those that are gone are left out."""
        rows = self._by_id("/task_runs/filter", "task_runs", ids)
        return {row.id: row for row in self._reader.rows(TaskRun, rows)}

    def learn(self, rows: Sequence[FlowRun]) -> None:
        """Ask in one go for what these flow runs only name by its id."""
        self.learn_flows(row.flow_id for row in rows)
        self._learn_deployments(rows)
        self._learn_callers([row for row in rows if row.parent_task_run_id and row.id not in self._callers])

    def learn_flows(self, flow_ids: Iterable[UUID]) -> None:
        """Ask in one go for the names of flows."""
        unknown = {flow_id for flow_id in flow_ids if flow_id not in self._flow_names}
        for flow in self._reader.rows(Flow, self._by_id("/flows/filter", "flows", unknown)):
            self._flow_names.set(flow.id, flow.name)

    def flow_name(self, flow_id: UUID) -> str:
        """Return a flow's name; its id if the flow is gone."""
        return self._flow_names.find(flow_id) or str(flow_id)

    def deployment_name(self, row: FlowRun) -> str | None:
        """Return the name of a flow run's deployment."""
        return self._deployment_names.find(row.deployment_id) if row.deployment_id else None

    def caller(self, row: FlowRun) -> Caller | None:
        """Return the run that called a subflow or started a deployment."""
        return self._callers.find(row.id)

    def flow_attempt(self, native: UUID, count: int) -> int:
        """Return the attempt that a flow run was in when Prefect's count of it was `count`."""
        if count <= 1:
            return count
        known = self._attempts.find((native, count))
        if known is not None:
            return known
        found = attempt_at(self._states("flow", native), count)
        if found is None:
            return count
        self._attempts.set((native, count), found)
        return found

    def history(self, kind: Kind, native: UUID) -> list[Placed]:
        """Return all states that a run was in, with their attempts."""
        return walk(self._states(kind, native))

    def state(self, kind: Kind, state_id: UUID) -> StateRow | None:
        """Return a state; None if it is gone."""
        found = self._api.find(f"/{kind}_run_states/{state_id}")
        return next(self._reader.rows(StateRow, [found]), None) if found is not None else None

    def _states(self, kind: Kind, native: UUID) -> Iterator[StateRow]:
        rows = self._api.find(f"/{kind}_run_states/", **{f"{kind}_run_id": str(native)})
        return self._reader.rows(StateRow, rows or ())

    def _learn_deployments(self, rows: Iterable[FlowRun]) -> None:
        wanted = {row.deployment_id for row in rows if row.deployment_id}
        unknown = {known for known in wanted if known not in self._deployment_names}
        for deployment in self._reader.rows(Deployment, self._by_id("/deployments/filter", "deployments", unknown)):
            self._deployment_names.set(deployment.id, deployment.name)

    def _learn_callers(self, rows: Sequence[FlowRun]) -> None:
        tracking = self.task_runs(row.parent_task_run_id for row in rows if row.parent_task_run_id)
        parents = self.flow_runs({task.flow_run_id for task in tracking.values() if task.flow_run_id})
        self.learn_flows(parent.flow_id for parent in parents.values())
        for row in rows:
            task = tracking.get(row.parent_task_run_id) if row.parent_task_run_id else None
            parent = parents.get(task.flow_run_id) if task is not None and task.flow_run_id else None
            if task is None or parent is None:
                self._callers.set(row.id, None)
                continue
            attempt = self._attempt_at(parent, task.expected_start_time)
            run_id = self._source.run_id("flow", parent.id, attempt)
            under = task.model_copy(update={"flow_run_run_count": attempt})
            self._callers.set(row.id, Caller(run_id, self.flow_name(parent.flow_id), under))

    def _attempt_at(self, flow_run: FlowRun, moment: datetime | None) -> int:
        """Return the attempt in which a flow run was: the task that stands for a child has no word of it."""
        if flow_run.run_count <= 1 or moment is None:
            return max(1, flow_run.run_count)
        begun = [
            placed
            for placed in self.history("flow", flow_run.id)
            if placed.state.type == "RUNNING" and placed.state.timestamp <= moment
        ]
        return max(1, count_of(begun))

    def _by_id(self, path: str, things: str, ids: Iterable[UUID]) -> Iterator[Any]:
        wanted = iter(sorted({str(known) for known in ids}))
        while chunk := list(islice(wanted, PAGE_SIZE)):
            yield from self._api.rows(path, {things: {"id": {"any_": chunk}}, "limit": PAGE_SIZE})
