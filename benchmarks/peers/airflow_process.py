"""What the peers that run an Airflow task share: a process that is a scheduler's, and the end of the task's process.

The process that forks is a scheduler's by what it has imported and told its listeners, as with LocalExecutor.
"""

import atexit
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

from airflow.jobs.job import Job
from airflow.listeners.listener import get_listener_manager
from airflow.sdk.execution_time import task_runner
from answering import serve

# What a scheduler has imported before it forks, and so its tasks have, too.
for module in ("airflow.jobs.scheduler_job_runner", "airflow.providers.standard.decorators.python"):
    importlib.import_module(module)


class Stopwatch:
    """Measures until the last exit handler of a task's process; the clock is the machine's."""

    def __init__(self, folder, *, from_the_fork):
        """`from_the_fork`: whether time begins with the task's process, else with `begin` in the one that forks it."""
        self._marks = Path(folder, "milliseconds")
        self._from_the_fork = from_the_fork
        self._began = 0.0
        self._main = task_runner.main
        # The task process is a fork: it calls what stands here.
        task_runner.main = self._timed_main

    def begin(self):
        """Forget the last task, and take the time."""
        self._marks.unlink(missing_ok=True)
        self._began = time.perf_counter()

    def milliseconds(self):
        """Return how long it took; the task's process has ended."""
        return float(self._marks.read_text())

    def _timed_main(self):
        if self._from_the_fork:
            self._began = time.perf_counter()
        # Handlers run last in, first out: this one after all that a listener registers.
        atexit.register(lambda: self._marks.write_text(str((time.perf_counter() - self._began) * 1000)))
        self._main()


def run(make_tasks):
    """Answer with what `make_tasks(folder)` measures.

    The script's argument `plain` takes RunVis's listener away again, `listening` leaves those that are installed.
    """
    listeners = sys.argv[1]
    # What a listener tells a scheduler by.
    sys.argv = ["airflow", "scheduler"]
    if listeners == "plain":
        from runvis_airflow.plugin import RunVisPlugin

        RunVisPlugin.listeners = []
    manager = get_listener_manager()
    # A scheduler tells its listeners that it begins, before it forks anything.
    Job()
    assert bool(manager.pm.get_plugins()) == (listeners == "listening"), manager.pm.get_plugins()
    measured = ["apache-airflow"]
    if "OPENLINEAGE" in "".join(os.environ):
        measured += ["apache-airflow-providers-openlineage", "openlineage-python"]
    with tempfile.TemporaryDirectory() as folder:
        serve(make_tasks(folder).measure, *measured)
