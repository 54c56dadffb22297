"""The last log lines of each run, from Prefect's own run loggers: `get_run_logger()` and what Prefect itself says."""

from __future__ import annotations

import logging
from typing import Any, Final
from uuid import UUID

from runvis_core.emit.logring import LogRing

RUN_LOGGERS: Final = ("prefect.flow_runs", "prefect.task_runs")


class RunLogs(logging.Handler):
    """Gives each record to the ring of the run that it names, if that run is of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._rings: dict[str, LogRing] = {}
        for name in RUN_LOGGERS:
            logging.getLogger(name).addHandler(self)

    def begin(self, native_id: UUID) -> None:
        """Keep the lines of this run from now on."""
        self._rings[str(native_id)] = LogRing()

    def end(self, native_id: UUID) -> dict[str, Any]:
        """Return the fields of the run's `LogEvent`, empty when it logged nothing, and forget it."""
        ring = self._rings.pop(str(native_id), None)
        if ring is None or not ring.counts:
            return {}
        return {"counts": dict(ring.counts), "content": {"tail": ring.tail()}}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record. A task's record names its flow run too: the task comes first."""
        native_id = getattr(record, "task_run_id", None) or getattr(record, "flow_run_id", None)
        ring = self._rings.get(str(native_id))
        if ring is not None:
            ring.handle(record)
