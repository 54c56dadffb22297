"""Proofs from a store: of a run's entries, and the tiles from which others make their own."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, func, select

from runvis_core.errors import LedgerError, NotFoundError
from runvis_core.ledger.bundles import ProvenEntry, encode_bundle
from runvis_core.ledger.stored_tiles import read_bundle, read_tile, tree_of
from runvis_core.ledger.tiles import WIDTH, find_tile
from runvis_core.ledger.tree import prove_inclusion
from runvis_core.services.checkpoints import find_checkpoint
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import reading
from runvis_core.store import tables as t
from runvis_core.store.database import Store


class Proof(NamedTuple):
    """A bundle, and what it took to make it."""

    run_id: UUID
    data: bytes
    entries: int
    newer_entries: int
    tiles_read: int


def prove_run(store: Store, name: str) -> Proof:
    """Return the bundle that shows to anybody what the log holds about a run, up to the last checkpoint.

    Raises `NotFoundError` for no such run, `LedgerError` where no checkpoint covers any of its entries.
    """
    with reading(store) as connection:
        run_id = resolve_run(connection, name)
        checkpoint = find_checkpoint(connection)
        if checkpoint is None:
            raise LedgerError("nothing of this log was signed yet: make a checkpoint with `runvis checkpoint`")
        columns = t.entries.c
        query = select(columns.position, columns.entry).where(columns.run_id == run_id)
        covered = query.where(columns.position <= checkpoint.size).order_by(columns.position)
        rows = connection.execute(covered).all()
        newer = connection.execute(
            select(func.count()).where(columns.run_id == run_id, columns.position > checkpoint.size)
        ).scalar_one()
        if not rows:
            raise LedgerError(
                f"the last checkpoint covers {checkpoint.size} entries, and those of this run are newer: make a new "
                "one with `runvis checkpoint`"
            )
        tree = tree_of(connection, checkpoint.size)
        proven = [
            ProvenEntry(row.position, bytes(row.entry), prove_inclusion(tree.get_node, row.position - 1, tree.size))
            for row in rows
        ]
    data = encode_bundle(run_id, checkpoint.note, proven, newer_entries=newer)
    return Proof(run_id, data, len(proven), newer, tree.tiles_read)


def get_tile(store: Store, path: str) -> bytes:
    """Return the tile or bundle of entries at a C2SP path. Raises `NotFoundError` for one that is not there."""
    tile = find_tile(path)
    if tile is None:
        raise NotFoundError(f"{path} is no tile's path: see C2SP tlog-tiles")
    with reading(store) as connection:
        if not _is_within(connection, tile.level or 0, tile.number, tile.width):
            raise NotFoundError(f"{path} is not there yet")
        try:
            return read_bundle(connection, tile) if tile.level is None else read_tile(connection, tile)
        except LedgerError as error:
            raise NotFoundError(str(error)) from error


def _is_within(connection: Connection, level: int, number: int, width: int) -> bool:
    size: int = connection.execute(select(t.head.c.position)).scalar_one()
    return number * WIDTH + width <= size >> (8 * level)
