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

    @task.sensor(poke_interval=2, timeout=60, mode="reschedule")
    def poke() -> PokeReturnValue:
        context = get_current_context()
        return PokeReturnValue(is_done=context["task_reschedule_count"] > 0)

    poke()
