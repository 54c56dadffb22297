"""The demo's Airflow side: a shop takes orders, sends invoices, reports sales, and pays back one of two returns.

And it restocks by a forecast that Prefect makes, which has it restock again: a loop through both engines.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta

import httpx
from airflow.configuration import conf
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from runvis_core.context import carry_in_labels

log = logging.getLogger(__name__)

RAW_ORDERS = Asset(name="raw_orders", uri="s3://shop/raw/orders")
SALES = Asset(name="sales", uri="s3://shop/sales")
FORECAST = Asset(name="forecast", uri="s3://shop/forecast")
TURNS = 2
"""How often the loop of restocking and forecasts goes round."""

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
        """Pays order 3 back; fails at order 4, with a password in its message that must not reach the record."""
        order = int((get_current_context()["dag_run"].conf or {}).get("order", 4))
        if order == 4:
            raise ValueError("order 4 was never paid: nothing to pay back at postgresql://shop:hunter2@db/orders")

    @task
    def notify() -> None:
        """Does not run when what is upstream of it failed."""

    pay_back() >> notify()

with DAG("restock", schedule=None, tags=["shop"], default_args={"owner": "warehouse"}):

    @task(inlets=[FORECAST])
    def read_forecast() -> int:
        """Says in which turn of the loop it is."""
        return int((get_current_context()["dag_run"].conf or {}).get("turn", 0))

    @task
    def ask_for_forecast(turn: int) -> None:
        """Starts a Prefect deployment, and hands on to it that it was this task."""
        if turn >= TURNS:
            raise AirflowSkipException(f"{TURNS} turns are enough")
        api = os.environ["SHOP_PREFECT_API"]
        deployment = httpx.get(f"{api}/deployments/name/forecast/shop", trust_env=False).raise_for_status().json()
        asked = {
            "parameters": {"turn": turn + 1, "airflow": conf.get("api", "base_url")},
            "labels": carry_in_labels(),
        }
        started = httpx.post(f"{api}/deployments/{deployment['id']}/create_flow_run", json=asked, trust_env=False)
        started.raise_for_status()

    ask_for_forecast(read_forecast())
