"""Runs that cause runs: a triggered child, and an asset with its producer and consumer."""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, Metadata, task

ORDERS = Asset(name="orders", uri="s3://lake/orders", extra={"team": "sales"})
RAW = Asset(name="raw_orders", uri="s3://lake/raw_orders")

with DAG("parent", schedule=None, tags=["story"]):
    TriggerDagRunOperator(task_id="call", trigger_dag_id="child", conf={"from": "parent"})

with DAG("child", schedule=None, tags=["story"]):

    @task
    def work() -> None:
        return

    work()

with DAG("producer", schedule=None, tags=["story"]):

    @task(inlets=[RAW], outlets=[ORDERS])
    def produce():
        yield Metadata(ORDERS, {"rows": 42})

    produce()

with DAG("consumer", schedule=[ORDERS], tags=["story"]):

    @task(inlets=[ORDERS])
    def consume() -> None:
        return

    consume()
