"""What is measured: events as adapters make them, about one kilobyte each on the wire.

An event whose own words are fewer than that is filled up with a field that this version does not know, which the store
keeps raw: the log holds as many bytes as the raw limit beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import orjson

from runvis_core.model.encoding import seal, wire_item
from runvis_core.model.event import (
    ActionEvent,
    AliasEvent,
    ArtifactEvent,
    ContextEvent,
    DatasetDeclaredEvent,
    DatasetEvent,
    DefinitionErrorEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    LogEvent,
    MetricEvent,
    NoteEvent,
    PresumptionEvent,
    ProducerClosedEvent,
    ProducerOpenedEvent,
    SnapshotEvent,
    StateEvent,
    Trigger,
)
from runvis_core.model.identity import run_id
from runvis_core.model.state import Relation, State, TriggerKind, Verdict, Witness

ENGINE: Final = "airflow"
DEPLOYMENT: Final = "bench"
ITEM_BYTES: Final = 1024

_MORNING = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)


def context(number: int) -> dict[str, Any]:
    """Return one kilobyte of context as JSON values: parameters, datasets, tags, code version, host."""
    return {
        "parameters": {f"param_{index}": f"value-{number}-{index}-abcdefghij" for index in range(10)},
        "inputs": [
            {"namespace": "s3://bucket-prod", "name": f"raw/table_{(number + index) % 97}"} for index in range(3)
        ],
        "outputs": [{"namespace": "postgres://warehouse:5432", "name": f"mart.table_{number % 89}"}],
        "tags": ["team:data-platform", "env:prod", "tier:1"],
        "owner": "etl",
        "commit": "4f1c2d9e8b7a6c5d4e3f2a1b0c9d8e7f6a5b4c3d",
        "host": f"worker-{number % 200:03d}.internal",
        "docs": "Loads what the shop sold since the last run, " * 6,
    }


def start(number: int, *, salt: str) -> list[EventBase]:
    """Return what a worker records when a task starts: its state, what it is, and one kilobyte of context."""
    life = _Life(number, salt)
    return [life.state(State.RUNNING, "running", 1), life.identity(), life.context()]


def items(count: int) -> list[bytes]:
    """Return `count` wire items that no store has seen: lives of runs, all kinds of event, in the order they happen."""
    made: list[bytes] = []
    salt = uuid4().hex
    number = 0
    while len(made) < count:
        made += [_filled(event) for event in _Life(number, salt).events()]
        number += 1
    return made[:count]


def _filled(event: EventBase) -> bytes:
    missing = ITEM_BYTES - len(wire_item(seal(event, filling="")))
    return wire_item(seal(event, filling="x" * missing) if missing > 0 else seal(event))


class _Life:
    """A task's attempt, told by its worker, with what others say of it."""

    def __init__(self, number: int, salt: str) -> None:
        self.number = number
        self.salt = salt
        self.native_key = f"shop_{number % 50}/{salt}/load_{number}"
        self.run_id: UUID = run_id(ENGINE, DEPLOYMENT, ("task", self.native_key, "1"))
        self.parent: UUID = run_id(ENGINE, DEPLOYMENT, ("dag_run", f"shop_{number % 50}", salt, str(number // 10)))
        self.said = context(number)

    def say(
        self, kind: type[EventBase], second: float, *, witness: Witness = Witness.WORKER, **fields: Any
    ) -> EventBase:
        about = {"run_id": self.run_id} if "run_id" in kind.model_fields else {}
        occurred_at = _MORNING + timedelta(seconds=self.number % 3600 + second)
        return kind(
            kind=kind.model_fields["kind"].default,
            engine=ENGINE,
            deployment=DEPLOYMENT,
            witness=witness,
            occurred_at=occurred_at,
            **about,
            **fields,
        )

    def state(self, state: State, native: str, second: float) -> EventBase:
        return self.say(StateEvent, second, state=state, native_state=native)

    def identity(self) -> EventBase:
        return self.say(
            IdentityEvent,
            1,
            definition=f"shop_{self.number % 50}.load",
            definition_kind="task",
            native_key=self.native_key,
            native_id=f"{self.native_key}/1",
            trigger=Trigger(kind=TriggerKind.SCHEDULE, native="scheduled"),
            parent_run_id=self.parent,
            correlation_id=self.run_id.hex,
        )

    def context(self) -> EventBase:
        said = self.said
        return self.say(
            ContextEvent,
            1,
            code={"commit": said["commit"], "bundle": "dags-folder", "path": "shop.py"},
            environment={"host": said["host"], "python": "3.11.7"},
            engine_context={
                "operator": "PythonOperator",
                "pool": "default_pool",
                "queue": "default",
                "docs": said["docs"],
            },
            tags=tuple(said["tags"]),
            owner=said["owner"],
            content={"parameters": said["parameters"]},
        )

    def dataset(self, direction: str, named: dict[str, str]) -> EventBase:
        return self.say(DatasetEvent, 2, direction=direction, **named)

    def events(self) -> Iterator[EventBase]:
        """All that is said of the attempt: one in five fails, one in fifty brings what is said rarely."""
        said = self.said
        yield self.say(SnapshotEvent, 0, witness=Witness.SCHEDULER, queued_at=_MORNING, state=State.QUEUED)
        yield self.state(State.INITIALIZING, "running", 0.5)
        yield self.identity()
        yield self.context()
        yield self.state(State.RUNNING, "running", 1)
        for named in said["inputs"]:
            yield self.dataset("read", named)
        for named in said["outputs"]:
            yield self.dataset("write", named)
        yield self.say(MetricEvent, 3, name="rows", value=float(self.number), unit="rows")
        yield self.say(ArtifactEvent, 3, name="report", uri=f"s3://bucket-prod/reports/{self.number}.html")
        if self.number % 50 == 0:
            yield from self._rare()
        tail = [f"row {index} of {self.number} loaded" for index in range(12)]
        yield self.say(LogEvent, 4, counts={"INFO": 12, "WARNING": 1}, content={"tail": tail})
        if self.number % 5 == 0:
            trace = 'File "shop.py", line 12, in load\n' * 15
            yield self.say(FailureEvent, 5, error_type="ValueError", content={"message": "no rows", "traceback": trace})
            yield self.state(State.FAILED, "failed", 5)
        else:
            yield self.state(State.SUCCEEDED, "success", 5)

    def _rare(self) -> Iterator[EventBase]:
        name, docs = f"shop_{self.number}_{self.salt}", {"docs": self.said["docs"]}
        tasks = [{"id": f"load_{index}", "operator": "PythonOperator"} for index in range(10)]
        producer, trace = uuid4(), {"traceback": 'File "shop.py", line 1\n' * 20}
        yield self.say(ProducerOpenedEvent, 0, component="task", host=self.said["host"], producer=producer, sequence=0)
        yield self.say(ProducerClosedEvent, 5, producer=producer, sequence=1)
        yield self.say(
            DefinitionEvent,
            0,
            definition=name,
            definition_kind="dag",
            version=str(self.number),
            content={"structure": {"tasks": tasks, "edges": []}} | docs,
        )
        yield self.say(DefinitionErrorEvent, 0, source=f"{name}.py", fingerprint="1", content=trace)
        yield self.say(DatasetDeclaredEvent, 0, namespace="s3://bucket-prod", name=name)
        yield self.say(AliasEvent, 1, system="openlineage", native_id=str(uuid4()))
        yield self.say(LinkEvent, 1, relation=Relation.CAUSED, target_native_key=f"{self.native_key}/child")
        yield self.say(NoteEvent, 2, native_id="1", content={"text": "looked at it " * 30, "author": "ada"})
        yield self.say(ActionEvent, 2, name="cleared", content={"actor": "ada", "detail": self.said["docs"]})
        yield self.say(
            PresumptionEvent, 3, witness=Witness.RECONCILER, verdict=Verdict.SILENT, reason="no heartbeat for 60 s"
        )


def mean_bytes(of: list[bytes]) -> float:
    """Return how large the items are on average."""
    return sum(map(len, of)) / len(of)


def fields_of(item: bytes) -> dict[str, Any]:
    """Return the event of a wire item as JSON values."""
    return orjson.loads(item)["event"]
