"""The last lines of a run's log, in bounded memory, and how many lines it had of each severity."""

from __future__ import annotations

import logging
from collections import Counter, deque
from datetime import datetime
from typing import Final
from uuid import UUID

from runvis_core.emit.redaction import cut
from runvis_core.model.event import LogEvent
from runvis_core.model.state import Witness

MAX_LINES: Final = 200
MAX_LINE_CHARACTERS: Final = 2_000
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogRing(logging.Handler):
    """Keeps the last lines and counts all of them."""

    def __init__(self, *, max_lines: int = MAX_LINES, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.counts: Counter[str] = Counter()
        """Lines by severity name, all of them, not only the kept ones."""
        self._lines: deque[str] = deque(maxlen=max_lines)
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        try:
            line = self.format(record)
        except (TypeError, ValueError) as error:  # Arguments that don't fit their message are the caller's.
            line = f"{record.levelname} {record.name}: {record.msg!r} (not formatted: {error})"
        self.append(line, record.levelname)

    def append(self, line: str, severity: str) -> None:
        """Keep a line that did not come by way of `logging`."""
        self.counts[severity] += 1
        self._lines.append(cut(line, MAX_LINE_CHARACTERS))

    def tail(self) -> str:
        """Return the kept lines."""
        return "\n".join(self._lines)

    def clear(self) -> None:
        """Begin anew: for the next run."""
        self.counts.clear()
        self._lines.clear()

    def event(
        self,
        *,
        engine: str,
        deployment: str,
        witness: Witness,
        occurred_at: datetime,
        run_id: UUID,
        url: str | None = None,
    ) -> LogEvent:
        """Return what was logged as an event; `url` is where the engine keeps the full log."""
        return LogEvent(
            engine=engine,
            deployment=deployment,
            witness=witness,
            occurred_at=occurred_at,
            run_id=run_id,
            counts=dict(self.counts),
            content={"tail": self.tail()} if self._lines else {},
            url=url,
        )
