"""Whether a log goes on from an older checkpoint: shown by a proof that whoever verifies makes from the log's tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runvis_core.errors import ProofError
from runvis_core.ledger.checkpoints import Checkpoint, open_checkpoint
from runvis_core.ledger.notes import VerifierKey
from runvis_core.ledger.tiles import TileTree
from runvis_core.ledger.tree import prove_consistency, verify_consistency


def check_consistency(
    old: str, new: str, keys: Sequence[VerifierKey], get_tile: Callable[[str], bytes]
) -> tuple[Checkpoint, Checkpoint]:
    """Return both checkpoints once it is shown that the new one's tree begins with all of the old one's.

    `get_tile` returns a tile of the log by its path; it is believed nothing. Raises `NoteError` or `ProofError`.
    """
    before, now = open_checkpoint(old, keys), open_checkpoint(new, keys)
    if before.origin != now.origin:
        raise ProofError(f"the older checkpoint is one of {before.origin}, and the log is now {now.origin}")
    if before.size > now.size:
        raise ProofError(f"{before.size} entries were signed, and the log now has {now.size}: it was set back")
    tree = TileTree(now.size, lambda tile: get_tile(tile.path))
    proof = prove_consistency(tree.get_node, before.size, now.size)
    verify_consistency(old_size=before.size, old_root=before.root, new_size=now.size, new_root=now.root, proof=proof)
    return before, now
