"""A real Airflow task: supervisor, forked task process, parse, pre-execute, run, finalize, listeners.

Only the execution API is answered in the supervisor's process, at once: what is left is the least that a task can
take, so that a listener's share of it is the largest. The process that forks is a scheduler's by what it has imported,
as with LocalExecutor. Answers with the milliseconds of the task process, from pre-execute to the last exit handler.

Arguments: `plain` takes RunVis's listener away again, `listening` leaves those that are installed.
"""

import atexit
import importlib
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
from airflow.executors.workloads import BundleInfo
from airflow.jobs.job import Job
from airflow.listeners.listener import get_listener_manager
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time import supervisor, task_runner
from answering import serve

# What a scheduler has imported before it forks, and so its tasks have, too.
for module in ("airflow.jobs.scheduler_job_runner", "airflow.providers.standard.decorators.python"):
    importlib.import_module(module)

MEASURED = ["apache-airflow"]


class Execution:
    """Runs tasks one after the other."""

    def __init__(self, folder):
        self.marks = Path(folder, "milliseconds")
        self.log = Path(folder, "task.log")
        self.api = {}
        self._main = task_runner.main
        # The task process is a fork: it calls what stands here.
        task_runner.main = self._timed_main

    def _timed_main(self):
        began = time.perf_counter()
        # Handlers run last in, first out: this one after all that a listener registers.
        atexit.register(lambda: self.marks.write_text(str((time.perf_counter() - began) * 1000)))
        self._main()

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
        self.marks.unlink(missing_ok=True)
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
        return {"figures": [float(self.marks.read_text())]}

    def _answer(self, request, dag_run):
        if request.url.path.endswith("/run"):
            return httpx.Response(200, json={"dag_run": dag_run, "max_tries": 0, "should_retry": False})
        if request.url.path.endswith("/state"):
            self.states.append(json.loads(request.content)["state"])
        return httpx.Response(200, json={"ok": True})


def main():
    listeners = sys.argv[1]
    # What a listener tells a scheduler by.
    sys.argv = ["airflow", "scheduler"]
    if listeners == "plain":
        from runvis_airflow.plugin import RunVisPlugin

        RunVisPlugin.listeners = []
    manager = get_listener_manager()
    # A scheduler tells its listeners that it begins, before it forks anything.
    Job()
    assert bool(manager.pm.get_plugins()) == (listeners == "listening"), manager.pm.get_plugins()
    if "OPENLINEAGE" in "".join(os.environ):
        MEASURED.extend(["apache-airflow-providers-openlineage", "openlineage-python"])
    with tempfile.TemporaryDirectory() as folder:
        serve(Execution(folder).measure, *MEASURED)


if __name__ == "__main__":
    main()
