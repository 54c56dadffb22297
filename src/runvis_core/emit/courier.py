"""Hands batches to a transport and settles what became of each item. Used by whoever delivers: a process, a drain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runvis_core.emit.dead_letters import keep_dead_letters, set_aside
from runvis_core.emit.notice import plural, warn
from runvis_core.emit.spool import Batch
from runvis_core.emit.transport import REFUSED, Outcome, Transport
from runvis_core.errors import RefusedError


@dataclass(slots=True)
class Tally:
    """What became of events."""

    delivered: int = 0
    refused: int = 0
    """Refused for good by the store; they are in the dead-letter folder."""
    set_aside: int = 0
    """Lines that were cut short."""


class Courier:
    """Delivers batches, keeps what is refused, sets aside what is torn."""

    def __init__(self, spool_dir: Path, transport: Transport) -> None:
        self.tally = Tally()
        self._spool_dir = spool_dir
        self._transport = transport

    def deliver(self, producer: str, batch: Batch) -> None:
        """Settle a batch: when this returns, nothing of it is needed any more.

        Raises `DeliveryError`, or `OSError` where something can't be kept; then all of it must be delivered again.
        """
        if batch.torn:
            set_aside(self._spool_dir, producer, batch.torn)
            self.tally.set_aside += len(batch.torn)
            warn(f"RunVis set aside {plural(len(batch.torn), 'spool line')} of {producer} that were cut short.")
        if batch.items:
            outcomes = self._hand_over(batch.items)
            letters = [
                (item, outcome)
                for item, outcome in zip(batch.items, outcomes, strict=True)
                if outcome.get("status") == REFUSED
            ]
            if letters:
                keep_dead_letters(self._spool_dir, producer, letters)
                warn(
                    f"RunVis: the store refused {plural(len(letters), 'event')}, the first because: "
                    f"{letters[0][1].get('field') or ''} {letters[0][1].get('reason')}. "
                    f"They are kept in {self._spool_dir / 'dead'}."
                )
            self.tally.refused += len(letters)
            self.tally.delivered += len(batch.items) - len(letters)

    def _hand_over(self, items: Sequence[bytes]) -> list[Outcome]:
        """Return what became of each item. A batch refused as a whole is halved until the cause stands alone."""
        try:
            return list(self._transport.deliver(items))
        except RefusedError as error:
            if len(items) == 1:
                return [{"index": 0, "status": REFUSED, "reason": str(error)}]
            half = len(items) // 2
            return [*self._hand_over(items[:half]), *self._hand_over(items[half:])]
