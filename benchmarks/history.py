"""A long history of a middling company's engines, as adapters tell it: what a large store is made of.

Two engines and a CI system run some two hundred definitions for a hundred days: DAGs with tasks that fail and are
tried again, flows with subflows that DAGs start, single jobs. Among them are the runs that nobody expects: one with a
thousand mapped tasks, a definition with thousands of tasks, flows inside of one another fifty deep, a run with very
many events. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runvis_core.model.encoding import SealedEvent, seal
from runvis_core.model.event import (
    ContextEvent,
    DatasetEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LogEvent,
    MetricEvent,
    ProducerClosedEvent,
    ProducerOpenedEvent,
    SnapshotEvent,
    StateEvent,
    Trigger,
    parse_event,
)
from runvis_core.model.identity import definition_version_id, named_id, run_id
from runvis_core.model.state import State, TriggerKind, Witness

DAYS: Final = 100
UNTIL: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAGS, FLOWS, JOBS = 20, 10, 5
TASKS: Final = 8
WIDE: Final = "wide.load"
FLEET: Final = "fleet"
DEEP: Final = "nested_0"
CHATTY: Final = "ci.chatty"
LEVELS: Final = 50
VERSION: Final = "1"

_ERRORS: Final = (
    ("ValueError", "upstream returned {} rows"),
    ("builtins.TimeoutError", "warehouse did not answer in {} s"),
    ("psycopg.errors.DeadlockDetected", "deadlock detected by process {}"),
    ("airflow.exceptions.AirflowException", "no partition for batch {}"),
)


class _Where(NamedTuple):
    """An installation of an engine."""

    engine: str
    deployment: str


_AIRFLOW: Final = (_Where("airflow", "prod"), _Where("airflow", "staging"))
_PREFECT: Final = _Where("prefect", "lake")
_CI: Final = _Where("ci", "main")


class _Run(NamedTuple):
    """One attempt that is being told of."""

    run_id: UUID
    where: _Where
    definition: str
    kind: str
    native_key: str
    attempt: int = 1
    parent: UUID | None = None


Family = list[SealedEvent]
"""All that is told of a run and of everything inside it, in the order in which it happened."""


class History:
    """What happened, family by family in the order of time; the same for the same number of runs, end and seed."""

    def __init__(self, runs: int, *, until: datetime = UNTIL, seed: int = 1) -> None:
        self.runs = runs
        self.until = until
        self.fleet = min(20_000, runs // 10)
        """How many tasks the definition with many tasks has."""
        self.wide = min(1_000, runs // 10)
        """How many mapped tasks the run with many tasks has."""
        self.events = min(100_000, runs)
        """How many events the run with many events has."""
        self.live: list[UUID] = []
        """The runs told of so far that have not ended."""
        self._chance = Random(seed)
        self._told = 0
        self._open = max(3, runs // 2000)
        self._defined: set[tuple[_Where, str]] = set()
        self._family: list[EventBase] = []
        self._tasks: dict[str, UUID] = {}
        self._producer: UUID | None = None
        self._sequence = 0

    def families(self) -> Iterator[Family]:
        """Yield all families, until as many runs were told of as were asked for."""
        begins = self.until - timedelta(days=DAYS)
        number = 0
        special = {3: self._tell_wide, 5: self._tell_fleet, 7: self._tell_deep, 9: self._tell_chatty}
        while self._told < self.runs:
            begun = begins + timedelta(days=DAYS) * (self._told / self.runs)
            tell = special.get(number) or self._any(number)
            tell(number, begun)
            yield self._sealed()
            number += 1

    def _any(self, number: int) -> Any:
        return (self._tell_dag, self._tell_dag, self._tell_flow, self._tell_job)[number % 4]

    # Families

    def _tell_dag(self, number: int, begun: datetime) -> None:
        where = _AIRFLOW[number % 7 == 0]
        dag = f"shop_{self._chance.randrange(DAGS)}"
        self._define(where, dag, "dag", [f"load_{index}" for index in range(TASKS)], begun)
        logical = f"scheduled__{begun.isoformat()}"
        root = self._run(where, dag, "dag", f"{dag}/{logical}/{number}")
        self._begin(root, begun, TriggerKind.SCHEDULE)
        self._describe(root, begun, number)
        failed = False
        at = begun
        for index in range(TASKS):
            at += timedelta(seconds=self._chance.randrange(1, 90))
            failed |= self._tell_task(root, f"{dag}.load_{index}", f"{root.native_key}/load_{index}", at, index)
        self._end(root, at + timedelta(seconds=60), State.FAILED if failed else State.SUCCEEDED)

    def _tell_task(self, root: _Run, definition: str, key: str, at: datetime, index: int) -> bool:
        """Tell of a task and its attempts; return whether it failed."""
        chance = self._chance.random
        for attempt in (1, 2):
            run = self._run(root.where, definition, "task", key, attempt=attempt, parent=root.run_id)
            if index == 0:
                self._tasks[root.definition] = run.run_id
                queued = {"queued_at": at - timedelta(seconds=5), "state": State.QUEUED, "native_state": "queued"}
                self._say(SnapshotEvent, run, at, witness=Witness.SCHEDULER, **queued)
            self._begin(run, at, None)
            if index in (0, TASKS - 1):
                self._use_dataset(run, at, "read" if index == 0 else "write")
            ends = at + timedelta(seconds=self._chance.randrange(2, 600))
            if chance() > 0.04:
                state = State.SUCCEEDED if chance() > 0.01 else State.CANCELLED
                self._end(run, ends, state)
                return False
            self._fail(run, ends)
            at = ends + timedelta(seconds=30)
            if chance() < 0.3:
                return True
        return True

    def _tell_flow(self, number: int, begun: datetime) -> None:
        flow = f"report_{self._chance.randrange(FLOWS)}"
        self._define(_PREFECT, flow, "flow", ["fetch", "join", "publish"], begun)
        root = self._run(_PREFECT, flow, "flow", f"{flow}/{number}")
        cause = self._tasks.get(f"shop_{number % DAGS}") if number % 3 == 0 else None
        self._begin(root, begun, TriggerKind.API if cause else TriggerKind.SCHEDULE, cause=cause)
        self._describe(root, begun, number)
        failed = False
        for index, name in enumerate(("fetch", "join", "publish")):
            at = begun + timedelta(seconds=index * 40)
            failed |= self._tell_task(root, f"{flow}.{name}", f"{root.native_key}/{name}", at, index)
        inner = self._run(_PREFECT, f"{flow}_inner", "flow", f"{root.native_key}/inner", parent=root.run_id)
        self._begin(inner, begun + timedelta(seconds=120), None)
        self._end(inner, begun + timedelta(seconds=240), State.SUCCEEDED)
        self._end(root, begun + timedelta(seconds=900), State.FAILED if failed else State.SUCCEEDED)

    def _tell_job(self, number: int, begun: datetime) -> None:
        run = self._run(_CI, f"ci.build_{number % JOBS}", "job", f"build/{number}")
        self._begin(run, begun, TriggerKind.MANUAL if number % 2 else TriggerKind.API)
        self._describe(run, begun, number)
        self._say(MetricEvent, run, begun + timedelta(seconds=1), name="coverage", value=number % 100)
        ends = begun + timedelta(seconds=self._chance.randrange(30, 1200))
        if self._chance.random() < 0.1:
            self._fail(run, ends)
        else:
            self._end(run, ends, State.TIMED_OUT if number % 97 == 0 else State.SUCCEEDED)
            if number % 41 == 0:
                self._say(StateEvent, run, ends + timedelta(seconds=9), witness=Witness.FOLLOWER, state=State.FAILED)

    def _tell_wide(self, number: int, begun: datetime) -> None:
        root = self._run(_AIRFLOW[0], "wide", "dag", f"wide/{number}")
        self._begin(root, begun, TriggerKind.MANUAL)
        self._describe(root, begun, number)
        for index in range(self.wide):
            at = begun + timedelta(seconds=index)
            self._tell_task(root, WIDE, f"{root.native_key}/load/{index}", at, 1)
        self._end(root, begun + timedelta(hours=1), State.SUCCEEDED)

    def _tell_fleet(self, number: int, begun: datetime) -> None:
        names = [f"scan_{index:05}" for index in range(self.fleet)]
        self._define(_AIRFLOW[0], FLEET, "dag", names, begun)
        root = self._run(_AIRFLOW[0], FLEET, "dag", f"fleet/{number}")
        self._begin(root, begun, TriggerKind.SCHEDULE)
        for index, name in enumerate(names):
            at = begun + timedelta(seconds=index // 10)
            run = self._run(root.where, f"fleet.{name}", "task", f"{root.native_key}/{name}", parent=root.run_id)
            self._begin(run, at, None)
            self._end(run, at + timedelta(seconds=20), State.SUCCEEDED)
        self._end(root, begun + timedelta(hours=2), State.SUCCEEDED)

    def _tell_deep(self, number: int, begun: datetime) -> None:
        parent: UUID | None = None
        runs: list[_Run] = []
        for level in range(LEVELS):
            at = begun + timedelta(seconds=level)
            run = self._run(_PREFECT, f"nested_{level}", "flow", f"nested/{number}/{level}", parent=parent)
            self._begin(run, at, None if parent else TriggerKind.MANUAL)
            runs.append(run)
            parent = run.run_id
        for level, run in enumerate(reversed(runs)):
            at = begun + timedelta(seconds=LEVELS + level)
            if level:
                self._end(run, at, State.FAILED)
            else:
                self._fail(run, at)

    def _tell_chatty(self, number: int, begun: datetime) -> None:
        run = self._run(_CI, CHATTY, "job", f"chatty/{number}")
        self._begin(run, begun, TriggerKind.MANUAL)
        for index in range(self.events):
            self._say(MetricEvent, run, begun + timedelta(milliseconds=index), name="loss", value=1 / (index + 1))
        self._end(run, begun + timedelta(minutes=5), State.SUCCEEDED)

    # What is said of a run

    def _run(
        self, where: _Where, definition: str, kind: str, key: str, *, attempt: int = 1, parent: UUID | None = None
    ) -> _Run:
        self._told += 1
        identity = run_id(where.engine, where.deployment, (kind, key, attempt))
        return _Run(identity, where, definition, kind, key, attempt, parent)

    def _begin(self, run: _Run, at: datetime, trigger: TriggerKind | None, *, cause: UUID | None = None) -> None:
        said: dict[str, Any] = {
            "definition": run.definition,
            "definition_kind": run.kind,
            "native_key": run.native_key,
            "native_id": f"{run.native_key}/{run.attempt}",
            "attempt": run.attempt,
        }
        if (run.where, run.definition) in self._defined:
            said["definition_version_id"] = definition_version_id(*run.where, run.definition, VERSION)
        if run.parent:
            said["parent_run_id"] = run.parent
        if trigger:
            said |= {"trigger": Trigger(kind=trigger), "correlation_id": run.run_id.hex}
        if cause:
            said["caused_by_run_id"] = cause
        if not run.parent and run.where is not _CI:
            self._producer, self._sequence = named_id("producer", str(run.run_id)), 0
            self._say(ProducerOpenedEvent, run, at, component="worker", host="worker-1")
            self._say(StateEvent, run, at - timedelta(seconds=8), state=State.QUEUED, native_state="queued")
        self._say(IdentityEvent, run, at, **said)
        self._say(StateEvent, run, at, state=State.RUNNING, native_state="running")

    def _describe(self, run: _Run, at: datetime, number: int) -> None:
        tags = [f"team:{'abcdefg'[number % 7]}", "prod" if number % 5 else "canary"]
        if number % 1000 == 0:
            tags.append("audit")
        self._say(
            ContextEvent,
            run,
            at,
            code={"commit": f"{number // 500:040x}", "path": f"{run.definition}.py"},
            environment={"host": f"worker-{number % 20}", "python": "3.12.4"},
            tags=tuple(tags),
            owner=("data", "web", "finance")[number % 3],
            content={"parameters": {"day": at.date().isoformat(), "batch": number}},
        )

    def _use_dataset(self, run: _Run, at: datetime, direction: str) -> None:
        name = f"mart.table_{self._chance.randrange(60)}"
        self._say(DatasetEvent, run, at, direction=direction, namespace="s3://lake", name=name)

    def _fail(self, run: _Run, at: datetime) -> None:
        error, message = self._chance.choice(_ERRORS)
        said = message.format(self._chance.randrange(1000))
        trace = f'File "{run.definition}.py", line 12, in load\n{error}: {said}'
        self._say(FailureEvent, run, at, error_type=error, content={"message": said, "traceback": trace})
        self._say(LogEvent, run, at, counts={"ERROR": 1}, content={"tail": [f"{run.definition} begins", said]})
        self._end(run, at, State.FAILED)

    def _end(self, run: _Run, at: datetime, state: State) -> None:
        if self._told >= self.runs - self._open:
            self.live.append(run.run_id)
            return
        self._say(StateEvent, run, at, state=state, native_state=state.value.lower())
        if not run.parent and self._producer:
            self._say(ProducerClosedEvent, run, at + timedelta(milliseconds=1))

    def _define(self, where: _Where, definition: str, kind: str, tasks: list[str], at: datetime) -> None:
        if (where, definition) in self._defined:
            return
        self._defined.add((where, definition))
        structure = {
            "tasks": [{"id": task, "operator": "PythonOperator"} for task in tasks],
            "edges": [list(pair) for pair in pairwise(tasks)],
        }
        version = {"version": VERSION, "schedule": "@hourly", "code_version": "4f1c2d9e", "tags": ("prod",)}
        named = {"definition": definition, "definition_kind": kind, "content": {"structure": structure}}
        self._add(DefinitionEvent, where, at, {**named, **version})

    def _say(self, kind: type[EventBase], run: _Run, at: datetime, **said: Any) -> None:
        if "run_id" in kind.model_fields:
            said["run_id"] = run.run_id
        if self._producer and said.get("witness", Witness.WORKER) is Witness.WORKER:
            said |= {"producer": self._producer, "sequence": self._sequence}
            self._sequence += 1
        self._add(kind, run.where, at, said)

    def _add(self, kind: type[EventBase], where: _Where, at: datetime, said: dict[str, Any]) -> None:
        about: dict[str, Any] = {
            "kind": kind.model_fields["kind"].default,
            "engine": where.engine,
            "deployment": where.deployment,
            "witness": Witness.WORKER,
            "occurred_at": at,
        }
        self._family.append(kind.model_validate({**about, **said}))

    def _sealed(self) -> Family:
        told, self._family, self._producer = self._family, [], None
        told.sort(key=lambda event: event.occurred_at)
        return [self._seal(event) for event in told]

    def _seal(self, event: EventBase) -> SealedEvent:
        sealed = seal(event, salt=lambda: self._chance.randbytes(16))
        # What has bodies is read again, as the door does: the event then holds their digests.
        return sealed._replace(event=parse_event(orjson.loads(sealed.data))) if sealed.bodies else sealed
