"""All projections beside the log, and bringing them up before an answer."""

from __future__ import annotations

from typing import Final

from runvis_core.store.failures import Failures
from runvis_core.store.rollups import Rollups
from runvis_core.store.steps import Step

ROLLUPS: Final = Rollups()
FAILURES: Final = Failures()
STEPS: Final[tuple[Step, ...]] = (ROLLUPS, FAILURES)
"""In the order in which they are brought up: a step may read what one before it wrote."""
