"""The RFC 6962 Merkle tree: roots, proofs, and their verification. Indexes begin at 0; a log's positions at 1.

Verification is strict: a proof of another length than the tree's sizes ask for does not hold, whatever it hashes to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from runvis_core.errors import ProofError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
MAX_SIZE: Final = 2**63 - 1

GetNode = Callable[[int, int], bytes]
"""`get_node(level, index)`: the root over the full subtree of `1 << level` leaves that begins at `index << level`."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees' roots."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: all that the next leaf and the root need, in O(log n) memory."""

    def __init__(self) -> None:
        self.size = 0
        # Roots of the full subtrees that the leaves fall into, the largest first.
        self._roots: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        carry, size = leaf, self.size
        while size & 1:
            carry = node_hash(self._roots.pop(), carry)
            size >>= 1
        self._roots.append(carry)
        self.size += 1

    def append_subtree(self, level: int, root: bytes) -> None:
        """Add `1 << level` leaves at once by the root over them. The size must be a multiple of their number."""
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of {1 << level} leaves does not begin at {self.size}")
        carry, size = root, self.size >> level
        while size & 1:
            carry = node_hash(self._roots.pop(), carry)
            size >>= 1
        self._roots.append(carry)
        self.size += 1 << level

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def full_subtree_root(nodes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of neighbouring nodes of one level."""
    level = list(nodes)
    while len(level) > 1:
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def _full_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield level and index of the largest full subtrees of the leaves from `start` to `end`, from the left."""
    while start < end:
        level = min((start & -start).bit_length() - 1 if start else 63, (end - start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def range_hash(get_node: GetNode, start: int, end: int) -> bytes:
    """Return the hash that the tree has over the leaves from `start` to before `end`, where these are one subtree."""
    if start == end:
        return EMPTY_ROOT
    hashes = [get_node(level, index) for level, index in _full_subtrees(start, end)]
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _split(size: int) -> int:
    """Return the largest power of two below a size of 2 or more."""
    return 1 << ((size - 1).bit_length() - 1)


def prove_inclusion(get_node: GetNode, index: int, size: int) -> list[bytes]:
    """Return the proof that the leaf at `index` is in the tree of `size` leaves. Raises `ProofError` if it can't be."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"a tree of {size} leaves has none at {index}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(range_hash(get_node, middle, end))
            end = middle
        else:
            proof.append(range_hash(get_node, start, middle))
            start = middle
    return proof[::-1]


def prove_consistency(get_node: GetNode, old_size: int, new_size: int) -> list[bytes]:
    """Return the proof that the tree of `old_size` leaves is the beginning of that of `new_size`.

    It is empty where the sizes are the same or the old tree is. Raises `ProofError` where the old one is larger.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ProofError(f"a tree of {old_size} leaves is no beginning of one of {new_size}")
    if old_size in (0, new_size):
        return []
    proof: list[bytes] = []
    start, end = 0, new_size
    is_known = True
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(range_hash(get_node, middle, end))
            end = middle
        else:
            proof.append(range_hash(get_node, start, middle))
            start = middle
            is_known = False
    if not is_known:
        proof.append(range_hash(get_node, start, end))
    return proof[::-1]


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with this hash is at `index` in the tree of that size and root. Raises `ProofError`."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"a tree of {size} leaves has none at {index}")
    _require_hashes([leaf, root, *proof])
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise ProofError(f"the proof has {len(proof)} hashes, not {inner + border}")
    made = leaf
    for level, sibling in enumerate(proof[:inner]):
        made = node_hash(sibling, made) if index >> level & 1 else node_hash(made, sibling)
    for sibling in proof[inner:]:
        made = node_hash(sibling, made)
    if made != root:
        raise ProofError("the proof leads to another root")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of `new_size` begins with all of that of `old_size`. Raises `ProofError`."""
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ProofError(f"a tree of {old_size} leaves is no beginning of one of {new_size}")
    _require_hashes([old_root, new_root, *proof])
    if old_size in (0, new_size):
        _verify_without_proof(old_size, old_root, new_size, new_root, proof)
        return
    # Both roots are made from the old tree's last full subtree up, the old one of what lies left of it.
    shift = (old_size & -old_size).bit_length() - 1
    inner = ((old_size - 1) ^ (new_size - 1)).bit_length() - shift
    border = ((old_size - 1) >> (inner + shift)).bit_count()
    is_whole = old_size == 1 << shift
    expected = inner + border + (0 if is_whole else 1)
    if len(proof) != expected:
        raise ProofError(f"the proof has {len(proof)} hashes, not {expected}")
    seed, rest = (old_root, proof) if is_whole else (proof[0], proof[1:])
    index = (old_size - 1) >> shift
    old = new = seed
    for level, sibling in enumerate(rest):
        if level >= inner or index >> level & 1:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if old != old_root:
        raise ProofError("the proof leads to another old root")
    if new != new_root:
        raise ProofError("the proof leads to another new root")


def _verify_without_proof(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    if proof:
        raise ProofError(f"the proof has {len(proof)} hashes, not 0")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise ProofError("the old root is not that of an empty tree")
    if old_size == new_size and old_root != new_root:
        raise ProofError("two trees of one size have two roots")


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise ProofError(f"a hash has {HASH_BYTES} bytes")
