"""Hand the current run on as the cause of what it starts in another engine: one call, in the place where it starts it.

```python
# In an Airflow task that starts a Prefect deployment:
client.create_flow_run_from_deployment(deployment_id, labels=carry_in_labels())

# In a Prefect flow that starts a DAG over Airflow's REST API:
httpx.post(f"{api}/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": carry_in_conf({"day": day})})
```

The adapter of the started run's engine reads it. Within one engine nothing is to be done: `TriggerDagRunOperator`,
assets, subflows and `run_deployment` are known by themselves. Neither call raises; outside a recorded run both return
what they were given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runvis_core.emit.current import current_run
from runvis_core.model.cause import KEY

__all__ = ["carry_in_conf", "carry_in_labels"]


def carry_in_labels(labels: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the labels with those that say which run is the cause."""
    cause = current_run().as_cause()
    return {**(labels or {}), **(cause.as_labels() if cause else {})}


def carry_in_conf(conf: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the conf with the key `runvis`, under which it says which run is the cause."""
    cause = current_run().as_cause()
    return {**(conf or {}), **({KEY: cause.as_object()} if cause else {})}
