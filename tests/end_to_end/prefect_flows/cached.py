"""The second call of a task is answered from its cache."""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import INPUTS
from recording import FLOW, TASK


@task(cache_policy=INPUTS, persist_result=True, **TASK)
def price(item: str) -> int:
    return len(item)


@flow(**FLOW)
def prices() -> int:
    return price("tea") + price("tea")


if __name__ == "__main__":
    prices()
