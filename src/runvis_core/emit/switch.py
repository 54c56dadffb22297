"""The off switch that works without a restart: a file named `disabled` in the spool's folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

DISABLED_FILE: Final = "disabled"
CHECK_INTERVAL_SECONDS: Final = 1.0


class OffSwitch:
    """Whether recording and delivery are switched off; the file is looked for at most once a second."""

    def __init__(self, spool_dir: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = spool_dir / DISABLED_FILE
        self._monotonic = monotonic
        self._checked_at = float("-inf")
        self._is_off = False

    def is_off(self) -> bool:
        """Return whether somebody switched RunVis off."""
        now = self._monotonic()
        if now - self._checked_at >= CHECK_INTERVAL_SECONDS:
            self._checked_at = now
            try:
                self._is_off = self._file.exists()
            except OSError:  # A folder that can't be looked into holds no switch.
                self._is_off = False
        return self._is_off
