"""Attempts that fail and then succeed: a task at once, a task after a delay, and a whole flow after a delay."""

from __future__ import annotations

from prefect import flow, task
from recording import FLOW, TASK

failures: dict[str, int] = {}


def fail_first(name: str, times: int = 1) -> None:
    failures[name] = failures.get(name, 0) + 1
    if failures[name] <= times:
        raise ConnectionError(f"{name} refused, attempt {failures[name]}")


@task(retries=2, **TASK)
def at_once() -> str:
    fail_first("at_once", times=2)
    return "at once"


@task(retries=1, retry_delay_seconds=1, **TASK)
def after_a_delay() -> str:
    fail_first("after_a_delay")
    return "after a delay"


@flow(retries=1, retry_delay_seconds=1, **FLOW)
def stubborn() -> list[str]:
    results = [at_once(), after_a_delay()]
    fail_first("stubborn")
    return results


if __name__ == "__main__":
    stubborn()
