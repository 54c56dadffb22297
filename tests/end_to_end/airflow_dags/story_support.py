"""What the story's tasks share: a file that tells the test which process runs a task."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def mark(context: Any) -> Path:
    """Write this process's pid where the test looks for it, and return that file."""
    instance = context["ti"]
    folder = Path(os.environ["AIRFLOW_HOME"]) / "markers"
    folder.mkdir(exist_ok=True)
    name = f"{instance.dag_id}.{instance.run_id}.{instance.task_id}".replace("/", "_")
    partial = folder / f"{name}.{os.getpid()}"
    partial.write_text(str(os.getpid()))
    return partial.rename(folder / name)


def wait_until_released(context: Any, seconds: float = 300) -> None:
    """Hold until the test takes the marker away."""
    marker = mark(context)
    deadline = time.monotonic() + seconds
    while marker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def wait_first_try(context: Any, seconds: float = 300) -> None:
    """Hold the first try until the test interferes; later tries return at once."""
    mark(context)
    if context["ti"].try_number == 1:
        time.sleep(seconds)
