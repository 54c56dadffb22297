"""A checkpoint that was just made, as the hook gives it to whoever takes it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from runvis_core.ledger.checkpoints import Checkpoint


class MadeCheckpoint(NamedTuple):
    """A checkpoint, the note that says so, and the way to prove that it goes on from an older one."""

    checkpoint: Checkpoint
    note: str
    previous_size: int
    """The size of the checkpoint before it; 0 for the first one of a log or an epoch."""
    prove_since: Callable[[int], list[bytes]]
    """Returns the consistency proof from an older size. Raises `ProofError` for a size that the log never had."""
