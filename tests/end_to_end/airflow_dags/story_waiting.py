"""Tasks that give their worker back: a deferral and a rescheduled sensor."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, get_current_context, task
from airflow.sdk.bases.sensor import PokeReturnValue


class WaitForTime(BaseOperator):
    """Defers for two seconds, then ends."""

    def execute(self, context: Any) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=2)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> str:
        return "resumed"


with DAG("deferring", schedule=None, tags=["story"]):
    WaitForTime(task_id="wait")


with DAG("rescheduling", schedule=None, tags=["story"]):
    # Longer than a scheduler takes to hear of the pause: a task that is queued again before that is failed by Airflow.
    @task.sensor(poke_interval=8, timeout=120, mode="reschedule")
    def poke() -> PokeReturnValue:
        context = get_current_context()
        return PokeReturnValue(is_done=context["task_reschedule_count"] > 0)

    poke()
