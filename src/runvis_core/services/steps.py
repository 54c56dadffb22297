"""All projections beside the log, and bringing them up before an answer."""

from __future__ import annotations

from typing import Final

from runvis_core.store.steps import Step

STEPS: Final[tuple[Step, ...]] = ()
"""In the order in which they are brought up: a step may read what one before it wrote."""
