"""A flow whose task waits until the process is told to end; READY_FILE says when that may happen."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow, task
from recording import FLOW, TASK


@task(**TASK)
def wait_for_signal() -> None:
    Path(os.environ["READY_FILE"]).touch()
    for _ in range(600):
        time.sleep(0.1)


@flow(**FLOW)
def waiting() -> None:
    wait_for_signal()


if __name__ == "__main__":
    waiting()
