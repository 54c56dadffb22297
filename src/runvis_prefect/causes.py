"""What started a flow run, as far as its own object says. Pure; for the hooks and for the follower alike.

A flow run is started by another run in two ways: somebody handed the cause on in its labels (`runvis_core.context`), or
a flow called `run_deployment`, which makes a task run to track it by and names that one as the parent. The parent of a
subflow is no cause: it contains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from runvis_core.model.cause import read_labels, read_traceparent
from runvis_prefect.identity import task_run_id

TRACEPARENT: Final = "__OTEL_TRACEPARENT"
"""The label in which Prefect keeps a W3C `traceparent`, when it traces."""


class FlowCauses(NamedTuple):
    """What is to be said of a flow run's cause, in the words of an `IdentityEvent`; None says nothing."""

    caused_by_run_id: UUID | None
    correlation_id: str | None


def find_causes(flow_run: Any, deployment: str) -> FlowCauses:
    """Return the run that started a flow run, and its correlation id.

    `flow_run` is read by attribute: `id`, `labels`, `deployment_id`, `parent_task_run_id`. The correlation id is that
    which was handed on, else that of Prefect's own trace, else, for a run at the top, the flow run's own id: a trace
    begins with it, and what it starts elsewhere can carry it on.
    """
    handed = read_labels(flow_run.labels)
    tracked = flow_run.deployment_id is not None and flow_run.parent_task_run_id is not None
    labels: Mapping[str, Any] = flow_run.labels or {}
    correlation_id = (handed and handed.correlation_id) or read_traceparent(labels.get(TRACEPARENT))
    if correlation_id is None and handed is None and flow_run.parent_task_run_id is None:
        correlation_id = UUID(str(flow_run.id)).hex
    if handed is not None:
        return FlowCauses(handed.run_id, correlation_id)
    if tracked:
        return FlowCauses(task_run_id(deployment, str(flow_run.parent_task_run_id), 1), correlation_id)
    return FlowCauses(None, correlation_id)
