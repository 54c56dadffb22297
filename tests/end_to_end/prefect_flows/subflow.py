"""A flow that calls another flow."""

from __future__ import annotations

from prefect import flow, task
from recording import FLOW, TASK


@task(**TASK)
def greet(name: str) -> str:
    return f"hello {name}"


@flow(**FLOW)
def inner(name: str) -> str:
    return greet(name)


@flow(**FLOW)
def outer() -> str:
    return inner("world")


if __name__ == "__main__":
    outer()
