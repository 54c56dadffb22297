"""A flow of two tasks that succeeds, with parameters and tags."""

from __future__ import annotations

import logging

from prefect import flow, tags, task
from recording import FLOW, TASK


@task(**TASK, tags=["extract"])
def fetch(count: int) -> list[int]:
    logging.getLogger("prefect.task_runs").warning("only a sample of %s", count)
    return list(range(count))


@task(**TASK)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@flow(name="orders", version="7", **FLOW)
def orders(count: int, region: str = "north") -> int:
    return total(fetch(count))


if __name__ == "__main__":
    with tags("nightly"):
        orders(3)
