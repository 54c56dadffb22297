"""The tree as a store holds it: full tiles, grown off the ingest path; the rest is in the entries' leaf hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, insert, select

from runvis_core.errors import LedgerError
from runvis_core.ledger.tiles import WIDTH, Tile, TileTree, encode_bundle, split_hashes
from runvis_core.ledger.tree import full_subtree_root
from runvis_core.store import tables as t
from runvis_core.store.log import StoredEntry

NAME: Final = "ledger"
"""The name of the step."""


class LedgerStep:
    """Keeps the full tiles: a step beside the log.

    A tile that is there already stays as it is, also when the log would now have another one: it testifies to what the
    log was, and `verify` says that they differ.
    """

    @property
    def name(self) -> str:
        """The name under which the step's position is kept."""
        return NAME

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Add the tiles that these entries fill."""
        start, end = entries[0].position - 1, entries[-1].position
        if end - start != len(entries):
            raise LedgerError(f"entries between {start + 1} and {end} are missing: run `runvis verify`")
        first, width = divmod(start, WIDTH)
        # After a rebuild the step begins again, maybe in the middle of a tile whose first entries are in the archive.
        leaves = split_hashes(read_tile(connection, Tile(0, first, width))) if width else []
        leaves += [entry.leaf_hash for entry in entries]
        full = len(leaves) // WIDTH
        filled = {first + k: leaves[k * WIDTH : (k + 1) * WIDTH] for k in range(full)}
        level = 0
        while filled:
            _add_tiles(connection, level, filled)
            level += 1
            parents = {number // WIDTH for number in filled if number % WIDTH == WIDTH - 1}
            filled = {number: _roots(connection, level - 1, number * WIDTH, WIDTH) for number in parents}


def _add_tiles(connection: Connection, level: int, filled: dict[int, list[bytes]]) -> None:
    columns = t.tiles.c
    query = select(columns.number).where(columns.level == level, columns.number.in_(list(filled)))
    standing = set(connection.execute(query).scalars())
    rows = [
        {"level": level, "number": number, "root": full_subtree_root(hashes), "hashes": b"".join(hashes)}
        for number, hashes in sorted(filled.items())
        if number not in standing
    ]
    if rows:
        connection.execute(insert(t.tiles), rows)


def _leaves(connection: Connection, start: int, end: int) -> list[bytes]:
    """Return the leaf hashes from index `start` to before `end`. Raises `LedgerError` if one is missing."""
    position = t.entries.c.position
    query = select(t.entries.c.leaf_hash).where(position > start, position <= end).order_by(position)
    found = [bytes(leaf) for leaf in connection.execute(query).scalars()]
    if len(found) != end - start:
        raise LedgerError(f"entries between {start + 1} and {end} are missing: run `runvis verify`")
    return found


def _roots(connection: Connection, level: int, start: int, width: int) -> list[bytes]:
    columns = t.tiles.c
    query = (
        select(columns.root)
        .where(columns.level == level, columns.number >= start, columns.number < start + width)
        .order_by(columns.number)
    )
    found = [bytes(root) for root in connection.execute(query).scalars()]
    if len(found) != width:
        raise LedgerError(f"tiles of level {level} between {start} and {start + width - 1} are missing")
    return found


def read_tile(connection: Connection, tile: Tile) -> bytes:
    """Return the hashes of a tile, full or partial. Raises `LedgerError` if the log is not that long."""
    assert tile.level is not None
    columns = t.tiles.c
    query = select(columns.hashes).where(columns.level == tile.level, columns.number == tile.number)
    stored = connection.execute(query).scalar_one_or_none()
    if stored is not None:
        return bytes(stored)[: tile.width * 32]
    start = tile.number * WIDTH
    if tile.level == 0:
        return b"".join(_leaves(connection, start, start + tile.width))
    return b"".join(_roots(connection, tile.level - 1, start, tile.width))


def read_bundle(connection: Connection, tile: Tile) -> bytes:
    """Return the bundle of entries at a tile's place. Raises `LedgerError` if they are not there, or not any more."""
    position = t.entries.c.position
    start = tile.number * WIDTH
    query = select(t.entries.c.entry).where(position > start, position <= start + tile.width).order_by(position)
    found = [bytes(entry) for entry in connection.execute(query).scalars()]
    if len(found) != tile.width:
        raise LedgerError(f"{tile.path} is not in the store")
    return encode_bundle(found)


def tree_of(connection: Connection, size: int) -> TileTree:
    """Return the tree of the first `size` entries, for proofs."""
    return TileTree(size, lambda tile: read_tile(connection, tile))


def tail_of(connection: Connection, size: int) -> bytes:
    """Return the leaf hashes of the tree of that size that no full tile of it holds."""
    number, width = divmod(size, WIDTH)
    return read_tile(connection, Tile(0, number, width)) if width else b""
