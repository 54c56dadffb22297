"""All projections beside the log, and bringing them up before an answer."""

from __future__ import annotations

from typing import Final

from runvis_core.ledger.stored_tiles import LedgerStep
from runvis_core.lineage.step import LineageStep
from runvis_core.services.loop_news import tell_of_loops
from runvis_core.store.account import ACCOUNT
from runvis_core.store.failures import Failures
from runvis_core.store.intervals import INTERVALS
from runvis_core.store.rollups import Rollups
from runvis_core.store.steps import Step

LEDGER: Final = LedgerStep()
ROLLUPS: Final = Rollups()
FAILURES: Final = Failures()
LINEAGE: Final = LineageStep(tell_of_loops)
STEPS: Final[tuple[Step, ...]] = (LEDGER, ACCOUNT, INTERVALS, ROLLUPS, FAILURES, LINEAGE)
"""In the order in which they are brought up: a step may read what one before it wrote."""
