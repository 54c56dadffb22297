"""The tree against published roots and against RFC 6962's own definitions, written out as they stand there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.scale import found

from runvis_core.errors import ProofError
from runvis_core.ledger.tree import (
    EMPTY_ROOT,
    Frontier,
    prove_consistency,
    prove_inclusion,
    range_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from runvis_core.model.encoding import leaf_hash

STANDARD_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
STANDARD_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
ALL_SIZES = range(18)
"""Every shape that a tree has up to four levels and a bit."""


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(bytes([number])) for number in range(size)]


def defined_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = defined_split(len(leaves))
    return hashlib.sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def defined_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = defined_split(len(leaves))
    if index < k:
        return [*defined_path(index, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(index - k, leaves[k:]), defined_root(leaves[:k])]


def defined_proof(old: int, leaves: Sequence[bytes], is_known: bool = True) -> list[bytes]:
    size = len(leaves)
    if old == size:
        return [] if is_known else [defined_root(leaves)]
    k = defined_split(size)
    if old <= k:
        return [*defined_proof(old, leaves[:k], is_known), defined_root(leaves[k:])]
    return [*defined_proof(old - k, leaves[k:], False), defined_root(leaves[:k])]


class Nodes:
    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves

    def __call__(self, level: int, index: int) -> bytes:
        part = self.leaves[index << level : (index + 1) << level]
        assert len(part) == 1 << level, "only full subtrees are asked for"
        return defined_root(part)


def is_shown(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    try:
        verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
    except ProofError:
        return False
    return True


def is_consistent(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: list[bytes]) -> bool:
    try:
        verify_consistency(old_size=old_size, old_root=old_root, new_size=new_size, new_root=new_root, proof=proof)
    except ProofError:
        return False
    return True


def bent(proof: Sequence[bytes]) -> list[list[bytes]]:
    """Return a proof with each of its bytes changed in turn, and with hashes left out, doubled, added or swapped."""
    changed: list[list[bytes]] = []
    for place, value in enumerate(proof):
        for at in range(len(value)):
            other = value[:at] + bytes([value[at] ^ 0x80]) + value[at + 1 :]
            changed.append([*proof[:place], other, *proof[place + 1 :]])
        changed += [
            [*proof[:place], *proof[place + 1 :]],
            [*proof[: place + 1], *proof[place:]],
            [*proof[:place], value[:-1], *proof[place + 1 :]],
            [*proof[:place], value + b"\0", *proof[place + 1 :]],
        ]
    changed += [[*proof, EMPTY_ROOT], [EMPTY_ROOT, *proof], [*proof, b""]]
    changed += [
        [*proof[:place], proof[place + 1], proof[place], *proof[place + 2 :]]
        for place, (one, two) in enumerate(pairwise(proof))
        if one != two
    ]
    return changed


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_the_standard_leaves_are_the_published_ones(size: int) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in STANDARD_LEAVES[:size]]
    is_published = root_of(leaves).hex() == STANDARD_ROOTS[size]
    found("interoperability", roots=1, wrong=int(not is_published))
    assert is_published


@pytest.mark.parametrize("size", range(70))
def test_a_frontier_has_at_each_size_the_root_that_the_definition_gives(size: int) -> None:
    leaves = leaves_of(size)
    assert root_of(leaves) == defined_root(leaves)
    assert size == 0 or range_hash(Nodes(leaves), 0, size) == defined_root(leaves)


def test_a_frontier_takes_full_subtrees_where_they_begin() -> None:
    leaves = leaves_of(13)
    frontier = Frontier()
    frontier.append_subtree(3, defined_root(leaves[:8]))
    frontier.append_subtree(2, defined_root(leaves[8:12]))
    with pytest.raises(ValueError, match="does not begin at 12"):
        frontier.append_subtree(3, EMPTY_ROOT)
    frontier.append(leaves[12])
    assert (frontier.size, frontier.root()) == (13, defined_root(leaves))


@pytest.mark.parametrize("size", ALL_SIZES)
def test_inclusion_proofs_are_those_of_the_definition_and_hold_for_nothing_else(size: int) -> None:
    leaves = leaves_of(size)
    root = defined_root(leaves)
    for index in range(size):
        proof = prove_inclusion(Nodes(leaves), index, size)
        assert proof == defined_path(index, leaves)
        assert is_shown(leaves[index], index, size, proof, root)
        for other in range(-1, size + 2):
            assert other == index or not is_shown(leaves[index], other, size, proof, root)
        for leaf in {*leaves, EMPTY_ROOT, root, *proof} - {leaves[index]}:
            assert not is_shown(leaf, index, size, proof, root)
        for other_root in {EMPTY_ROOT, *leaves, *proof} - {root}:
            assert not is_shown(leaves[index], index, size, proof, other_root)
        assert not any(is_shown(leaves[index], index, size, other, root) for other in bent(proof))
    found("interoperability", proofs=size)


@pytest.mark.parametrize("size", ALL_SIZES)
def test_consistency_proofs_are_those_of_the_definition_and_hold_for_nothing_else(size: int) -> None:
    leaves = leaves_of(size)
    root = defined_root(leaves)
    for old in range(size + 1):
        old_root = defined_root(leaves[:old])
        proof = prove_consistency(Nodes(leaves), old, size)
        assert proof == (defined_proof(old, leaves) if old else [])
        assert is_consistent(old, old_root, size, root, proof)
        assert not any(is_consistent(old, old_root, size, root, other) for other in bent(proof))
        for other in {root, EMPTY_ROOT, b"", *leaves, *proof} - {old_root}:
            assert not is_consistent(old, other, size, root, proof)
        for other in {old_root, EMPTY_ROOT, b"", *leaves, *proof} - {root}:
            # That an empty tree comes before any other is true without a proof.
            assert not is_consistent(old, old_root, size, other, proof) or (old == 0 and len(other) == 32)
        for other_old in range(-1, size + 2):
            if other_old != old:
                assert not is_consistent(other_old, old_root, size, root, proof)
    found("interoperability", proofs=size + 1)


@given(st.integers(1, 700), st.data())
def test_any_proof_of_any_tree_holds(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    frontier, roots = Frontier(), [EMPTY_ROOT]
    for leaf in leaves:
        frontier.append(leaf)
        roots.append(frontier.root())
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(Nodes(leaves), index, size)
    assert is_shown(leaves[index], index, size, proof, roots[size])
    old = data.draw(st.integers(0, size))
    joined = prove_consistency(Nodes(leaves), old, size)
    assert is_consistent(old, roots[old], size, roots[size], joined)
    assert is_consistent(old, roots[old], size, roots[size - 1], joined) == (old == 0)


@given(st.integers(-5, 2**70), st.integers(-5, 2**70), st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_no_sizes_and_no_made_up_proof_bring_the_verifier_down(one: int, two: int, proof: list[bytes]) -> None:
    assert not is_shown(EMPTY_ROOT, one, two, proof, bytes(32))
    assert not is_consistent(one, bytes(32), two, EMPTY_ROOT, proof)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3), (0, 2**63)])
def test_what_is_in_no_tree_is_not_proved(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="has none at"):
        prove_inclusion(Nodes([]), index, size)


def test_a_larger_tree_is_no_beginning_of_a_smaller_one() -> None:
    with pytest.raises(ProofError, match="is no beginning"):
        prove_consistency(Nodes(leaves_of(3)), 3, 2)
