"""A task mapped over three values, in threads."""

from __future__ import annotations

from prefect import flow, task
from recording import FLOW, TASK


@task(**TASK)
def square(number: int) -> int:
    return number * number


@flow(**FLOW)
def squares() -> list[int]:
    return square.map([1, 2, 3]).result()


if __name__ == "__main__":
    squares()
