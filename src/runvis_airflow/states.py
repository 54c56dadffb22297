"""Airflow's words for states, triggers and datasets, and RunVis's words for the same.

| Airflow | RunVis |
|---|---|
| task: none, scheduled, queued | Queued |
| task: a worker has it and imports the DAG file | Initializing |
| task: running, deferred, up_for_reschedule | Running |
| task: success | Succeeded |
| task: failed, up_for_retry | Failed |
| task: ended by `AirflowTaskTimeout`, or running when its DAG run timed out | TimedOut |
| task: skipped, upstream_failed, removed; restarting (cleared while it ran) | Cancelled |
| DAG run: queued, running, success, failed | Queued, Running, Succeeded, Failed |
| DAG run: failed by `dagrun_timeout` | TimedOut |

Airflow has no moment that would be Finalizing: when its success hook is called, the results are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runvis_core.emit.current import dataset_name
from runvis_core.model.state import State, TriggerKind

TASK_STATES: Final[Mapping[str, State]] = {
    "none": State.QUEUED,
    "scheduled": State.QUEUED,
    "queued": State.QUEUED,
    "running": State.RUNNING,
    "deferred": State.RUNNING,
    "up_for_reschedule": State.RUNNING,
    "awaiting_input": State.RUNNING,
    "success": State.SUCCEEDED,
    "failed": State.FAILED,
    "up_for_retry": State.FAILED,
    "skipped": State.CANCELLED,
    "upstream_failed": State.CANCELLED,
    "removed": State.CANCELLED,
    "restarting": State.CANCELLED,
}
DAG_RUN_STATES: Final[Mapping[str, State]] = {
    "queued": State.QUEUED,
    "running": State.RUNNING,
    "success": State.SUCCEEDED,
    "failed": State.FAILED,
}
PAUSED: Final = frozenset({"deferred", "up_for_reschedule", "awaiting_input"})
"""Not over, though the task's process ends."""

_TRIGGERED_BY: Final[Mapping[str, TriggerKind]] = {
    "cli": TriggerKind.MANUAL,
    "ui": TriggerKind.MANUAL,
    "test": TriggerKind.MANUAL,
    "rest_api": TriggerKind.API,
    "operator": TriggerKind.RUN,
    "timetable": TriggerKind.SCHEDULE,
    "asset": TriggerKind.DATASET,
    "backfill": TriggerKind.BACKFILL,
}
_RUN_TYPES: Final[Mapping[str, TriggerKind]] = {
    "manual": TriggerKind.MANUAL,
    "scheduled": TriggerKind.SCHEDULE,
    "backfill": TriggerKind.BACKFILL,
    "asset_triggered": TriggerKind.DATASET,
    "asset_materialization": TriggerKind.MANUAL,
    "operator_triggered": TriggerKind.RUN,
}


def trigger_kind(*, triggered_by: str | None, run_type: str | None) -> TriggerKind:
    """Return why a DAG run started; `triggered_by` tells more than `run_type`, and only the scheduler has it."""
    return _TRIGGERED_BY.get(triggered_by or "") or _RUN_TYPES.get(run_type or "") or TriggerKind.UNKNOWN


def asset_dataset(uri: str, *, deployment: str) -> tuple[str, str]:
    """Return the namespace and name of an asset's dataset; an asset that has no address is its Airflow's own."""
    return dataset_name(uri) if "://" in uri else (f"airflow://{deployment}", uri)
