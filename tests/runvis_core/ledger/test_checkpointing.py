"""Checkpoints of a real log: made, verified, handed on; nothing that does not go on is signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runvis_core.errors import LedgerError, NotFoundError, SettingsError
from runvis_core.ledger.checkpoints import open_checkpoint
from runvis_core.ledger.notes import SigningKey, VerifierKey
from runvis_core.ledger.tiles import Tile, decode_bundle, split_hashes, tiles_of
from runvis_core.ledger.tree import root_of
from runvis_core.services.checkpoints import (
    get_checkpoint_note,
    list_checkpoints,
    make_checkpoint,
)
from runvis_core.services.proofs import get_tile
from runvis_core.services.steps import STEPS
from runvis_core.services.verification import verify_store
from runvis_core.settings import Settings, load_settings
from runvis_core.store.database import Store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import catch_up

Grow = Callable[[int], None]


def leaves_of(store: Store) -> list[bytes]:
    return [entry.leaf_hash for entry in store.log.read()]


def verified(store: Store, keys: list[VerifierKey], **options: object) -> list[str]:
    return verify_store(store, keys=keys, **options).problems  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300])
def test_a_checkpoint_says_the_size_and_root_of_the_log(
    store: Store, grow: Grow, settings: Settings, keys: list[VerifierKey], size: int
) -> None:
    grow(size)
    made = make_checkpoint(store, settings)
    assert made.is_new
    checkpoint = open_checkpoint(made.checkpoint.note, keys)
    assert (checkpoint.size, checkpoint.root) == (size, root_of(leaves_of(store)))
    assert get_checkpoint_note(store) == made.checkpoint.note
    assert verified(store, keys) == []


def test_a_log_that_has_not_grown_is_not_signed_again(store: Store, grow: Grow, settings: Settings) -> None:
    grow(3)
    first = make_checkpoint(store, settings)
    again = make_checkpoint(store, settings)
    assert (again.is_new, again.checkpoint) == (False, first.checkpoint)
    grow(1)
    assert make_checkpoint(store, settings).checkpoint.number == 2
    assert [one.size for one in list_checkpoints(store, limit=10).items] == [4, 3]
    assert [one.size for one in list_checkpoints(store, limit=10, before=2).items] == [3]


def test_tiles_are_those_of_the_tree_at_every_path(store: Store, grow: Grow) -> None:
    grow(700)
    leaves = leaves_of(store)
    catch_up(store, STEPS)
    for tile in tiles_of(700):
        hashes = split_hashes(get_tile(store, tile.path))
        start = tile.number * 256
        if tile.level == 0:
            assert hashes == leaves[start : start + tile.width]
        else:
            assert hashes == [root_of(leaves[n * 256 : (n + 1) * 256]) for n in range(tile.width)]
    # What an older, smaller tree had is there as well.
    assert split_hashes(get_tile(store, "tile/0/000.p/3")) == leaves[:3]
    assert split_hashes(get_tile(store, "tile/1/000.p/1")) == [root_of(leaves[:256])]
    entries = [entry.entry for entry in store.log.read()]
    assert decode_bundle(get_tile(store, "tile/entries/002.p/188")) == entries[512:]
    assert decode_bundle(get_tile(store, Tile(None, 1).path)) == entries[256:512]
    for path in ("tile/0/002", "tile/0/002.p/189", "tile/1/000.p/3", "tile/entries/003", "tile/x", "tile/9/000.p/1"):
        with pytest.raises(NotFoundError):
            get_tile(store, path)


def test_tiles_grow_in_any_steps_and_survive_a_rebuild(
    store: Store, grow: Grow, settings: Settings, keys: list[VerifierKey]
) -> None:
    for number in (1, 254, 2, 300, 700):
        grow(number)
        catch_up(store, STEPS)
    made = make_checkpoint(store, settings)
    rebuild_store(store)
    grow(100)
    catch_up(store, STEPS)
    assert verified(store, keys) == []
    assert verified(store, keys, span=(2, 900)) == []
    assert list_checkpoints(store, limit=1).items == [made.checkpoint]


def test_without_a_key_nothing_is_signed(store: Store, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="runvis keys new"):
        make_checkpoint(store, load_settings(url="sqlite:///unused"))
    with pytest.raises(NotFoundError, match="no checkpoint yet"):
        get_checkpoint_note(store)
    assert settings.ledger.key_file is not None


def test_each_checkpoint_goes_to_the_file(
    store: Store, grow: Grow, settings: Settings, keys: list[VerifierKey], tmp_path: Path
) -> None:
    file = tmp_path / "checkpoints"
    settings = with_file(settings, file)
    for _ in range(3):
        grow(2)
        assert make_checkpoint(store, settings).troubles == []
    from runvis_core.services.checkpoint_file import find_last_checkpoint, read_checkpoints

    notes = read_checkpoints(file)
    assert [open_checkpoint(note, keys).size for note in notes] == [2, 4, 6]
    assert find_last_checkpoint(file) == notes[-1]
    file.write_text(file.read_text() + "half of a checkpoint\n")
    assert find_last_checkpoint(file) == notes[-1]
    assert verified(store, keys, held={"the file": notes}) == []


def test_a_file_that_can_t_be_written_is_told_and_the_checkpoint_stays(
    store: Store, grow: Grow, settings: Settings, tmp_path: Path
) -> None:
    grow(2)
    made = make_checkpoint(store, with_file(settings, tmp_path / "nowhere" / "checkpoints"))
    assert made.is_new
    assert "could not be appended" in made.troubles[0]
    assert get_checkpoint_note(store) == made.checkpoint.note


def with_file(settings: Settings, file: Path) -> Settings:
    ledger = settings.ledger.model_copy(update={"checkpoint_file": file})
    return settings.model_copy(update={"ledger": ledger})


def test_a_store_that_was_set_back_signs_nothing_until_it_is_declared(
    store: Store,
    grow: Grow,
    settings: Settings,
    keys: list[VerifierKey],
    key: SigningKey,
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    from runvis_core.services.checkpoint_file import read_checkpoints
    from runvis_core.services.checkpoints import declare_epoch
    from runvis_core.store.database import open_store
    from runvis_core.testing.ledger import lengthen

    file = tmp_path / "checkpoints"
    settings = with_file(settings, file)
    grow(10)
    make_checkpoint(store, settings)
    # The copy that was restored has an older end, and then goes its own way.
    restored = open_store(f"sqlite:///{tmp_path / 'restored.db'}")
    lengthen(restored, 4)
    with pytest.raises(LedgerError, match=r"10 entries were signed, and the log has 4: it was set back"):
        make_checkpoint(restored, settings)
    lengthen(restored, 8)
    with pytest.raises(LedgerError, match="is not the one that was signed at 10 entries"):
        make_checkpoint(restored, settings)
    held = {"the file": read_checkpoints(file)}
    assert any("is not what the log is at 10" in said for said in verified(restored, keys, held=held))

    declare_epoch(restored, settings, reason="restored from a copy", principal="ann", now=restored.clock())
    lengthen(restored, 1)
    made = make_checkpoint(restored, settings)
    assert made.troubles == []
    assert made.checkpoint.origin.startswith(f"{key.name}/epoch-")
    # Who pinned the first key only does not take the new epoch for the old log.
    with pytest.raises(LedgerError):
        open_checkpoint(made.checkpoint.note, keys)
    outcome = verify_store(restored, keys=keys, held={"the file": read_checkpoints(file)})
    assert [said for said in outcome.problems if "is not what the log is at 10" not in said] == []
    assert any("a new epoch was declared" in said for said in outcome.notes)
    # The store that knows nothing of the epoch can't go on either.
    grow(20)
    with pytest.raises(LedgerError, match="of which this store knows nothing"):
        make_checkpoint(store, settings)
    restored.close()
