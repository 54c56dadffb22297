"""A task as an executor runs it: supervisor, forked task process, a real API server behind it, until the process ends.

What is measured begins where an executor hands over to Airflow's supervisor, and ends with the last exit handler of
the task's process: what the engine does to execute a task that does nothing. Answers with milliseconds.

Arguments: see `airflow_process.run`.
"""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from airflow.executors.base_executor import get_execution_api_server_url
from airflow.executors.local_executor import LocalExecutor
from airflow.executors.workloads import ExecuteTask
from airflow.models.dagbag import DBDagBag
from airflow.sdk.execution_time import supervisor
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from airflow_process import Stopwatch, run


class Worker:
    """Runs tasks one after the other."""

    def __init__(self, folder):
        self.stopwatch = Stopwatch(folder, from_the_fork=False)
        self.log = Path(folder, "task.log")
        self.executor = LocalExecutor(parallelism=1)

    def measure(self):
        """Run one task to its end."""
        workload = self._queue()
        self.stopwatch.begin()
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
        return {"figures": [self.stopwatch.milliseconds()]}

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


if __name__ == "__main__":
    run(Worker)
