"""A task and its flow fail; the error's text holds a password that must not reach the record."""

from __future__ import annotations

from prefect import flow, task
from recording import FLOW, TASK


@task(**TASK)
def load(url: str) -> None:
    raise ValueError(f"cannot load {url}")


@task(timeout_seconds=1, **TASK)
def sleep_long() -> None:
    import time

    for _ in range(100):
        time.sleep(0.1)


@flow(**FLOW)
def broken() -> None:
    slow = sleep_long.submit()
    slow.wait()
    load("postgresql://loader:hunter2@db/orders")


if __name__ == "__main__":
    try:
        broken()
    except ValueError:
        raise SystemExit(3) from None
