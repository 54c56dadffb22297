"""The recorder: what an engine's process hands its events to."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from threading import RLock
from typing import Final
from uuid import UUID
from weakref import WeakSet

from runvis_core.emit.circuit import Circuit
from runvis_core.emit.delivery import Delivery, TransportOpener
from runvis_core.emit.notice import never_raises, say_once
from runvis_core.emit.outbox import Outbox
from runvis_core.emit.pulse import Pulse
from runvis_core.emit.redaction import Redactor
from runvis_core.emit.sealing import Parcel, Sealer
from runvis_core.emit.switch import OffSwitch
from runvis_core.emit.transport import open_transport
from runvis_core.model.event import EventBase, ProducerClosedEvent, ProducerOpenedEvent, build_kinds
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import Witness
from runvis_core.worker_settings import WorkerSettings

Clock = Callable[[], datetime]

TASK: Final = "task"
"""The component whose processes are many and short: each builds only those kinds of events that it says."""


def utc_now() -> datetime:
    """Return this machine's time."""
    return datetime.now(UTC)


@cache
def own_version() -> str:
    """Return RunVis's version. It is looked for among all that is installed, so once; a forked child knows it, too."""
    from importlib.metadata import version

    return version("runvis")


class Recorder:
    """Takes events and returns: it never raises, never waits for a network, never forks.

    When `record` has returned, its events survive a kill of the process. A forked child goes on as its own producer.
    `adopts` is for processes that live as long as the engine: they also deliver what dead processes left behind.
    Raises `SettingsError` when it is made with settings that can't be recorded with.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        component: str,
        engine: str,
        witness: Witness,
        versions: Mapping[str, str] | None = None,
        adopts: bool = False,
        clock: Clock = utc_now,
        opener: TransportOpener = open_transport,
    ) -> None:
        self.engine = engine
        self.component = component
        self.witness = witness
        self.clock = clock
        self.deployment = settings.get_deployment()
        self.is_dormant = settings.disabled or settings.url is None
        """Whether this recorder does nothing: nobody told it where to, or it is disabled."""
        self.is_remote = (settings.url or "").startswith(("http://", "https://"))
        """Whether a server takes its events."""
        self.refused = 0
        """Events that could not be kept, and so have no number: what they said was no JSON, or too large."""
        self._settings = settings
        self._versions = dict(versions or {})
        self._adopts = adopts
        self._opener = opener
        self._redactor = Redactor(settings.emit.secret_keys)
        self._sealer = Sealer(self._redactor)
        self._switch = OffSwitch(settings.spool_dir)
        self._pulse = Pulse(self._sign_of_life)
        self._lock = RLock()
        self._delivery: Delivery | None = None
        _recorders.add(self)
        if component != TASK and not self.is_dormant:
            build_kinds()
        if settings.disabled:
            say_once("RunVis is disabled by RUNVIS_DISABLED.")
        elif settings.url is None:
            say_once("RunVis is dormant: RUNVIS_URL is not set.")

    @never_raises(otherwise=None)
    def record(self, events: Iterable[EventBase]) -> None:
        """Keep events and have them delivered. Each stands alone: one that can't be kept is counted in `refused`."""
        if self.is_dormant or self._switch.is_off():
            return
        parcels = [parcel for event in events if (parcel := self._seal(event)) is not None]
        if not parcels:
            return
        durable = any(parcel.is_terminal for parcel in parcels)
        delivery = self._delivery or self._open()
        while not delivery.outbox.append(parcels, durable=durable):  # Closed meanwhile: a new producer says it.
            delivery = self._delivery or self._open()
        delivery.wake()

    @never_raises(otherwise=None)
    def heartbeat(self, run_id: UUID, *, interval_seconds: float) -> None:
        """Say that a run is alive now, and that the next word will come within the interval. Never spooled."""
        if self.is_dormant or self._switch.is_off():
            return
        (self._delivery or self._open()).beat(self._sign_of_life(run_id, interval_seconds))

    @never_raises(otherwise=None)
    def show_life(self, run_id: UUID, *, interval_seconds: float) -> None:
        """Have such a heartbeat sent soon, then after each interval, beside what is recorded, until `end_life`."""
        if self.is_dormant:
            return
        self._pulse.begin(run_id, interval_seconds)
        if self._delivery is not None:
            self._delivery.wake()

    @never_raises(otherwise=None)
    def end_life(self, run_id: UUID) -> None:
        """Have no more heartbeats sent of a run."""
        self._pulse.end(run_id)

    @never_raises(otherwise=None)
    def speak_for(self, team: str | None) -> None:
        """Say from now on that events and signs of life come from this team of the engine; None for no team."""
        self._sealer.team = team

    @never_raises(otherwise=None)
    def mask(self, values: Iterable[str]) -> None:
        """Redact these values wherever they appear from now on: the engine registered them as secret."""
        self._redactor.mask(values)

    @never_raises(otherwise=False)
    def flush(self, *, budget_seconds: float = 2.0) -> bool:
        """Wait until everything is delivered, at most for the budget; return whether it is.

        Doesn't wait while the store is known to be down: what is not delivered stays in the spool.
        """
        delivery = self._delivery
        return delivery is None or delivery.flush(budget_seconds)

    @never_raises(otherwise=None)
    def close(self, *, budget_seconds: float = 2.0) -> None:
        """Say that this producer has said all, and flush. What is recorded after it comes from a new producer."""
        with self._lock:
            delivery, self._delivery = self._delivery, None
        if delivery is None:
            return
        outbox = delivery.outbox
        if outbox.has_begun:
            closing = self._seal(self._closing_event(outbox))
            if closing is not None:
                outbox.append([closing])
        try:
            delivery.flush(budget_seconds)
        finally:
            delivery.stop()
            outbox.close()

    def count_failure(self) -> None:
        """Count what could not be kept."""
        self.refused += 1

    @never_raises(otherwise=None)
    def _seal(self, event: EventBase) -> Parcel | None:
        return self._sealer.seal(event)

    def _open(self) -> Delivery:
        with self._lock:
            delivery = self._delivery
            if delivery is None:
                settings = self._settings
                outbox = Outbox(
                    settings.spool_dir / self.deployment,
                    lambda producer: self._sealer.seal(self._opening_event(producer)),
                    max_bytes=settings.emit.spool_max_bytes,
                )
                circuit = Circuit(settings.spool_dir, settings.url or "")
                made = Delivery(
                    settings, outbox, circuit, self._switch, self._pulse, adopts=self._adopts, opener=self._opener
                )
                # In one step, which no signal's handler comes between.
                self._delivery = delivery = self._delivery or made
                if delivery is not made:  # A handler recorded meanwhile, on this same thread, and so opened its own.
                    outbox.close()
            return delivery

    def _sign_of_life(self, run_id: UUID, interval_seconds: float) -> Heartbeat:
        return Heartbeat(
            run_id=run_id,
            engine=self.engine,
            deployment=self.deployment,
            witness=self.witness,
            team=self._sealer.team,
            occurred_at=self.clock(),
            interval_seconds=interval_seconds,
        )

    def _opening_event(self, producer: UUID) -> ProducerOpenedEvent:
        return ProducerOpenedEvent(
            engine=self.engine,
            deployment=self.deployment,
            witness=self.witness,
            occurred_at=self.clock(),
            producer=producer,
            component=self.component,
            host=socket.gethostname()[:250] or None,
            pid=os.getpid(),
            versions={"runvis": own_version(), "python": platform.python_version(), **self._versions},
        )

    def _closing_event(self, outbox: Outbox) -> ProducerClosedEvent:
        return ProducerClosedEvent(
            engine=self.engine,
            deployment=self.deployment,
            witness=self.witness,
            occurred_at=self.clock(),
            producer=outbox.producer,
            refused=self.refused + outbox.lost,
        )

    def _continue_in_child(self) -> None:
        """Begin anew in a forked child: the parent's thread isn't here, and its file and numbers are its own."""
        self._lock = RLock()
        delivery, self._delivery = self._delivery, None
        self._pulse = Pulse(self._sign_of_life)
        self.refused = 0
        if delivery is not None:
            delivery.outbox.abandon()


_recorders: WeakSet[Recorder] = WeakSet()


def _continue_all_in_child() -> None:
    for recorder in list(_recorders):
        recorder._continue_in_child()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_continue_all_in_child)
