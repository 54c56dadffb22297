"""The demo's Prefect side: a forecast of next week's sales, whose model server answers at the second try."""

from __future__ import annotations

from prefect import flow, get_run_logger, tags, task

import runvis_prefect
from runvis_core import current_run

runvis_prefect.install()

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


@flow
def forecast(days: int = 3) -> int:
    """Says what it made: a number and a dataset."""
    predicted = predict.map(fit(days)).result()
    total = summarise(predicted)
    current_run().metric("forecast_total", total)
    current_run().writes("s3://shop/forecast")
    return total


if __name__ == "__main__":
    with tags("shop"):
        forecast()
