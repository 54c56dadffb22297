"""All projections beside the log, and bringing them up before an answer."""

from __future__ import annotations

from typing import Final

from runvis_core.lineage.step import LineageStep
from runvis_core.services.loop_news import tell_of_loops
from runvis_core.store.steps import Step

LINEAGE: Final = LineageStep(tell_of_loops)

STEPS: Final[tuple[Step, ...]] = (LINEAGE,)
"""In the order in which they are brought up: a step may read what one before it wrote."""
