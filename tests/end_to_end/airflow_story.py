"""What the end-to-end tests have a real Airflow do: each DAG once, with a person's and a fault's interference."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.airflow_deployment import AirflowDeployment
from tests.end_to_end.history import History
from tests.end_to_end.waiting import until

from runvis_core.services.answers import Liveness, RunDetail

UNATTENDED = (
    "retrying", "failing", "branching", "skipping", "mapped", "deferring", "rescheduling", "parent", "producer",
    "timing_out_task", "timing_out_run", "exiting", "many",
)  # fmt: skip


@dataclass
class Story:
    """An Airflow after it did all that, and the history of it."""

    airflow: AirflowDeployment
    history: History
    deployment: str
    run_ids: dict[str, str] = field(default_factory=dict)
    """Airflow's run ids, by what the story calls the run."""
    sign_of_life: Liveness | None = None
    """The first one of the task that lasts, as it was known then."""

    def dag_run(self, name: str) -> RunDetail:
        """Return what is recorded of the only attempt of a DAG run."""
        runs = self.dag_runs(name)
        assert len(runs) == 1, runs
        return runs[0]

    def dag_runs(self, name: str) -> list[RunDetail]:
        dag_id = name.partition(":")[0]
        return [run for run in self.history.runs(dag_id) if run.native_id == f"{dag_id}/{self.run_ids[name]}"]

    def tries(self, name: str, task_id: str, map_index: int = -1) -> list[RunDetail]:
        """Return what is recorded of a task of a DAG run, by attempt."""
        dag_id = name.partition(":")[0]
        key = f"{dag_id}/{self.run_ids[name]}/{task_id}/{map_index}/"
        runs = [run for run in self.history.runs(f"{dag_id}.{task_id}") if (run.native_id or "").startswith(key)]
        return sorted(runs, key=lambda run: (run.attempt or 0, run.started_at or run.ended_at))

    def the_try(self, name: str, task_id: str, map_index: int = -1) -> RunDetail:
        tries = self.tries(name, task_id, map_index)
        assert len(tries) == 1, tries
        return tries[0]

    # --- what happens ---

    def start_unattended(self) -> None:
        client = self.airflow.client
        for dag_id in UNATTENDED:
            self.run_ids[dag_id] = client.trigger(dag_id)
        self.run_ids["lasting"] = client.trigger("lasting")
        conf = {"region": "us", "password": "conf-password"}
        self.run_ids["plain"] = client.trigger("plain", conf=conf, note="started by a test")

    def interfere(self) -> None:
        client, airflow = self.airflow.client, self.airflow
        for name in ("killed", "killed_retrying", "marked:task", "marked:run", "cleared_running"):
            self.run_ids[name] = client.trigger(name.partition(":")[0])
        self.run_ids["two_tasks"] = client.trigger("two_tasks", run_id="the-same")
        for name in ("killed", "killed_retrying"):
            os.kill(airflow.task_pid(name, self.run_ids[name], "victim"), signal.SIGKILL)
        airflow.task_pid("marked", self.run_ids["marked:task"], "held")
        client.mark_task("marked", self.run_ids["marked:task"], "held", "success")
        airflow.task_pid("marked", self.run_ids["marked:run"], "held")
        client.mark_run("marked", self.run_ids["marked:run"], "failed")
        airflow.task_pid("cleared_running", self.run_ids["cleared_running"], "restarted")
        client.clear("cleared_running", self.run_ids["cleared_running"], ["restarted"])

    def come_back(self) -> None:
        """Do to finished runs what people do to finished runs."""
        client = self.airflow.client
        client.wait_for_run("many", self.run_ids["many"])
        client.clear("many", self.run_ids["many"], [["member", 2]])
        client.wait_for_run("two_tasks", "the-same")
        client.delete_run("two_tasks", "the-same")
        client.trigger("two_tasks", run_id="the-same")
        client.wait_for_run("exiting", self.run_ids["exiting"])
        client.mark_task("exiting", self.run_ids["exiting"], "leave", "success")

    def let_go(self) -> None:
        """Let the task that lasts end, once it has shown that it lives."""
        until("the process of the task that lasts", lambda: self._marker_of_lasting().exists())
        self.sign_of_life = until("a sign of life", lambda: self.the_try("lasting", "lasts").liveness, seconds=90)
        self._marker_of_lasting().unlink()

    def _marker_of_lasting(self) -> Path:
        return self.airflow.marker("lasting", self.run_ids["lasting"], "lasts")

    def await_all(self) -> None:
        client = self.airflow.client
        for name, run_id in self.run_ids.items():
            client.wait_for_run(name.partition(":")[0], run_id)
        for dag_id in ("child", "consumer"):
            self.run_ids[dag_id] = client.wait_for_any_run(dag_id)["dag_run_id"]
        expected = {"many": 2, "two_tasks": 2}
        for name in self.run_ids:
            until(f"the end of {name} in the record", lambda name=name: self._is_recorded(name, expected.get(name, 1)))
        until("the mark in the record", lambda: self.the_try("exiting", "leave").corrected)

    def _is_recorded(self, name: str, number: int) -> bool:
        runs = self.dag_runs(name)
        return len(runs) == number and all(run.frozen_position is not None for run in runs)
