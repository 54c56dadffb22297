"""The demo's Prefect side: a forecast of next week's sales, which materializes an asset and has Airflow restock.

Served as the deployment `forecast/shop`. Its model server answers at the second try.
"""

from __future__ import annotations

import httpx
from prefect import flow, get_run_logger, task
from prefect.assets import materialize

import runvis_prefect
from runvis_core import current_run
from runvis_core.context import carry_in_conf

runvis_prefect.install()

FORECAST = "s3://shop/forecast"
tries = {"fit": 0}


@task(retries=2, retry_delay_seconds=1)
def fit(days: int) -> list[int]:
    """Fails once, and is tried again."""
    tries["fit"] += 1
    if tries["fit"] == 1:
        raise TimeoutError("the model server did not answer")
    return list(range(days))


@task
def predict(day: int) -> int:
    """Mapped: one run for each day."""
    get_run_logger().warning("day %s is a guess", day)
    return 100 + day


@flow
def summarise(sales: list[int]) -> int:
    """A flow inside of a flow."""
    return sum(sales)


@materialize(FORECAST)
def publish(total: int) -> int:
    """Writes the dataset from which Airflow restocks."""
    current_run().writes(FORECAST)
    return total


@task
def restock(airflow: str, turn: int) -> None:
    """Starts the DAG again, and hands on to it that it was this task."""
    with httpx.Client(base_url=airflow, timeout=30, trust_env=False) as client:
        token = client.get("/auth/token").raise_for_status().json()["access_token"]
        asked = {"logical_date": None, "conf": carry_in_conf({"turn": turn})}
        started = client.post("/api/v2/dags/restock/dagRuns", json=asked, headers={"Authorization": f"Bearer {token}"})
        started.raise_for_status()


@flow
def forecast(turn: int, airflow: str, days: int = 3) -> int:
    """Says what it made, a number and a dataset, and has Airflow restock."""
    predicted = predict.map(fit(days)).result()
    total = publish(summarise(predicted))
    current_run().metric("forecast_total", total)
    restock(airflow, turn)
    return total


if __name__ == "__main__":
    forecast.serve(name="shop", tags=["shop"], pause_on_shutdown=False)
