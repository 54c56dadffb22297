"""A proof bundle holds as it was written, and no file that differs from it by a byte does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.errors import LedgerError
from runvis_core.ledger.bundles import FORMAT, ProvenEntry, encode_bundle, verify_bundle
from runvis_core.ledger.checkpoints import Checkpoint, sign_checkpoint
from runvis_core.ledger.notes import new_key
from runvis_core.ledger.tree import full_subtree_root, prove_inclusion, range_hash
from runvis_core.model.encoding import leaf_hash
from runvis_core.testing.factories import a_run_id

KEY = new_key("example.com/runvis")
RUN = a_run_id()


def an_entry(place: int, run_id: object = RUN) -> bytes:
    return b'{"event":{"kind":"state","run_id":"%s"},"place":%d}' % (str(run_id).encode(), place)


ENTRIES = [an_entry(place, RUN if place % 3 else a_run_id("other")) for place in range(11)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def node_of(level: int, index: int) -> bytes:
    return full_subtree_root(LEAVES[index << level : (index + 1) << level])


NOTE = sign_checkpoint(Checkpoint(KEY.name, len(LEAVES), range_hash(node_of, 0, len(LEAVES))), [KEY])


def proven(*positions: int) -> list[ProvenEntry]:
    return [
        ProvenEntry(position, ENTRIES[position - 1], prove_inclusion(node_of, position - 1, len(LEAVES)))
        for position in positions
    ]


BUNDLE = encode_bundle(RUN, NOTE, proven(2, 3, 6), newer_entries=1)


def holds(data: bytes) -> bool:
    try:
        verify_bundle(data, [KEY.verifier])
    except LedgerError:
        return False
    return True


def test_a_bundle_proves_what_it_says() -> None:
    bundle = verify_bundle(BUNDLE, [KEY.verifier])
    assert (bundle.run_id, bundle.newer_entries, bundle.checkpoint.size) == (RUN, 1, 11)
    assert [entry.position for entry in bundle.entries] == [2, 3, 6]


def test_no_byte_of_a_bundle_can_change() -> None:
    for place in range(len(BUNDLE)):
        for bit in (0, 1, 5, 7):
            assert not holds(BUNDLE[:place] + bytes([BUNDLE[place] ^ 1 << bit]) + BUNDLE[place + 1 :]), place
        assert not holds(BUNDLE[:place])
        assert not holds(BUNDLE[:place] + BUNDLE[place + 1 :])
        assert not holds(BUNDLE[:place] + b" " + BUNDLE[place:])


def forged(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the bundle with a change, whole again as far as anybody can make it so without the key."""
    said = orjson.loads(BUNDLE)
    del said["sha256"]
    change(said)
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    digest = hashlib.sha256(orjson.dumps(said, option=options)).hexdigest()
    return orjson.dumps(said | {"sha256": digest}, option=options)


def test_a_forger_is_not_helped_by_making_the_bundle_whole_again() -> None:
    def entry(said: dict[str, Any]) -> dict[str, Any]:
        return said["entries"][0]

    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda said: entry(said).update(position=3),
        lambda said: entry(said).update(position=0),
        lambda said: entry(said).update(position=-1),
        lambda said: entry(said).update(position="2"),
        lambda said: entry(said).update(position=True),
        lambda said: entry(said).update(entry=entry(said)["entry"].replace("state", "other")),
        lambda said: entry(said).update(entry=None),
        lambda said: entry(said).update(proof=entry(said)["proof"][:-1]),
        lambda said: entry(said).update(proof=[*entry(said)["proof"], entry(said)["proof"][0]]),
        lambda said: entry(said).update(proof=None),
        lambda said: entry(said).update(proof=["no base64"]),
        lambda said: entry(said).update(more=1),
        lambda said: said["entries"].reverse(),
        lambda said: said["entries"].append(said["entries"][-1]),
        lambda said: said.update(entries=[]),
        lambda said: said.update(entries={}),
        lambda said: said.update(run_id=str(a_run_id("other"))),
        lambda said: said.update(run_id="x"),
        lambda said: said.update(run_id=7),
        lambda said: said.update(checkpoint=NOTE.replace("\n11\n", "\n12\n")),
        lambda said: said.update(checkpoint=sign_checkpoint(Checkpoint(KEY.name, 11, bytes(32)), [KEY])),
        lambda said: said.update(checkpoint=sign_checkpoint(Checkpoint(KEY.name, 11, bytes(32)), [new_key(KEY.name)])),
        lambda said: said.update(format="runvis-proof/2"),
        lambda said: said.update(newer_entries=-1),
        lambda said: said.update(newer_entries=True),
        lambda said: said.pop("newer_entries"),
        lambda said: said.update(more=1),
    ]
    assert holds(forged(lambda said: said))
    for number, change in enumerate(changes):
        assert not holds(forged(change)), number
    # An entry about another run stands in the log, and still proves nothing about this one.
    assert not holds(encode_bundle(RUN, NOTE, proven(1, 2), newer_entries=0))


@given(st.one_of(st.binary(), st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["format", "run_id", "checkpoint", "newer_entries", "entries", "sha256"]), inner, max_size=6
    )).map(orjson.dumps)))  # fmt: skip
def test_nothing_brings_the_reader_of_bundles_down(data: bytes) -> None:
    assert not holds(data)


made_up_entries = st.fixed_dictionaries(
    {
        "position": st.integers(-1, 12) | st.none(),
        "entry": st.sampled_from([one.decode() for one in ENTRIES]) | st.text(),
        "proof": st.lists(st.text(max_size=4), max_size=3),
    }
)
made_up_bundles = st.fixed_dictionaries(
    {
        "format": st.just(FORMAT),
        "run_id": st.just(str(RUN)) | st.text(max_size=3),
        "checkpoint": st.just(NOTE) | st.text(),
        "newer_entries": st.integers(-1, 3),
        "entries": st.lists(made_up_entries, max_size=3),
    }
)


@given(made_up_bundles)
def test_no_made_up_bundle_holds(said: dict[str, Any]) -> None:
    assert not holds(forged(lambda whole: (whole.clear(), whole.update(said))))


def test_an_entry_that_is_no_text_is_not_bundled() -> None:
    with pytest.raises(LedgerError, match="runvis verify"):
        encode_bundle(RUN, NOTE, [ProvenEntry(1, b"\xff", [])], newer_entries=0)
