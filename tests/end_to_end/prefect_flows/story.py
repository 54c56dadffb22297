"""Flows without a deployment, one after the other in one process."""

from __future__ import annotations

import threading
import time

from cached import prices
from failure import broken
from mapped import squares
from prefect import flow, get_client, task
from prefect.artifacts import create_markdown_artifact
from prefect.assets import materialize
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import pause_flow_run
from prefect.runtime import flow_run
from prefect.transactions import transaction
from recording import FLOW, TASK
from retry import fail_first, failures, stubborn
from subflow import outer


@materialize("s3://lake/raw")
def raw() -> dict[str, int]:
    return {"rows": 1}


@materialize("s3://lake/clean", by="dbt")
def clean(rows: dict[str, int]) -> dict[str, int]:
    return rows


@flow(**FLOW)
def assets() -> None:
    clean(raw())
    create_markdown_artifact("# Rows", key="report")


@task(**TASK)
def undone() -> dict[str, int]:
    return {"rows": 1}


@undone.on_rollback
def undo(_transaction) -> None:
    """Prefect names a task rolled back only if it knows how to roll it back."""


@flow(**FLOW)
def rolled_back() -> None:
    with transaction():
        undone()
        raise ValueError("after it was done")


def resume_when_paused(native_id: str) -> None:
    with get_client(sync_client=True) as client:
        while client.read_flow_run(native_id).state.type is not StateType.PAUSED:
            time.sleep(0.1)
        client.resume_flow_run(native_id)


@task(**TASK)
def after_the_pause() -> None:
    """Shows that the run went on."""


@flow(**FLOW)
def paused() -> None:
    threading.Thread(target=resume_when_paused, args=(flow_run.id,)).start()
    pause_flow_run(timeout=120, poll_interval=1)
    after_the_pause()


@flow(**FLOW)
def within() -> None:
    """A subflow of the second attempt alone."""


@flow(retries=1, **FLOW)
def paused_and_retried() -> None:
    if not failures.setdefault("after the pause", 0):
        threading.Thread(target=resume_when_paused, args=(flow_run.id,)).start()
        pause_flow_run(timeout=120, poll_interval=1)
        after_the_pause()
        fail_first("after the pause")
    after_the_pause()
    within()


if __name__ == "__main__":
    for run in (stubborn, outer, prices, squares, broken, assets, rolled_back, paused_and_retried, paused):
        try:
            run()
        except Exception as error:  # noqa: BLE001 - flows fail with what they like
            print(f"{run.name} failed: {error}")
