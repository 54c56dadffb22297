"""A DAG whose second task the test takes away."""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task
from story_support import wait_first_try

with DAG("shrinking", schedule=None, tags=["story"]):

    @task
    def stays() -> None:
        wait_first_try(get_current_context(), 12)

    first = stays()

    @task
    def goes() -> None:
        return

    first >> goes()  # the test removes this task
