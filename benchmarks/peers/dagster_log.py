"""Dagster's event log with run state, in SQLite or PostgreSQL. Answers with events a second.

A life of a run is nine entries: starting, started, three steps that start and succeed, succeeded; one kilobyte each.
"""

import json
import logging
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

from answering import serve
from dagster import AssetMaterialization, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import (
    DagsterEvent,
    DagsterEventBatchMetadata,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.plan.objects import StepSuccessData

JOB = "shop"
# Both are quicker than what Dagster does by default (a file per run; a connection per statement).
SQLITE = """
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {base_dir: %s}
"""
POSTGRESQL = """
storage:
  postgres: {postgres_url: '%s'}
"""


def entry(run_id, kind, message, *, step=None, data=None):
    """Return one entry of a run's log; what it carries rides in its message."""
    event = DagsterEvent(
        event_type_value=kind.value, job_name=JOB, step_key=step, event_specific_data=data, message=message
    )
    return EventLogEntry(
        error_info=None,
        level=logging.DEBUG,
        user_message="",
        run_id=run_id,
        timestamp=time.time(),
        step_key=step,
        job_name=JOB,
        dagster_event=event,
    )


def life(run_id, message):
    """Return the entries of one run."""
    steps = []
    for number in range(3):
        step = f"load_{number}"
        success = StepSuccessData(duration_ms=12.0)
        steps.append(entry(run_id, DagsterEventType.STEP_START, message, step=step))
        steps.append(entry(run_id, DagsterEventType.STEP_SUCCESS, message, step=step, data=success))
    return [
        entry(run_id, DagsterEventType.PIPELINE_STARTING, message),
        entry(run_id, DagsterEventType.PIPELINE_START, message),
        *steps,
        entry(run_id, DagsterEventType.PIPELINE_SUCCESS, message),
    ]


def materializations(run_id, message, count):
    """Return what Dagster writes in one statement: a batch of materializations."""
    return [
        entry(
            run_id,
            DagsterEventType.ASSET_MATERIALIZATION,
            message,
            step="load",
            data=StepMaterializationData(AssetMaterialization(f"table_{number}")),
        )
        for number in range(count)
    ]


def a_run(context):
    """Return a run that has not begun."""
    return DagsterRun(
        job_name=JOB,
        run_id=str(uuid.uuid4()),
        run_config={"ops": {"load": {"config": context}}},
        tags={"commit": context["commit"], "owner": context["owner"]},
        status=DagsterRunStatus.NOT_STARTED,
    )


class Log:
    """One Dagster instance and the ways to write into it."""

    def __init__(self, instance):
        self.instance = instance

    def measure(self, way, contexts):
        """Write a life per context in the way that is asked for."""
        lives = []
        for context in contexts:
            run, message = a_run(context), json.dumps(context)
            if way == "materializations":
                first, second, *_, last = life(run.run_id, message)
                lives.append((run, [first, second], materializations(run.run_id, message, 500), last))
            else:
                lives.append((run, life(run.run_id, message)))
        began = time.perf_counter()
        written = sum(getattr(self, way)(*one) for one in lives)
        seconds = time.perf_counter() - began
        ended = [self.instance.get_run_by_id(one[0].run_id).status for one in lives]
        assert set(ended) == {DagsterRunStatus.SUCCESS}, ended
        return {"figures": [written / seconds]}

    def one_by_one(self, run, entries):
        """Each entry, and the run's state with it: what a Dagster run does."""
        self.instance.add_run(run)
        for one in entries:
            self.instance.handle_new_event(one)
        return len(entries)

    def batch(self, run, entries):
        """All entries of a run in one call, then the run's state once."""
        self.instance.add_run(run)
        self.instance.event_log_storage.store_event_batch(entries)
        self.instance.run_storage.handle_run_event(run.run_id, entries[-1].dagster_event, None)
        return len(entries)

    def materializations(self, run, opening, batch, closing):
        """A run with one large batch of materializations, which Dagster buffers and writes at once."""
        self.instance.add_run(run)
        for one in opening:
            self.instance.handle_new_event(one)
        for number, one in enumerate(batch, 1):
            metadata = DagsterEventBatchMetadata(id=run.run_id, is_end=number == len(batch))
            self.instance.handle_new_event(one, batch_metadata=metadata)
        self.instance.handle_new_event(closing)
        return len(opening) + len(batch) + 1


def main():
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "1000"
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1]
        Path(folder, "dagster.yaml").write_text(SQLITE % folder if url == "sqlite" else POSTGRESQL % url)
        with DagsterInstance.from_config(folder) as instance:
            if url != "sqlite":
                # Keep connections, as its webserver does: the default opens one for each statement.
                instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=20)
            serve(Log(instance).measure, "dagster", "dagster-postgres", "sqlalchemy")


if __name__ == "__main__":
    main()
