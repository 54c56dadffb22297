"""A tree that grows tile by tile, as it is recomputed from leaves; it can be put down and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from runvis_core.ledger.tiles import HEIGHT, WIDTH
from runvis_core.ledger.tree import EMPTY_ROOT, Frontier, full_subtree_root

OnTile = Callable[[int, int, list[bytes]], None]
"""Called with level, number and hashes of each full tile above the leaves."""


class GrowingTree:
    """The tiles' roots on the right edge, level by level: all that the tree needs to go on."""

    def __init__(self) -> None:
        self.tiles = 0
        """Full tiles of leaves so far."""
        self._pending: list[list[bytes]] = []

    @property
    def size(self) -> int:
        """How many leaves the full tiles have."""
        return self.tiles * WIDTH

    def append_tile(self, leaves: Sequence[bytes], on_tile: OnTile) -> bytes:
        """Add 256 leaves; return their root."""
        root = carry = full_subtree_root(leaves)
        self.tiles += 1
        number = self.tiles
        for level, pending in enumerate(self._pending, 1):
            pending.append(carry)
            if len(pending) < WIDTH:
                return root
            number //= WIDTH
            on_tile(level, number - 1, pending)
            carry = full_subtree_root(pending)
            pending.clear()
        self._pending.append([carry])
        return root

    def root(self, leaves: Sequence[bytes] = ()) -> bytes:
        """Return the root of the tree with some more leaves at its end, fewer than a tile has."""
        if not self.tiles and not leaves:
            return EMPTY_ROOT
        frontier = Frontier()
        for level in range(len(self._pending), 0, -1):
            for carry in self._pending[level - 1]:
                frontier.append_subtree(HEIGHT * level, carry)
        for leaf in leaves:
            frontier.append(leaf)
        return frontier.root()

    def dump(self) -> dict[str, Any]:
        """Return what `load` takes, as JSON values."""
        return {"tiles": self.tiles, "pending": [[root.hex() for root in level] for level in self._pending]}

    @classmethod
    def load(cls, said: dict[str, Any]) -> Self:
        """Return the tree that `dump` put down."""
        tree = cls()
        tree.tiles = said["tiles"]
        tree._pending = [[bytes.fromhex(root) for root in level] for level in said["pending"]]
        return tree
