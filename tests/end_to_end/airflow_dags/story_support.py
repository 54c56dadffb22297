"""What the story's tasks share: a file that tells the test which process runs a task."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def mark(context: Any) -> None:
    """Write this process's pid where the test looks for it."""
    instance = context["ti"]
    folder = Path(os.environ["AIRFLOW_HOME"]) / "markers"
    folder.mkdir(exist_ok=True)
    name = f"{instance.dag_id}.{instance.run_id}.{instance.task_id}".replace("/", "_")
    partial = folder / f"{name}.{os.getpid()}"
    partial.write_text(str(os.getpid()))
    partial.rename(folder / name)


def wait_first_try(context: Any, seconds: float = 60) -> None:
    """Hold the first try until the test interferes; later tries return at once."""
    mark(context)
    if context["ti"].try_number == 1:
        time.sleep(seconds)
