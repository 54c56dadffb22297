"""A DAG whose second task the test takes away."""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task
from story_support import wait_until_released

with DAG("shrinking", schedule=None, tags=["story"]):

    @task
    def stays() -> None:
        wait_until_released(get_current_context())

    first = stays()

    @task
    def goes() -> None:
        return

    first >> goes()  # the test removes this task
