"""What happens in each hook: read what it hands over, translate it, and leave it to this process's recorder.

One `Capture` serves a process, and a forked child goes on with the copy that it inherits.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from runvis_airflow import compat, translate
from runvis_airflow.identity import ENGINE
from runvis_airflow.rows import Source
from runvis_core.emit.current import clear_current, set_current
from runvis_core.emit.logring import LogRing
from runvis_core.emit.notice import never_raises
from runvis_core.emit.process import prepare_for_forks, process_recorder
from runvis_core.emit.recorder import TASK, Recorder
from runvis_core.model.event import EventBase
from runvis_core.model.state import Witness
from runvis_core.worker_settings import load_worker_settings

HEARTBEAT_SECONDS: Final = 30.0
"""How often a running task says that it is alive."""
REMEMBERED: Final = 10_000
"""How much a process remembers of what it has told, so that it need not say it again."""


def _now() -> datetime:
    return datetime.now(UTC)


class Remembered:
    """A set that forgets its oldest members."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._members: OrderedDict[Hashable, None] = OrderedDict()

    def add(self, member: Hashable) -> bool:
        """Add a member and say whether it is new."""
        is_new = member not in self._members
        self._members[member] = None
        self._members.move_to_end(member)
        if len(self._members) > self._size:
            self._members.popitem(last=False)
        return is_new


class RunningTask:
    """The task that this process runs: its log's last lines, and its signs of life until it ends."""

    def __init__(self, task_instance: Any, run_id: UUID, recorder: Recorder) -> None:
        self.task_instance = task_instance
        self.run_id = run_id
        self.recorder = recorder
        self.ring = LogRing()
        self.is_over = False

    def begin(self) -> None:
        """Listen to the log, and begin to show signs of life."""
        logging.getLogger().addHandler(self.ring)
        correlation_id = translate.task_correlation(self.task_instance)
        set_current(self.run_id, self.recorder, find_correlation=lambda: correlation_id)
        # A task that ends before the first interval is over needs no sign of life.
        self.recorder.show_life(self.run_id, interval_seconds=HEARTBEAT_SECONDS)

    def end(self) -> None:
        """Stop both."""
        self.recorder.end_life(self.run_id)
        logging.getLogger().removeHandler(self.ring)
        clear_current()


class Capture:
    """The hooks' work in one process. No method raises, and none waits for a network but within the flush budget."""

    def __init__(self) -> None:
        self.failures = 0
        self._component: str | None = None
        self._task: RunningTask | None = None
        self._recorders: dict[Witness, Recorder] = {}
        self._announced = Remembered(REMEMBERED)
        self._defined = Remembered(REMEMBERED)
        self._broken_files = Remembered(REMEMBERED)

    def count_failure(self) -> None:
        """Count a hook that could not be recorded."""
        self.failures += 1

    # --- the life of a process ---

    @never_raises(otherwise=None)
    def starting(self, component: Any) -> None:
        """Learn what kind of process this is; a task's process is a fork of another kind, which knew too."""
        self._component = TASK if compat.is_task_process(component) else compat.command()
        self._task = None
        self._recorders.clear()
        if self._component == "scheduler":
            # Its executor may fork, and the tasks begin with what is there.
            prepare_for_forks(self._open(Witness.WORKER, TASK))
            compat.load_task_listeners()

    @never_raises(otherwise=None)
    def stopping(self, component: Any) -> None:
        """Tell of a task that pauses, and hand over what is undelivered while the process still lives."""
        if not compat.is_task_process(component):
            for recorder in self._recorders.values():
                recorder.close()
            return
        task, self._task = self._task, None
        recorder = self._recorder(Witness.WORKER)
        if task is not None:
            task.end()
            if not task.is_over:
                recorder.record(translate.task_paused(task.task_instance, self._source(recorder), now=_now()))
        if self._component == TASK:
            recorder.close()
        else:
            # `airflow dags test` runs every task in one process.
            recorder.flush()

    # --- tasks ---

    @never_raises(otherwise=None)
    def task_running(self, ti: Any) -> None:
        """Record the start of a task, or of its next segment."""
        recorder = self._recorder(Witness.WORKER)
        if recorder.is_dormant:
            return
        source = self._source(recorder)
        recorder.speak_for(compat.team(ti))
        recorder.mask(compat.secret_values())
        recorder.record(
            translate.task_running(
                ti, source, now=_now(), environment=self._environment(), parameters=compat.parameters(ti)
            )
        )
        self._task = RunningTask(ti, translate.task_key(ti).uuid(source.deployment), recorder)
        self._task.begin()

    @never_raises(otherwise=None)
    def task_succeeded(self, ti: Any) -> None:
        """Record the good end of a task."""
        if not compat.is_runtime_task_instance(ti):
            self._task_marked(ti)
            return
        recorder = self._ending()
        if not recorder.is_dormant:
            said = translate.task_succeeded(
                ti,
                self._source(recorder),
                now=_now(),
                environment=self._environment(),
                outlet_events=compat.outlet_events(ti) if ti.task.outlets else None,
            )
            recorder.record(said)

    @never_raises(otherwise=None)
    def task_failed(self, previous_state: Any, ti: Any, error: object) -> None:
        """Record a failure: of the task's code, of its worker, or by a person's decision."""
        if compat.is_runtime_task_instance(ti):
            recorder = self._ending()
            if not recorder.is_dormant:
                source = self._source(recorder)
                recorder.record(translate.task_failed(ti, source, error, now=_now(), environment=self._environment()))
        elif previous_state is None:
            self._task_marked(ti)
        else:
            recorder = self._recorder(Witness.SCHEDULER)
            said = translate.task_lost(ti, self._source(recorder), error, now=_now())
            self._record_after_commit(recorder, ti, said)

    @never_raises(otherwise=None)
    def task_skipped(self, ti: Any) -> None:
        """Record that a task skipped itself."""
        if not compat.is_runtime_task_instance(ti):
            self._task_marked(ti)
            return
        recorder = self._ending()
        if not recorder.is_dormant:
            source = self._source(recorder)
            recorder.record(translate.task_skipped(ti, source, now=_now(), environment=self._environment()))

    def _task_marked(self, ti: Any) -> None:
        recorder = self._recorder(Witness.SCHEDULER)
        self._record_after_commit(recorder, ti, translate.task_marked(ti, self._source(recorder), now=_now()))

    def _ending(self) -> Recorder:
        """Return the recorder of a task that has ended, with the last lines of its log told."""
        recorder = self._recorder(Witness.WORKER)
        if self._task is not None and not recorder.is_dormant:
            self._task.is_over = True
            # What the task learnt meanwhile must not be told either.
            recorder.mask(compat.secret_values())
            ti = self._task.task_instance
            log = self._task.ring.event(
                run_id=self._task.run_id,
                engine=ENGINE,
                deployment=recorder.deployment,
                witness=Witness.WORKER,
                occurred_at=_now(),
                url=ti.log_url,
            )
            recorder.record([log])
        return recorder

    # --- DAG runs ---

    @never_raises(otherwise=None)
    def dag_run_running(self, dag_run: Any) -> None:
        """Record that the scheduler started a DAG run, and once per version what the DAG looks like."""
        from runvis_airflow import scan
        from runvis_airflow.commit import after_commit

        recorder = self._recorder(Witness.SCHEDULER)
        if recorder.is_dormant:
            return
        view, source = scan.read_dag_run(dag_run), self._source(recorder)
        url = compat.dag_run_url(view.dag_id, view.run_id)
        events = list(translate.dag_run_running(view, source, native_url=url))
        events += self._definition(view, source)
        run_id = translate.dag_run_key(view).uuid(source.deployment)

        def tell() -> None:
            self._announced.add(run_id)
            recorder.record(events)

        after_commit(dag_run, tell)

    @never_raises(otherwise=None)
    def dag_run_ended(self, dag_run: Any, msg: str) -> None:
        """Record the end of a DAG run, with what the books say of its tasks."""
        from runvis_airflow import scan
        from runvis_airflow.commit import after_commit

        recorder = self._recorder(Witness.SCHEDULER)
        if recorder.is_dormant:
            return
        view, source, found = scan.read_dag_run(dag_run), self._source(recorder), scan.scan_tasks(dag_run)
        url = compat.dag_run_url(view.dag_id, view.run_id)
        announced = not self._announced.add(translate.dag_run_key(view).uuid(source.deployment))
        now = _now()
        events = list(translate.dag_run_ended(view, msg, source, native_url=url, now=now, announced=announced))
        events += self._definition(view, source)
        events += translate.dag_run_tasks(
            view, found.rows, source, now=now, timed_out=msg == translate.TIMED_OUT_MESSAGE, is_cut=found.is_cut
        )
        after_commit(dag_run, lambda: recorder.record(events))

    def _definition(self, view: Any, source: Source) -> list[EventBase]:
        if not self._defined.add((view.dag_id, view.created_dag_version_id)):
            return []
        return list(translate.dag_definition(view, source, at=_now()))

    def _record_after_commit(self, recorder: Recorder, orm_object: Any, said: Iterable[EventBase]) -> None:
        """Record what is said of a row of the metadata database, read now, once the database holds it."""
        from runvis_airflow.commit import after_commit

        if not recorder.is_dormant:
            events = list(said)
            after_commit(orm_object, lambda: recorder.record(events))

    # --- assets and files ---

    @never_raises(otherwise=None)
    def asset_declared(self, asset: Any) -> None:
        """Record that a DAG declares an asset, or that somebody outside of a task says it changed."""
        recorder = self._recorder(Witness.SCHEDULER)
        if not recorder.is_dormant:
            recorder.record(translate.asset_declared(asset, self._source(recorder), now=_now()))

    @never_raises(otherwise=None)
    def import_error(self, filename: str, stacktrace: str) -> None:
        """Record that a DAG file can't be imported: once, and not at every parse."""
        recorder = self._recorder(Witness.SCHEDULER)
        if recorder.is_dormant:
            return
        if self._broken_files.add(translate.import_error_fingerprint(filename, stacktrace)):
            recorder.record(translate.import_error(filename, stacktrace, self._source(recorder), now=_now()))

    # ---

    def _recorder(self, witness: Witness) -> Recorder:
        recorder = self._recorders.get(witness)
        if recorder is None:
            recorder = self._recorders[witness] = self._open(witness, self._component or compat.command())
        return recorder

    def _open(self, witness: Witness, component: str) -> Recorder:
        return process_recorder(
            engine=ENGINE,
            component=component,
            witness=witness,
            versions=compat.versions(),
            # A task's process leaves the spools of dead ones to those that live as long as the engine.
            adopts=component not in (TASK, "dags-test"),
            load_settings=lambda: load_worker_settings(**compat.settings_overrides()),
        )

    def _source(self, recorder: Recorder) -> Source:
        return Source(recorder.deployment, recorder.witness)

    def _environment(self) -> dict[str, Any]:
        return {"pid": os.getpid(), **compat.versions()}
