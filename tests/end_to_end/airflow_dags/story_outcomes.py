"""One DAG per way in which a task ends by itself."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

SECRET = "hunter2-very-secret"

with DAG(
    "plain",
    schedule=None,
    tags=["story", "plain"],
    default_args={"owner": "ada"},
    params={"region": Param("eu", type="string"), "password": Param("default-pw", type="string")},
    doc_md="The plain case.",
):

    @task
    def extract() -> int:
        print("extracting")
        return 1

    @task
    def load(value: int) -> int:
        import logging

        logging.getLogger("story").warning("loading %s", value)
        return value

    load(extract()) >> EmptyOperator(task_id="done")


with DAG("retrying", schedule=None, tags=["story"]):

    @task(retries=2, retry_delay=timedelta(seconds=1))
    def flaky() -> None:
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("the first try fails")

    flaky()


with DAG("failing", schedule=None, tags=["story"]):

    @task
    def explode() -> None:
        try:
            raise KeyError("inner")
        except KeyError as cause:
            raise RuntimeError(f"cannot log in to postgresql://svc:{SECRET}@db/prod") from cause

    @task
    def after() -> None:
        return

    explode() >> after()


with DAG("branching", schedule=None, tags=["story"]):

    @task.branch
    def choose() -> str:
        return "left"

    @task
    def left() -> None:
        return

    @task
    def right() -> None:
        return

    choose() >> [left(), right()]


with DAG("skipping", schedule=None, tags=["story"]):

    @task
    def skip_itself() -> None:
        raise AirflowSkipException("nothing to do")

    skip_itself()


with DAG("mapped", schedule=None, tags=["story"]):

    @task(map_index_template="item {{ task.op_kwargs['item'] }}")
    def each(item: int) -> int:
        if item == 3:
            raise ValueError("three is bad")
        return item

    each.expand(item=[1, 2, 3])


with DAG("timing_out_task", schedule=None, tags=["story"]):

    @task(execution_timeout=timedelta(seconds=1))
    def slow() -> None:
        time.sleep(30)

    slow()


with DAG("timing_out_run", schedule=None, tags=["story"], dagrun_timeout=timedelta(seconds=12)):

    @task
    def too_long() -> None:
        time.sleep(60)

    @task
    def never() -> None:
        return

    too_long() >> never()
