"""The tree cut into tiles (C2SP `tlog-tiles`), 256 hashes wide and eight levels high; their paths; entry bundles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from runvis_core.errors import LedgerError
from runvis_core.ledger.tree import HASH_BYTES, full_subtree_root

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
MAX_ENTRY_BYTES: Final = 65_535
"""The most that an entry's length, in 16 bits, can say."""

ENTRIES: Final = "entries"

_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-5][0-9]?|[6-9]|6[0-3])/(?P<number>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class Tile(NamedTuple):
    """A place in the tiled tree."""

    level: int | None
    """Tile level; None for a bundle of entries."""
    number: int
    width: int = WIDTH
    """How many hashes or entries it has; fewer than 256 for the last one of its level."""

    @property
    def path(self) -> str:
        """The path under which every C2SP reader asks for it."""
        level = ENTRIES if self.level is None else str(self.level)
        digits = [f"{self.number % 1000:03}"]
        rest = self.number // 1000
        while rest:
            digits.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{level}/{'/'.join(digits)}{partial}"


def find_tile(path: str) -> Tile | None:
    """Return the tile that a path names; None for one that no tile has, or that could be written otherwise."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    digits = found["number"].replace("x", "").split("/")
    if len(digits) > 7:  # Beyond what a log can hold.
        return None
    level = None if found["level"] == ENTRIES else int(found["level"])
    tile = Tile(level, int("".join(digits)), int(found["width"] or WIDTH))
    return tile if tile.path == path else None


def tile_counts(size: int, level: int) -> tuple[int, int]:
    """Return how many full tiles a level of a tree of `size` leaves has, and how wide the partial one is."""
    return divmod(size >> (HEIGHT * level), WIDTH)


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield all tiles that a tree of `size` leaves has, level by level."""
    level = 0
    while size >> (HEIGHT * level):
        full, width = tile_counts(size, level)
        yield from (Tile(level, number) for number in range(full))
        if width:
            yield Tile(level, full, width)
        level += 1


def split_hashes(data: bytes) -> list[bytes]:
    """Return the hashes of a tile's bytes. Raises `LedgerError` for what is no tile."""
    if not data or len(data) % HASH_BYTES or len(data) > WIDTH * HASH_BYTES:
        raise LedgerError(f"a tile has 1 to {WIDTH} hashes of {HASH_BYTES} bytes, not {len(data)} bytes")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries as a bundle: each after its length, big-endian, in 16 bits."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise LedgerError(f"an entry of {len(entry)} bytes is longer than a bundle can say ({MAX_ENTRY_BYTES})")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle. Raises `LedgerError` for one that is cut short or too long."""
    entries: list[bytes] = []
    start = 0
    while start < len(data):
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if start + 2 > len(data) or end > len(data):
            raise LedgerError("the bundle is cut short")
        entries.append(data[start + 2 : end])
        start = end
    if len(entries) > WIDTH:
        raise LedgerError(f"the bundle has more than {WIDTH} entries")
    return entries


class TileTree:
    """A tree of one size read from its tiles; it is what proofs are made from."""

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        """`read` returns a tile's bytes; each tile is read once."""
        self.size = size
        self._read = read
        self._tiles: dict[Tile, list[bytes]] = {}

    @property
    def tiles_read(self) -> int:
        """How many tiles were read."""
        return len(self._tiles)

    def get_node(self, level: int, index: int) -> bytes:
        """Return the root of a full subtree; see `tree.GetNode`."""
        tile_level, height = divmod(level, HEIGHT)
        first = index << height
        number, start = divmod(first, WIDTH)
        hashes = self._hashes(tile_level, number)
        wanted = hashes[start : start + (1 << height)]
        if len(wanted) != 1 << height:
            raise LedgerError(f"the tree of {self.size} leaves has no node {index} on level {level}")
        return full_subtree_root(wanted)

    def _hashes(self, level: int, number: int) -> list[bytes]:
        full, partial = tile_counts(self.size, level)
        tile = Tile(level, number, WIDTH if number < full else partial)
        if number > full or not tile.width:
            raise LedgerError(f"a tree of {self.size} leaves has no tile {number} on level {level}")
        if tile not in self._tiles:
            hashes = split_hashes(self._read(tile))
            if len(hashes) != tile.width:
                raise LedgerError(f"{tile.path} has {len(hashes)} hashes")
            self._tiles[tile] = hashes
        return self._tiles[tile]
