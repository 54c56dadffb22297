"""The spool, when a system call fails, the process ends at one, or the power goes: by a file layer under it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from tests.faults.files import SYNCS, Disk, Faults, KilledError
from tests.faults.scale import ROUNDS, found
from tests.faults.told import numbered

from runvis_core.emit import outbox as outbox_module
from runvis_core.emit import spool as spool_module
from runvis_core.emit.courier import Courier
from runvis_core.emit.drain import deliver_abandoned, find_spools
from runvis_core.emit.outbox import Outbox
from runvis_core.emit.redaction import Redactor
from runvis_core.emit.sealing import Parcel, Sealer
from runvis_core.emit.transport import Outcome
from runvis_core.errors import DeliveryError
from runvis_core.model.event import ProducerOpenedEvent
from runvis_core.testing.factories import make

FAULTS = ("EIO", "ENOSPC", "EINTR", "part", "kill before", "kill after")


class Receiver:
    """Takes what is delivered, refuses what it is told to."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.is_away = False

    def deliver(self, items: Sequence[bytes]) -> list[Outcome]:
        if self.is_away:
            raise DeliveryError("away")
        events = [orjson.loads(item)["event"] for item in items]
        names = [event.get("name", event["kind"]) for event in events]
        self.names.update(name for name in names if name not in self.refused)
        return [
            {"index": index, "status": "refused" if name in self.refused else "stored", "reason": "no"}
            for index, name in enumerate(names)
        ]

    def beat(self, beats: Sequence[Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Life:
    """One process's life with the spool: what it was promised, and what became of that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.receiver = Receiver()
        self.returned: list[str] = []
        """Events for which `append` returned."""
        self.durable: list[str] = []
        """Those of them that a loss of power must not take."""
        self.lost = 0
        self.in_memory: list[str] = []
        self.outbox: Outbox | None = None

    def parcel(self, number: int) -> Parcel:
        sealed = Sealer(Redactor(())).seal(numbered("x", number))
        assert sealed is not None
        return sealed

    def opening(self, producer: UUID) -> Parcel:
        return Sealer(Redactor(())).seal(make(ProducerOpenedEvent, producer=producer, component="test"))

    def live(self, chance: random.Random, *, steps: int) -> None:
        """Record, deliver and acknowledge, as a process does; it may be ended at any system call."""
        self.outbox = outbox = Outbox(self.folder / "prod", self.opening, max_bytes=2**20)
        courier = Courier(self.folder, self.receiver)
        number = 0
        for _ in range(steps):
            step = chance.random()
            self.receiver.is_away = chance.random() < 0.3
            if step < 0.6:
                names = [f"x/{number + i}" for i in range(chance.randrange(1, 4))]
                number += len(names)
                is_end = chance.random() < 0.4
                before = outbox.lost
                first = number - len(names)
                outbox.append([self.parcel(first + i) for i in range(len(names))], durable=is_end)
                self.returned += names
                if is_end:
                    self.durable = list(self.returned)
                self.lost += outbox.lost - before
            else:
                self._deliver(outbox, courier, chance)
        self.in_memory = [orjson.loads(item)["event"].get("name", "") for item in outbox._memory]
        outbox.close()

    def _deliver(self, outbox: Outbox, courier: Courier, chance: random.Random) -> None:
        while outbox.is_pending and chance.random() < 0.9:
            try:
                batch = outbox.read(max_items=chance.randrange(1, 4), max_bytes=2**20)
                courier.deliver(str(outbox.producer), batch)
            except (DeliveryError, OSError):
                return
            outbox.acknowledge(batch)

    def end(self) -> None:
        """Let go of the files, as the end of a process does, and of nothing else."""
        if self.outbox is not None:
            self.outbox.abandon()

    def come_back(self) -> None:
        """Deliver what is left, as a drain does afterwards."""
        self.receiver.is_away = False
        courier = Courier(self.folder, self.receiver)
        for path in find_spools(self.folder / "prod"):
            assert deliver_abandoned(path, courier)


Steps = Callable[[], Life]


def dead_names(folder: Path) -> set[str]:
    """The events that were refused and kept."""
    lines = b"".join(path.read_bytes() for path in sorted((folder / "dead").glob("*.jsonl")))
    names: set[str] = set()
    for line in lines.splitlines():
        try:
            names.add(orjson.loads(line)["item"]["event"].get("name", ""))
        except orjson.JSONDecodeError:
            continue  # cut by the fault; the whole line was written again
    return names


def live_with(
    folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch, layer: Any, *, steps: int = 12, refuse: float = 0.0
) -> tuple[Life, bool]:
    """Live one life over a file layer; return it, and whether it was killed."""
    life = Life(folder)
    chance = random.Random(seed)
    life.receiver.refused = {f"x/{number}" for number in range(40) if chance.random() < refuse}
    with monkeypatch.context() as patched:
        patched.setattr(spool_module, "os", layer)
        # So small that a life is long enough to empty its file now and then.
        patched.setattr(outbox_module, "RESTART_BYTES", 1500)
        patched.setattr(outbox_module, "MAX_MEMORY_ITEMS", 3)
        try:
            life.live(chance, steps=steps)
        except KilledError:
            life.end()
            return life, True
    return life, False


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_system_call_loses_nothing_that_is_not_counted(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = lost = 0
    for seed in range(3 * ROUNDS):
        counting = Faults(None, None)
        live_with(tmp_path / f"{seed}", seed, monkeypatch, counting)
        for at in range(len(counting.calls)):
            folder = tmp_path / f"{seed}-{at}"
            life, was_killed = live_with(folder, seed, monkeypatch, Faults(at, fault))
            life.come_back()
            missing = set(life.returned) - set(life.receiver.names)
            if was_killed:
                # What waited in memory, because the spool could not be written, goes with the process.
                in_memory = set(names_in_memory(life))
                assert missing <= in_memory, (seed, at, counting.calls[at])
            else:
                assert len(missing - set(life.in_memory)) <= life.lost, (seed, at, counting.calls[at])
                lost += life.lost
            points += 1
    assert points > 50
    found("system-call faults", points=points, lost=0, counted_lost=lost)


def names_in_memory(life: Life) -> list[str]:
    assert life.outbox is not None or not life.returned
    memory = life.outbox._memory if life.outbox is not None else ()
    return [orjson.loads(item)["event"].get("name", "") for item in memory]


def test_what_was_promised_durable_survives_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, promised = 300 * ROUNDS, 0
    for seed in range(seeds):
        chance = random.Random(f"power {seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        disk = Disk(folder)
        counting = Faults(None, None)
        live_with(tmp_path / f"{seed}-counted", seed, monkeypatch, counting, refuse=0.1)
        at = chance.randrange(len(counting.calls))
        life, _ = live_with(folder, seed, monkeypatch, _ended_at(disk, at), refuse=0.1)
        disk.lose_power(chance)
        life.come_back()
        kept = set(life.receiver.names) | dead_names(folder)
        assert set(life.durable) - kept == set(), f"seed {seed}, power lost at call {at} ({counting.calls[at]})"
        promised += len(life.durable)
    assert promised > seeds
    found("power loss", seeds=seeds, events=promised, violations=0)


def _ended_at(disk: Disk, at: int) -> Any:
    """A layer over the disk in which the process ends at a call."""

    class Layer(Faults):
        def __getattr__(self, name: str) -> Any:
            call = super().__getattr__(name)
            if name not in SYNCS:
                return call

            def sync(descriptor: int) -> None:
                call(descriptor)
                disk.fsync(descriptor)

            return sync

    return Layer(at, "kill before")
