"""Whether the entries are those that the tree and the checkpoints testify to; if not, which of them are not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, or_, select

from runvis_core.ledger.claims import Claim
from runvis_core.ledger.differences import Differences
from runvis_core.ledger.growth import GrowingTree
from runvis_core.ledger.stored_tiles import NAME
from runvis_core.ledger.tiles import WIDTH, Tile, split_hashes, tile_counts
from runvis_core.ledger.tree import EMPTY_ROOT, HASH_BYTES, full_subtree_root
from runvis_core.store import tables as t

BLOCK_TILES: Final = 16
"""Tiles whose entries one query fetches."""
MAX_SUSPECTS: Final = 2000
"""Tiles with differences that are remembered to be explained."""

Progress = Callable[[int, int], None]
Row = tuple[int, bytes, bytes]
"""Position, leaf hash, entry."""


class _StoredTile(NamedTuple):
    root: bytes
    hashes: list[bytes]


class _Part(NamedTuple):
    """The entries at the place of one tile of leaves."""

    number: int
    leaves: list[bytes | None]
    """Recomputed from the bytes; None where there is no entry."""
    columns: list[bytes | None]
    """As they stand beside the bytes."""

    @property
    def start(self) -> int:
        return self.number * WIDTH


class LedgerCheck:
    """Recomputes the leaves from the entries' bytes and the tree from the leaves, tile by tile."""

    def __init__(self, connection: Connection, claims: Sequence[Claim], *, after: GrowingTree | None = None) -> None:
        """`after` is the tree of what was checked before, and found in order."""
        self._connection = connection
        self.tree = after or GrowingTree()
        self.is_clean = True
        """Whether nothing was found so far."""
        self.head: int = connection.execute(select(t.head.c.position)).scalar_one()
        self._claims = sorted(claims, key=lambda claim: claim.checkpoint.size)
        # What was signed and is gone is looked for, too.
        self._end = max([self.head, *(claim.checkpoint.size for claim in claims if claim.tail is not None)])
        taken = select(t.steps.c.position).where(t.steps.c.name == NAME)
        # Tiles are made a moment after their entries.
        self._tiled: int = (connection.execute(taken).scalar_one_or_none() or 0) // WIDTH
        self._suspects: list[tuple[_Part, list[bytes | None], bool]] = []
        self._left_out = False
        self._proven = 0
        """The largest size at which a checkpoint agrees with the entries."""
        self._broken: list[Claim] = []

    def run(self, progress: Progress, *, on_block: Callable[[], object] = lambda: None) -> Iterator[str]:
        """Yield what is wrong, in words. `on_block` is called when it is a good moment to put the tree down."""
        claims = [claim for claim in self._claims if claim.checkpoint.size > self.tree.size]
        if any(claim.checkpoint.size == 0 and claim.checkpoint.root != EMPTY_ROOT for claim in self._claims):
            yield self._found("a checkpoint of nothing has another root than that of an empty tree")
        for part, stored in self._parts(self.tree.tiles, -(-self._end // WIDTH)):
            yield from self._check_part(part, stored)
            known = [leaf or EMPTY_ROOT for leaf in _filled(part.leaves, self._reference(part, stored))]
            while claims and claims[0].checkpoint.size <= part.start + len(known):
                claim = claims.pop(0)
                self._hold_against(claim, known[: claim.checkpoint.size - part.start])
            if len(known) == WIDTH:
                yield from self._grow(known)
            if part.number % BLOCK_TILES == BLOCK_TILES - 1:
                on_block()
                progress(part.start + len(known), self._end)
        progress(self._end, self._end)
        self._broken += claims
        yield from self._check_extra_tiles()
        yield from self._explained()

    def run_range(self, first: int, last: int, progress: Progress) -> Iterator[str]:
        """Yield what is wrong with the entries from `first` to `last` and the tiles above them."""
        begin, end = (first - 1) // WIDTH, -(-min(last, self._end) // WIDTH)
        for part, stored in self._parts(begin, end):
            yield from self._check_part(part, stored)
            if stored is not None:
                yield from self._check_parents(0, part.number, stored.root)
            progress(part.number + 1 - begin, end - begin)
        yield from self._explained()

    def _found(self, problem: str) -> str:
        self.is_clean = False
        return problem

    def _parts(self, first: int, end: int) -> Iterator[tuple[_Part, _StoredTile | None]]:
        for begin in range(first, end, BLOCK_TILES):
            stop = min(end, begin + BLOCK_TILES)
            rows = fetch_entries(self._connection, begin * WIDTH, stop * WIDTH)
            stored = self._stored_tiles(0, begin, stop)
            for part in _cut(rows, begin, stop, self._end):
                yield part, stored.get(part.number)

    def _stored_tiles(self, level: int, first: int, end: int) -> dict[int, _StoredTile]:
        columns = t.tiles.c
        query = select(columns.number, columns.root, columns.hashes).where(
            columns.level == level, columns.number >= first, columns.number < end
        )
        found: dict[int, _StoredTile] = {}
        for row in self._connection.execute(query):
            hashes = bytes(row.hashes)
            is_whole = len(hashes) == WIDTH * HASH_BYTES
            found[row.number] = _StoredTile(bytes(row.root), split_hashes(hashes) if is_whole else [])
        return found

    def _reference(self, part: _Part, stored: _StoredTile | None) -> list[bytes]:
        """Return the leaf hashes that testify to a part of the log: its tile, else what was kept with a checkpoint."""
        if stored is not None:
            return stored.hashes
        tails = [
            claim.tail
            for claim in self._claims
            if claim.tail is not None and part.start < claim.checkpoint.size < part.start + WIDTH
        ]
        return split_hashes(tails[-1]) if tails else []

    def _check_part(self, part: _Part, stored: _StoredTile | None) -> Iterator[str]:
        if part.number < self._tiled and stored is None:
            yield self._found(f"{Tile(0, part.number).path}: removed")
        reference = self._reference(part, stored)
        agrees = part.leaves[: len(reference)] == reference
        if stored is not None and agrees:
            if part.leaves == part.columns and stored.root == full_subtree_root(reference):
                return
            if stored.root != full_subtree_root(reference):
                yield self._found(f"{Tile(0, part.number).path}: its root was altered")
        if not agrees:
            self.is_clean = False
            self._suspect(part, reference, stored)
        for place, (leaf, column) in enumerate(zip(part.leaves, part.columns, strict=True)):
            if leaf != column:
                known = reference[place] if place < len(reference) else None
                if known is None:
                    yield self._found(
                        f"entry {part.start + place + 1}: altered: its bytes are not those that were hashed"
                    )
                elif leaf == known:
                    yield self._found(
                        f"entry {part.start + place + 1}: its leaf hash was altered, and its bytes were not"
                    )

    def _suspect(self, part: _Part, reference: list[bytes], stored: _StoredTile | None) -> None:
        leaves = part.leaves
        whole = [leaf for leaf in leaves if leaf is not None]
        # The tile's own root tells which of the two was altered, unless that one was altered with it.
        is_tile = stored is not None and len(whole) == WIDTH and full_subtree_root(whole) == stored.root
        if len(self._suspects) < MAX_SUSPECTS:
            padded: list[bytes | None] = [*reference, *[None] * (len(leaves) - len(reference))]
            self._suspects.append((part, padded[: len(leaves)], is_tile))
        else:
            self._left_out = True

    def _hold_against(self, claim: Claim, leaves: list[bytes]) -> None:
        if self.tree.root(leaves) != claim.checkpoint.root:
            self._broken.append(claim)
            self.is_clean = False
            return
        self._proven = max(self._proven, claim.checkpoint.size)
        if claim.tail is not None and claim.tail != b"".join(leaves[: claim.checkpoint.size % WIDTH]):
            self._broken.append(claim._replace(name=f"{claim.name}: the leaf hashes that were kept with it"))

    def _grow(self, leaves: list[bytes]) -> Iterator[str]:
        full: list[tuple[int, int, list[bytes]]] = []
        self.tree.append_tile(leaves, lambda level, number, hashes: full.append((level, number, list(hashes))))
        for level, number, hashes in full:
            stored = self._stored_tiles(level, number, number + 1).get(number)
            if stored is None:
                if number < self._tiled >> (8 * level):
                    yield self._found(f"{Tile(level, number).path}: removed")
            elif stored.hashes != hashes or stored.root != full_subtree_root(hashes):
                yield self._found(f"{Tile(level, number).path}: is not the one that the entries make")

    def _check_parents(self, level: int, number: int, root: bytes) -> Iterator[str]:
        while parent := self._stored_tiles(level + 1, number // WIDTH, number // WIDTH + 1).get(number // WIDTH):
            level, place, number = level + 1, number % WIDTH, number // WIDTH
            if not parent.hashes or parent.hashes[place] != root:
                yield self._found(f"{Tile(level, number).path}: has another root for the tile below it")
                return
            root = parent.root

    def _check_extra_tiles(self) -> Iterator[str]:
        columns = t.tiles.c
        for level in self._connection.execute(select(columns.level).distinct()).scalars().all():
            full = tile_counts(self._end, level)[0] if 0 <= level < 8 else 0
            query = select(columns.number).where(
                columns.level == level, or_(columns.number >= full, columns.number < 0)
            )
            for number in self._connection.execute(query.limit(10)).scalars():
                yield self._found(f"tile {number} of level {level}: added: the log is not that long")

    def _explained(self) -> Iterator[str]:
        differences = Differences()
        for part, reference, is_tile in self._suspects:
            holes = [place for place, leaf in enumerate(part.leaves) if leaf is None]
            is_proven = self._proven >= part.start + len(part.leaves)
            for place, (known, leaf) in enumerate(zip(reference, part.leaves, strict=True)):
                if known is None or known == leaf:
                    continue
                if leaf is None or not (is_proven or is_tile):
                    differences.note(part.start + place + 1, known, leaf)
            if (is_proven or is_tile) and not holes:
                yield self._found(f"{Tile(0, part.number).path}: altered: it is not the one that the entries make")
        yield from map(self._found, differences.explain())
        if differences.is_cut or self._left_out:
            yield self._found("more entries differ than are told here")
        yield from self._said_of_claims()

    def _said_of_claims(self) -> Iterator[str]:
        for claim in islice(self._broken, 3):
            size = claim.checkpoint.size
            gone = f"covers {size} entries, and the log has {self.head}" if size > self._end else ""
            yield self._found(f"{claim.name}: {gone or f'is not what the log is at {size} entries'}")
        if len(self._broken) > 3:
            yield self._found(f"{len(self._broken) - 3} more checkpoints do not agree with the log")


def fetch_entries(connection: Connection, start: int, end: int) -> list[Row]:
    """Return position, leaf hash and bytes of the entries from index `start` to before `end`, by the bare driver."""
    raw: Any = connection.connection.driver_connection
    query = "SELECT position, leaf_hash, entry FROM entries WHERE position > {} AND position <= {} ORDER BY position"
    on_postgresql = connection.dialect.name == "postgresql"
    # In binary, since text would double each byte on its way.
    cursor = raw.cursor(binary=True) if on_postgresql else raw.cursor()
    return cursor.execute(query.format(int(start), int(end))).fetchall()


def _cut(rows: list[Row], begin: int, stop: int, end: int) -> Iterator[_Part]:
    """Yield the parts of a block of entries, with its holes."""
    sha256 = hashlib.sha256
    start = begin * WIDTH
    last = min(end, stop * WIDTH)
    leaves: list[bytes | None] = [sha256(b"\0" + entry).digest() for _, _, entry in rows]
    columns: list[bytes | None] = [leaf for _, leaf, _ in rows]
    if len(rows) != last - start or (rows and (rows[0][0] != start + 1 or rows[-1][0] != last)):
        last = max(last, rows[-1][0] if rows else 0)
        found = {position: (leaf, column) for (position, _, _), leaf, column in zip(rows, leaves, columns, strict=True)}
        leaves = [found.get(position, (None, None))[0] for position in range(start + 1, last + 1)]
        columns = [found.get(position, (None, None))[1] for position in range(start + 1, last + 1)]
    for number in range(begin, begin + -(-len(leaves) // WIDTH)):
        place = (number - begin) * WIDTH
        yield _Part(number, leaves[place : place + WIDTH], columns[place : place + WIDTH])


def _filled(leaves: list[bytes | None], reference: list[bytes]) -> list[bytes | None]:
    """Return the leaves with what testifies to them where the entries are gone."""
    if None not in leaves:
        return leaves
    padded: list[bytes | None] = [*reference, *[None] * len(leaves)]
    return [padded[place] if leaf is None else leaf for place, leaf in enumerate(leaves)]
