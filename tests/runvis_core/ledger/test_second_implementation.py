"""A second implementation, written by others, reads our tiles and checkpoints, and refuses what was changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from tests.faults.scale import found
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint as TheirCheckpoint

from runvis_core.errors import NotFoundError
from runvis_core.ledger.notes import VerifierKey
from runvis_core.ledger.stored_tiles import tree_of
from runvis_core.ledger.tree import prove_consistency, prove_inclusion, root_of
from runvis_core.services.checkpoints import get_checkpoint_note, make_checkpoint
from runvis_core.services.proofs import get_tile
from runvis_core.services.reading import reading
from runvis_core.settings import Settings
from runvis_core.store.database import Store


class Backend:
    """The log as their reader asks for it: by paths."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, *path: str) -> bytes | None:
        if path == ("checkpoint",):
            return get_checkpoint_note(self.store).encode()
        try:
            return get_tile(self.store, "/".join(path))
        except NotFoundError:
            return None


def their_key(key: VerifierKey) -> Vkey:
    theirs = Vkey(key.name, None, key.kind, key.public)
    assert theirs.key_id == int.from_bytes(key.key_id, "big")
    return theirs


@pytest.mark.parametrize("size", [1, 255, 256, 600])
def test_it_finds_our_root_our_entries_and_our_proofs_in_our_tiles(
    store: Store, grow: Callable[[int], None], settings: Settings, keys: list[VerifierKey], size: int
) -> None:
    grow(size)
    make_checkpoint(store, settings)
    reader = TilesReader(Backend(store))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(their_key(keys[0]))
    assert (checkpoint.origin, checkpoint.size) == (keys[0].name, size)
    assert reader.calculate_root_hash() == checkpoint.root_hash
    entries = list(store.log.read())
    with reading(store) as connection:
        ours = tree_of(connection, size).get_node
        for index in {0, size // 2, size - 1}:
            assert reader.get_entry(index) == entries[index].entry
            assert reader.get_inclusion_proof(index, size).node_hashes == prove_inclusion(ours, index, size)
            theirs = reader.get_consistency_proof(index + 1, size)
            assert theirs.node_hashes == prove_consistency(ours, index + 1, size)
            old_root = root_of(entry.leaf_hash for entry in entries[: index + 1])
            theirs.check(old_root, checkpoint.root_hash)
            found("interoperability", checked_by_another=2)


def test_it_refuses_a_checkpoint_that_was_changed(
    store: Store, grow: Callable[[int], None], settings: Settings, keys: list[VerifierKey]
) -> None:
    grow(5)
    note = make_checkpoint(store, settings).checkpoint.note
    with pytest.raises(InvalidSignature):
        TheirCheckpoint.from_text(note.replace("\n5\n", "\n6\n")).verify(their_key(keys[0]))
