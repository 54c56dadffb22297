"""Tiles: their paths, how many there are, and that a tree read from them proves what the leaves do."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.errors import LedgerError
from runvis_core.ledger.tiles import (
    Tile,
    TileTree,
    decode_bundle,
    encode_bundle,
    find_tile,
    split_hashes,
    tile_counts,
    tiles_of,
)
from runvis_core.ledger.tree import (
    full_subtree_root,
    prove_consistency,
    prove_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from runvis_core.model.encoding import leaf_hash

PATHS = {
    Tile(0, 1_234_067): "tile/0/x001/x234/067",
    Tile(0, 0): "tile/0/000",
    Tile(1, 999): "tile/1/999",
    Tile(2, 1000, 1): "tile/2/x001/000.p/1",
    Tile(63, 5, 255): "tile/63/005.p/255",
    Tile(None, 273, 112): "tile/entries/273.p/112",
    Tile(None, 1_234_067): "tile/entries/x001/x234/067",
}
NO_PATHS = [
    "tile/0/0",
    "tile/0/0000",
    "tile/0/x000/001",
    "tile/0/001/",
    "tile/00/001",
    "tile/64/001",
    "tile/-1/001",
    "tile/0/001.p/0",
    "tile/0/001.p/256",
    "tile/0/001.p/01",
    "tile/0/001.p",
    "tile/0/x1/001",
    "tile/0/../001",
    "tile/Entries/001",
    "tile/0/x001",
    "/tile/0/001",
    "tile/0/001\n",
    "tile/0/٠٠١",
    "tile/0/" + "x001/" * 9 + "001",
]


@pytest.mark.parametrize(("tile", "path"), PATHS.items())
def test_a_tile_has_the_path_that_every_reader_asks_for(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert find_tile(path) == tile


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path_in_its_one_form_names_no_tile(path: str) -> None:
    assert find_tile(path) is None


@given(st.integers(0, 63), st.integers(0, 10**12), st.integers(1, 256), st.booleans())
def test_each_tile_is_found_by_its_path(level: int, number: int, width: int, of_entries: bool) -> None:
    tile = Tile(None if of_entries else level, number, width)
    assert find_tile(tile.path) == tile


@given(st.text())
def test_no_text_brings_the_reader_of_paths_down(text: str) -> None:
    tile = find_tile(text)
    assert tile is None or tile.path == text


def test_a_tree_of_70000_leaves_has_the_tiles_that_the_specification_counts() -> None:
    assert [tile_counts(70_000, level) for level in range(4)] == [(273, 112), (1, 17), (0, 1), (0, 0)]
    tiles = list(tiles_of(70_000))
    assert Counter(tile.level for tile in tiles) == {0: 274, 1: 2, 2: 1}
    assert [tile.path for tile in tiles if tile.width < 256] == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert list(tiles_of(0)) == []


def cut(leaves: list[bytes]) -> dict[Tile, bytes]:
    """Return the tiles of a tree, made level by level as the specification describes them."""
    tiles: dict[Tile, bytes] = {}
    level, hashes = 0, leaves
    while hashes:
        parts = [hashes[start : start + 256] for start in range(0, len(hashes), 256)]
        tiles |= {Tile(level, number, len(part)): b"".join(part) for number, part in enumerate(parts)}
        hashes = [full_subtree_root(part) for part in parts if len(part) == 256]
        level += 1
    return tiles


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 1000, 66_000])
def test_a_tree_read_from_its_tiles_proves_what_its_leaves_do(size: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(size)]
    tiles, root = cut(leaves), root_of(leaves)
    assert set(tiles) == set(tiles_of(size))
    for index in sorted({0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size))):
        tree = TileTree(size, tiles.__getitem__)
        proof = prove_inclusion(tree.get_node, index, size)
        verify_inclusion(leaves[index], index=index, size=size, proof=proof, root=root)
        # The tiles on the way up, and those on the right edge.
        assert tree.tiles_read <= 2 * 3
        old = prove_consistency(tree.get_node, index + 1, size)
        verify_consistency(
            old_size=index + 1, old_root=root_of(leaves[: index + 1]), new_size=size, new_root=root, proof=old
        )


def test_a_tree_asks_for_no_node_that_it_does_not_have() -> None:
    tree = TileTree(3, lambda _tile: bytes(96))
    for level, index in ((0, 3), (0, 256), (1, 1), (8, 0)):
        with pytest.raises(LedgerError, match="has no"):
            tree.get_node(level, index)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), bytes(257 * 32)])
def test_what_is_no_tile_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError, match="a tile has 1 to 256 hashes"):
        split_hashes(data)


def test_a_tile_of_another_width_is_refused() -> None:
    with pytest.raises(LedgerError, match="has 2 hashes"):
        TileTree(3, lambda _tile: bytes(64)).get_node(0, 0)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


def test_a_bundle_says_lengths_in_16_bits_and_no_more() -> None:
    assert encode_bundle([b"a" * 258]).startswith(b"\x01\x02aa")
    assert decode_bundle(encode_bundle([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(LedgerError, match="longer than a bundle can say"):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00"])
def test_a_bundle_that_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError, match="cut short"):
        decode_bundle(data)


def test_a_bundle_of_too_many_entries_is_refused() -> None:
    with pytest.raises(LedgerError, match="more than 256"):
        decode_bundle(b"\x00\x00" * 257)
