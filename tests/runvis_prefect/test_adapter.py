from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from runvis_core.model.event import EventBase
from runvis_core.testing.adapter_suite import AdapterSuite
from runvis_prefect.facts import Surroundings
from runvis_prefect.identity import flow_run_id
from runvis_prefect.watch import Watch

FREE_MAPPINGS = {"parameters", "labels", "task_inputs", "job_variables", "context"}


class TestPrefect(AdapterSuite):
    """What a real Prefect's hooks were given, flow by flow, and the events that a process makes of it."""

    engine = "prefect"
    fixtures = Path(__file__).parents[1] / "fixtures" / "prefect"

    def translate(self, raw: Any, deployment: str) -> list[EventBase]:
        process = ReplayedProcess(deployment)
        return [event for call in raw for event in process.replay(call)]


class ReplayedProcess:
    """Stands for the process whose hooks were called."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._flows: list[tuple[UUID, str, UUID]] = []
        self._watch = Watch(self, NoLogs(), lambda run_id: None)

    def replay(self, call: dict[str, Any]) -> list[EventBase]:
        definition, run, state = (objects(call[part]) for part in ("definition", "run", "state"))
        if call["hook"] == "retry_condition":
            return list(self._watch.task_retry(definition, run, state))
        if call["definition"]["$class"] == "Task":
            return list(self._watch.task_hook(definition, run, state))
        return list(self._watch.flow_hook(definition, run, state, objects(call["exception_in_flight"])))

    def flow_run(self, flow: Any, flow_run: Any) -> Surroundings:
        run_id = flow_run_id(self._deployment, flow_run.id, flow_run.run_count + 1)
        parent = self._flows[-1][2] if flow_run.parent_task_run_id else None
        self._flows.append((flow_run.id, flow.name, run_id))
        code = {"path": "flow.py", "commit": "0" * 40}
        return Surroundings(self._deployment, code=code, ui_url="http://prefect.test", parent_run_id=parent)

    def task_run(self, task: Any, task_run: Any) -> Surroundings:
        (flow_name,) = (name for native_id, name, _ in self._flows if native_id == task_run.flow_run_id)
        return Surroundings(self._deployment, flow_name=flow_name, parameters={"count": 3})

    def outside(self) -> Surroundings:
        return Surroundings(self._deployment)


class NoLogs:
    def begin(self, native_id: UUID) -> None: ...

    def end(self, native_id: UUID) -> dict[str, Any]:
        return {}


def objects(value: Any, name: str = "") -> Any:
    """The objects that a dump shows, as far as the adapter looks at them."""
    if isinstance(value, list):
        return [objects(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$time": text}:
            return datetime.fromisoformat(text)
        case {"$uuid": text}:
            return UUID(text)
        case {"$seconds": seconds}:
            return timedelta(seconds=seconds)
        case {"$exception": kind, "message": message}:
            return type(kind, (Exception,), {"__module__": "dumped"})(message)
    fields = {key: objects(item, key) for key, item in value.items()}
    return fields if name in FREE_MAPPINGS else SimpleNamespace(**fields)
