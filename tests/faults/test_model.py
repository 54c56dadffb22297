"""A model of what was told as the oracle: whatever happens on the way, the store says the same as it, and no more."""

from __future__ import annotations

import random
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from tests.faults.scale import ROUNDS, found
from tests.faults.told import assert_sound, numbered, stored_names

from runvis_core.emit.courier import Courier
from runvis_core.emit.drain import deliver_abandoned, find_spools
from runvis_core.emit.outbox import Outbox
from runvis_core.emit.redaction import Redactor
from runvis_core.emit.sealing import Parcel, Sealer
from runvis_core.emit.transport import Outcome
from runvis_core.errors import DeliveryError
from runvis_core.model.event import ProducerOpenedEvent
from runvis_core.model.identity import timestamp
from runvis_core.model.state import Witness
from runvis_core.services.ingest import ingest_items
from runvis_core.store.database import open_store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.testing.factories import MORNING, make

SEALER = Sealer(Redactor(()))


class Door:
    """A transport into a store that may be away, may fail after it stored, and may deliver twice or in reverse."""

    def __init__(self) -> None:
        self.store: Any = None
        self.way = "well"

    def deliver(self, items: Any) -> list[Outcome]:
        if self.way == "away":
            raise DeliveryError("away")
        if self.way == "reversed":
            # As when a later delivery overtakes an earlier one.
            outcomes = ingest_items(self.store, list(items)[::-1], principal="local")[::-1]
        else:
            outcomes = ingest_items(self.store, items, principal="local")
        if self.way == "twice":
            ingest_items(self.store, items, principal="local")
        if self.way == "no answer":
            raise DeliveryError("stored, but who asked doesn't know")
        return [outcome.as_json() for outcome in outcomes]

    def beat(self, beats: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Delivery(RuleBasedStateMachine):
    """Producers that record, deliver, are killed and forked, before a store whose clock and way are unsound."""

    producers = Bundle("producers")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="runvis-model-"))
        self.now = MORNING
        self.url = f"sqlite:///{self.folder / 'runvis.db'}"
        self.door = Door()
        self.told: list[str] = []
        self.count = 0
        self.alive: list[Outbox] = []
        self.open()

    def open(self) -> None:
        self.door.store = open_store(self.url, clock=lambda: self.now)

    def opening(self, producer: Any) -> Parcel:
        return SEALER.seal(make(ProducerOpenedEvent, producer=producer, component="test"))

    @rule(target=producers)
    def start(self) -> Outbox:
        outbox = Outbox(self.folder / "spool" / "prod", self.opening, max_bytes=2**20)
        self.alive.append(outbox)
        return outbox

    @rule(outbox=producers, number=st.integers(1, 5), skew=st.integers(-(10**8), 10**8), durable=st.booleans())
    def record(self, outbox: Outbox, number: int, skew: int, durable: bool) -> None:
        # The producer's clock is ahead or behind by up to three years.
        events = [numbered("model", self.count + i, witness=Witness.WORKER) for i in range(number)]
        skewed = [
            event.model_copy(update={"occurred_at": event.occurred_at + timedelta(seconds=skew)}) for event in events
        ]
        outbox.append([parcel for event in skewed if (parcel := SEALER.seal(event))], durable=durable)
        self.told += [event.name for event in events]
        self.count += number

    @rule(
        outbox=producers,
        way=st.sampled_from(["well", "away", "no answer", "twice", "reversed"]),
        size=st.integers(1, 7),
    )
    def deliver(self, outbox: Outbox, way: str, size: int) -> None:
        self.door.way = way
        courier = Courier(self.folder / "spool", self.door)
        while outbox.is_pending:
            batch = outbox.read(max_items=size, max_bytes=2**20)
            try:
                courier.deliver(str(outbox.producer), batch)
            except DeliveryError:
                break
            outbox.acknowledge(batch)

    @rule(outbox=consumes(producers))
    def kill(self, outbox: Outbox) -> None:
        self.alive.remove(outbox)
        outbox.abandon()

    @rule(outbox=consumes(producers))
    def close(self, outbox: Outbox) -> None:
        self.alive.remove(outbox)
        outbox.close()

    @rule()
    def drain(self) -> None:
        self.door.way = "well"
        courier = Courier(self.folder / "spool", self.door)
        for path in find_spools(self.folder / "spool" / "prod"):
            deliver_abandoned(path, courier)

    @rule(seconds=st.integers(-(10**6), 10**6))
    def set_the_stores_clock(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def restart_the_store(self) -> None:
        self.door.store.close()
        self.open()

    @rule()
    def rebuild(self) -> None:
        rebuild_store(self.door.store)

    @invariant()
    def nothing_is_stored_that_was_not_told(self) -> None:
        if hasattr(self, "door"):
            stored = stored_names(self.door.store)
            assert set(stored) <= set(self.told)
            assert set(stored.values()) <= {1}

    def teardown(self) -> None:
        if not hasattr(self, "door"):
            return
        try:
            for outbox in self.alive:
                outbox.abandon()
            self.drain()
            assert_sound(self.door.store, self.told)
            moments = [orjson.loads(entry.entry)["recorded_at"] for entry in self.door.store.log.read()]
            assert moments == sorted(moments), "recorded times never decrease"
            assert all(moment == timestamp(datetime.fromisoformat(moment)) for moment in moments)
            found("model", lives=1, events=len(self.told), divergences=0)
        finally:
            self.door.store.close()
            shutil.rmtree(self.folder)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=12 if ROUNDS == 1 else 30 * ROUNDS,
    stateful_step_count=25 if ROUNDS == 1 else 50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_everything_twice_and_in_reverse_says_the_same(tmp_path: Path) -> None:
    from runvis_core.model.encoding import seal, wire_item
    from runvis_core.testing.story import a_story

    items = [wire_item(seal(event)) for event in a_story()]
    chance = random.Random(1)
    shuffled = chance.sample(items, len(items))
    orders = {"once": items, "twice": [*items, *items], "reversed": items[::-1], "all": [*shuffled, *items[::-1]]}
    told: dict[str, tuple[set[str], int]] = {}
    for name, order in orders.items():
        store = open_store(f"sqlite:///{tmp_path / name}.db")
        for start in range(0, len(order), 7):
            ingest_items(store, order[start : start + 7], principal="local")
        assert_sound(store, sorted(stored_names(store)))
        entries = [orjson.loads(entry.entry)["event"] for entry in store.log.read()]
        ids = {event["event_id"] for event in entries}
        assert len(ids) == len(entries)
        told[name] = ids, len(entries)
        store.close()
    assert told["twice"] == told["once"]
    assert told["reversed"] == told["once"]
    assert told["all"] == told["once"]
