"""A task as an executor runs it: supervisor, forked task process, a real API server behind it, until the process ends.

What is measured begins where an executor hands over to Airflow's supervisor, and ends with the last exit handler of
the task's process: what the engine does to execute a task that does nothing. The process that forks is a scheduler's by
what it has imported and told its listeners, as with LocalExecutor. Answers with milliseconds.

Arguments: `plain` takes RunVis's listener away again, `listening` leaves those that are installed.
"""

import atexit
import importlib
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from airflow.executors.base_executor import get_execution_api_server_url
from airflow.executors.local_executor import LocalExecutor
from airflow.executors.workloads import ExecuteTask
from airflow.jobs.job import Job
from airflow.listeners.listener import get_listener_manager
from airflow.models.dagbag import DBDagBag
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from answering import serve

# What a scheduler has imported before it forks, and so its tasks have, too.
for module in ("airflow.jobs.scheduler_job_runner", "airflow.providers.standard.decorators.python"):
    importlib.import_module(module)

MEASURED = ["apache-airflow"]


class Worker:
    """Runs tasks one after the other."""

    def __init__(self, folder):
        self.marks = Path(folder, "milliseconds")
        self.log = Path(folder, "task.log")
        self.began = 0.0
        self.executor = LocalExecutor(parallelism=1)
        self._main = task_runner.main
        # The task process is a fork: it calls what stands here.
        task_runner.main = self._timed_main

    def _timed_main(self):
        # Handlers run last in, first out: this one after all that a listener registers. The clock is the machine's.
        atexit.register(lambda: self.marks.write_text(str((time.perf_counter() - self.began) * 1000)))
        self._main()

    def measure(self):
        """Run one task to its end."""
        workload = self._queue()
        self.marks.unlink(missing_ok=True)
        self.began = time.perf_counter()
        status = supervisor.supervise_task(
            ti=workload.ti,
            bundle_info=workload.bundle_info,
            dag_rel_path=workload.dag_rel_path,
            token=workload.token,
            server=get_execution_api_server_url(),
            log_path=str(self.log),
        )
        assert status == 0, self.log.read_text()[-4000:]
        with create_session() as session:
            state = self._dag_run(session, workload.ti.run_id).get_task_instance("nothing", session=session).state
        assert state == TaskInstanceState.SUCCESS, (state, self.log.read_text()[-4000:])
        return {"figures": [float(self.marks.read_text())]}

    def _queue(self):
        """Do what a scheduler does before an executor has its turn."""
        now = datetime.now(UTC)
        with create_session() as session:
            dag = DBDagBag().get_latest_version_of_dag("bench", session=session)
            dag_run = dag.create_dagrun(
                run_id=f"manual__{uuid4()}",
                logical_date=now,
                data_interval=(now, now),
                run_after=now,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.CLI,
                state=DagRunState.RUNNING,
                start_date=now,
                session=session,
            )
            ti = dag_run.get_task_instance("nothing", session=session)
            ti.state, ti.queued_dttm, ti.try_number = TaskInstanceState.QUEUED, now, 1
            session.flush()
            return ExecuteTask.make(ti, generator=self.executor.jwt_generator)

    def _dag_run(self, session, run_id):
        from airflow.models.dagrun import DagRun

        return session.query(DagRun).filter_by(dag_id="bench", run_id=run_id).one()


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
        serve(Worker(folder).measure, *MEASURED)


if __name__ == "__main__":
    main()
