"""The demo's Airflow side: a shop takes orders, sends invoices, reports sales, and fails to pay back a return."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, get_current_context, task

log = logging.getLogger(__name__)

RAW_ORDERS = Asset(name="raw_orders", uri="s3://shop/raw/orders")
SALES = Asset(name="sales", uri="s3://shop/sales")

with DAG("orders", schedule=None, tags=["shop"], default_args={"owner": "sales"}):

    @task(retries=2, retry_delay=timedelta(seconds=1), inlets=[RAW_ORDERS])
    def fetch() -> list[int]:
        """Fails once: the warehouse is slow in the morning."""
        if get_current_context()["ti"].try_number == 1:
            raise ConnectionError("the warehouse did not answer")
        return [3, 1, 2]

    @task
    def price(order: int) -> int:
        """Mapped: one attempt for each order."""
        log.warning("order %s has no price list, taking last year's", order)
        return 10 * order

    @task.branch
    def choose(prices: list[int]) -> str:
        """Takes one branch and skips the other."""
        return "ship" if sum(prices) > 0 else "cancel"

    @task(outlets=[SALES])
    def ship() -> None:
        """Updates the sales, on which the report waits."""

    @task
    def cancel() -> None:
        """Skipped: there is something to ship."""

    prices = price.expand(order=fetch())
    shipped = ship()
    choose(prices) >> [shipped, cancel()]
    shipped >> TriggerDagRunOperator(task_id="send_invoice", trigger_dag_id="invoice", conf={"currency": "EUR"})

with DAG("invoice", schedule=None, tags=["shop"], default_args={"owner": "finance"}):

    @task
    def write_invoice() -> None:
        """Started by `orders`."""

    write_invoice()

with DAG("report", schedule=[SALES], tags=["shop"], default_args={"owner": "sales"}):

    @task(inlets=[SALES])
    def summarise() -> None:
        """Started by the sales that `orders` updated."""

    summarise()

with DAG("returns", schedule=None, tags=["shop"], default_args={"owner": "finance"}):

    @task
    def pay_back() -> None:
        """Fails, with a password in its message that must not reach the record."""
        raise ValueError("order 4 was never paid: nothing to pay back at postgresql://shop:hunter2@db/orders")

    @task
    def notify() -> None:
        """Never runs: what is upstream of it failed."""

    pay_back() >> notify()
