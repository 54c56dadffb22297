"""One thread that delivers what a producer has recorded, while the store takes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from runvis_core.emit.bell import Bell
from runvis_core.emit.circuit import Circuit
from runvis_core.emit.courier import Courier
from runvis_core.emit.notice import never_raises, warn
from runvis_core.emit.outbox import Outbox
from runvis_core.emit.pulse import Pulse
from runvis_core.emit.switch import OffSwitch
from runvis_core.emit.transport import Transport, open_transport
from runvis_core.errors import RefusedError, RunVisError
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.worker_settings import WorkerSettings

MAX_BATCH_ITEMS: Final = 500
MAX_BATCH_BYTES: Final = 1024 * 1024
GATHER_SECONDS: Final = 0.1
"""How long to wait for more when something was recorded; a flush doesn't."""
RECHECK_SECONDS: Final = 5.0
"""How soon a thread that waits learns what other processes found out, or that recording was switched on again."""
ADOPT_INTERVAL_SECONDS: Final = 60.0
MAX_BEATS: Final = 10_000
JUDGEABLE_BUDGET_SECONDS: Final = 1.0
"""A store that doesn't answer within less may only be slow."""

TransportOpener = Callable[[WorkerSettings], Transport]


class Delivery:
    """Delivers an outbox's events in batches. The thread is started by the first event, and dies with the process."""

    def __init__(
        self,
        settings: WorkerSettings,
        outbox: Outbox,
        circuit: Circuit,
        switch: OffSwitch,
        pulse: Pulse,
        *,
        adopts: bool = False,
        opener: TransportOpener = open_transport,
    ) -> None:
        self.outbox = outbox
        self.delivered_batches = 0
        self.failures = 0
        self._settings = settings
        self._circuit = circuit
        self._switch = switch
        self._pulse = pulse
        self._adopts = adopts
        self._adopted_at = float("-inf")
        self._opener = opener
        self._courier: Courier | None = None
        self._transport: Transport | None = None
        self._beats: dict[UUID, Heartbeat] = {}
        # A signal's handler may record, flush and close in the middle of any of these: all of it is reentrant.
        self._something = Bell()
        self._hurry = Bell()
        self._stop = Bell()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="runvis-delivery", daemon=True)
        self._unstarted = [self._thread]

    def count_failure(self) -> None:
        """Count a round that failed in a way that nobody foresaw."""
        self.failures += 1

    def wake(self) -> None:
        """Say that there is something to deliver."""
        if self._unstarted:
            self._start()
        self._something.set()

    def beat(self, heartbeat: Heartbeat) -> None:
        """Deliver a sign of life; an older one of the same run that still waits is dropped."""
        if heartbeat.run_id in self._beats or len(self._beats) < MAX_BEATS:
            self._beats[heartbeat.run_id] = heartbeat
        self.wake()

    def flush(self, budget_seconds: float) -> bool:
        """Wait until everything is delivered, at most for the budget; not at all while the store is down."""
        if not self.outbox.is_pending:
            return True
        if self._switch.is_off() or self._circuit.find_outage():
            return False
        self._hurry.set()
        self.wake()
        before = self.delivered_batches
        deadline = time.monotonic() + budget_seconds
        with self._progress:
            while self.outbox.is_pending and (left := deadline - time.monotonic()) > 0:
                if self._circuit.find_outage() or not self._is_running():
                    return False
                self._progress.wait(min(left, 0.25))
        if self.outbox.is_pending and before == self.delivered_batches and budget_seconds >= JUDGEABLE_BUDGET_SECONDS:
            # This process may end before its own request times out; the next one must not wait for the same again.
            self._circuit.note_failure(f"no answer within {budget_seconds:g} s")
        return not self.outbox.is_pending

    def stop(self) -> None:
        """End the thread after what it is doing now."""
        self._stop.set()
        self._hurry.set()
        self._something.set()

    def _is_running(self) -> bool:
        return self._thread.is_alive()

    def _start(self) -> None:
        with suppress(IndexError):  # Whoever takes it starts it: another thread may be faster, or a signal's handler.
            self._unstarted.pop().start()

    def _run(self) -> None:
        self.outbox.sync_entry()
        while self._await_work():
            if not self._deliver() and not self._circuit.wait_seconds():
                self._circuit.note_failure("delivery failed; the log says why")
            with self._progress:
                self._progress.notify_all()
        if self._transport is not None:
            self._transport.close()

    def _await_work(self) -> bool:
        """Wait until it is time to deliver; return whether the thread is to go on."""
        while not self._stop.is_set():
            if self._switch.is_off():
                self._stop.wait(RECHECK_SECONDS)
            elif (seconds := self._circuit.wait_seconds()) > 0:
                self._stop.wait(min(seconds, RECHECK_SECONDS))
            elif self._something.wait(self._idle_seconds()):
                self._hurry.wait(GATHER_SECONDS)
                self._hurry.clear()
                self._something.clear()
                break
            else:
                break
        return not self._stop.is_set()

    def _idle_seconds(self) -> float | None:
        """Return how long there is nothing to do unless something is recorded; None for ever."""
        times = [self._pulse.seconds_left(), ADOPT_INTERVAL_SECONDS if self._adopts else None]
        return min((seconds for seconds in times if seconds is not None), default=None)

    @never_raises(otherwise=False)
    def _deliver(self) -> bool:
        """Deliver all there is; return whether the store took it."""
        try:
            courier = self._open()
            while self.outbox.is_pending and not self._stop.is_set():
                batch = self.outbox.read(max_items=MAX_BATCH_ITEMS, max_bytes=MAX_BATCH_BYTES)
                courier.deliver(str(self.outbox.producer), batch)
                self.outbox.acknowledge(batch)
                self._note_success()
            self._send_beats()
            self._adopt(courier)
        except (RunVisError, OSError, ImportError) as error:
            self._note_failure(error)
            return False
        return True

    def _open(self) -> Courier:
        if self._courier is None:
            self._transport = self._opener(self._settings)
            self._courier = Courier(self._settings.spool_dir, self._transport)
        return self._courier

    def _note_success(self) -> None:
        self._circuit.note_success()
        self.delivered_batches += 1
        with self._progress:
            self._progress.notify_all()

    def _note_failure(self, error: Exception) -> None:
        self._something.set()  # What was not delivered is still to be.
        self._circuit.note_failure(str(error), retry_after_seconds=getattr(error, "retry_after_seconds", None))
        warn(f"RunVis can't deliver events now: {error}. They wait in {self._settings.spool_dir}, and are sent again.")

    def _send_beats(self) -> None:
        beats, self._beats = self._beats, {}
        beats.update((beat.run_id, beat) for beat in self._pulse.take_due())
        if not beats or self._transport is None:
            return
        try:
            self._transport.beat(list(beats.values()))
        except RefusedError as error:
            warn(f"RunVis: signs of life were refused: {error}")
        else:
            self._circuit.note_success()

    def _adopt(self, courier: Courier) -> None:
        """Deliver now and then what dead processes of this deployment left behind."""
        now = time.monotonic()
        if not self._adopts or now - self._adopted_at < ADOPT_INTERVAL_SECONDS:
            return
        self._adopted_at = now
        from runvis_core.emit.drain import deliver_abandoned, find_spools  # No task's process gets here.

        for path in find_spools(self._settings.spool_dir / self._settings.get_deployment()):
            if self._stop.is_set():
                return
            deliver_abandoned(path, courier)
