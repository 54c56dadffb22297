"""Tasks that hold still until the test, as a person or a fault, interferes."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task
from story_support import mark, wait_first_try, wait_until_released

with DAG("killed", schedule=None, tags=["story"]):

    @task
    def victim() -> None:
        wait_first_try(get_current_context())

    victim()

with DAG("killed_retrying", schedule=None, tags=["story"]):

    @task(task_id="victim", retries=1, retry_delay=timedelta(seconds=1))
    def retried_victim() -> None:
        wait_first_try(get_current_context())

    retried_victim()

with DAG("exiting", schedule=None, tags=["story"]):

    @task
    def leave() -> None:
        os._exit(3)

    leave()

with DAG("marked", schedule=None, tags=["story"]):

    @task
    def held() -> None:
        wait_first_try(get_current_context())

    @task
    def pending() -> None:
        return

    held() >> pending()

with DAG("cleared_running", schedule=None, tags=["story"]):

    @task
    def restarted() -> None:
        wait_first_try(get_current_context())

    @task
    def sibling() -> None:
        mark(get_current_context())
        time.sleep(8)

    restarted()
    sibling()

with DAG("many", schedule=None, tags=["story"], max_active_tasks=8):

    @task
    def first() -> None:
        return

    @task
    def member(number: int) -> int:
        return number

    first() >> member.expand(number=[0, 1, 2, 3])

with DAG("two_tasks", schedule=None, tags=["story"]):

    @task
    def one() -> None:
        return

    @task
    def two() -> None:
        return

    one() >> two()

with DAG("limited", schedule=None, tags=["story"], max_active_runs=1):

    @task
    def busy() -> None:
        wait_until_released(get_current_context())

    busy()

with DAG("lasting", schedule=None, tags=["story"]):

    @task
    def lasts() -> None:
        wait_until_released(get_current_context())

    lasts()
