"""A real Airflow task: supervisor, forked task process, parse, pre-execute, run, finalize, listeners.

Only the execution API is answered in the supervisor's process, at once: what is left is the least that a task can
take, so that a listener's share of it is the largest. Answers with the milliseconds of the task process, from
pre-execute to the last exit handler.

Arguments: see `airflow_process.run`.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
from airflow.executors.workloads import BundleInfo
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time import supervisor
from airflow_process import Stopwatch, run


class Execution:
    """Runs tasks one after the other."""

    def __init__(self, folder):
        self.stopwatch = Stopwatch(folder, from_the_fork=True)
        self.log = Path(folder, "task.log")

    def measure(self):
        """Run one task to its end."""
        now = datetime.now(UTC).isoformat()
        run_id = f"manual__{now}"
        ti = TaskInstance(
            id=uuid4(),
            task_id="nothing",
            dag_id="bench",
            run_id=run_id,
            try_number=1,
            map_index=-1,
            dag_version_id=uuid4(),
            pool_slots=1,
            queue="default",
            priority_weight=1,
        )
        dag_run = {"dag_id": "bench", "run_id": run_id, "run_type": "manual", "state": "running"}
        dag_run |= {"logical_date": now, "start_date": now, "run_after": now, "consumed_asset_events": []}
        dag_run |= dict.fromkeys(("data_interval_start", "data_interval_end", "end_date", "partition_key"))
        transport = httpx.MockTransport(lambda request: self._answer(request, dag_run))
        self.stopwatch.begin()
        self.states = []
        status = supervisor.supervise_task(
            ti=ti,
            bundle_info=BundleInfo(name="dags-folder", version=None),
            dag_rel_path="bench_dag.py",
            token="",
            client=Client(base_url=None, token="", dry_run=True, transport=transport),
            log_path=str(self.log),
        )
        assert status == 0, self.log.read_text()[-4000:]
        assert self.states == ["success"], (self.states, self.log.read_text()[-4000:])
        return {"figures": [self.stopwatch.milliseconds()]}

    def _answer(self, request, dag_run):
        if request.url.path.endswith("/run"):
            return httpx.Response(200, json={"dag_run": dag_run, "max_tries": 0, "should_retry": False})
        if request.url.path.endswith("/state"):
            self.states.append(json.loads(request.content)["state"])
        return httpx.Response(200, json={"ok": True})


if __name__ == "__main__":
    run(Execution)
