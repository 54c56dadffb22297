"""What is almost a note, a checkpoint, a key or a proof is read, or refused by the ledger's own error."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.runvis_core.ledger.test_bundles import BUNDLE, KEY, NOTE, forged, holds

from runvis_core.errors import LedgerError
from runvis_core.ledger.bundles import verify_bundle
from runvis_core.ledger.checkpoints import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from runvis_core.ledger.declarations import ADD_KEY, EPOCH, REVOKE_KEY, Declaration, Trust, parse_declaration
from runvis_core.ledger.notes import (
    open_note,
    parse_note,
    parse_signatures,
    parse_signing_key,
    parse_verifier_key,
    sign_note,
)
from runvis_core.services.checkpoint_file import SEPARATOR, find_last_checkpoint, read_checkpoints

HUGE = "9" * 5000
CHECKPOINT = Checkpoint(KEY.name, 11, bytes(32))
ODD = ["", " ", "\x00", "\x1b[2J", "\r", "\u2028", "\ud800", "é", "—", "+", "=" * 8, "A" * 70_000]

names = st.sampled_from([KEY.name, "witness.example", "a b", "a+b", *ODD])
numbers = st.sampled_from(["0", "11", "-1", "+1", "011", "1_1", "١١", "1e3", "0x1", HUGE, str(2**63), str(2**64), ""])
encoded = st.one_of(
    st.binary(max_size=120).map(lambda data: base64.b64encode(data).decode()),
    st.binary(min_size=32, max_size=32).map(lambda data: base64.b64encode(data).decode()),
    st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")),
    st.sampled_from(ODD),
)
dashes = st.sampled_from(["— ", "- ", "—", "", "—\u00a0"])
ends = st.sampled_from(["\n", "", "\r\n", "\n\n"])
signature_lines = st.builds(
    lambda *parts: "".join(parts), dashes, names, st.sampled_from([" ", "  ", ""]), encoded, ends
)
genuine = parse_note(NOTE).signatures[0].line
signatures = st.lists(signature_lines | st.just(genuine), max_size=3).map("".join) | st.integers(0, 200).map(
    lambda many: genuine * many
)
checkpoint_texts = st.builds(
    lambda origin, size, root, rest: f"{origin}\n{size}\n{root}\n{rest}",
    names, numbers, encoded, st.sampled_from(["", "\n", "extension\n", "\n\n"]),
)  # fmt: skip
subjects = st.one_of(names, encoded, st.just(KEY.verifier.encode()), st.just(KEY.verifier.key_id.hex()))
verbs = st.sampled_from([ADD_KEY, REVOKE_KEY, EPOCH, "add-keys", ""])
declaration_texts = st.builds(
    lambda header, verb, subject, reason, at: f"{header}{verb} {subject}\n{reason}\n{at}",
    st.sampled_from(["runvis/declaration/v1\n", "runvis/declaration/v2\n", ""]), verbs, subjects, names,
    checkpoint_texts | st.just(CHECKPOINT.encode()),
)  # fmt: skip
texts = st.one_of(checkpoint_texts, declaration_texts, st.just(CHECKPOINT.encode()), st.sampled_from(ODD), st.text())
notes = st.builds(
    lambda text, gap, lines: f"{text}{gap}{lines}", texts, st.sampled_from(["\n", "", "\n\n"]), signatures
)
keys = st.builds(
    lambda private, name, key_id, data: f"{private}{name}+{key_id}+{data}",
    st.sampled_from(["", "PRIVATE+KEY+"]), names, st.sampled_from(["00000000", "xyz", KEY.verifier.key_id.hex()]),
    encoded | st.binary(min_size=33, max_size=33).map(lambda data: base64.b64encode(data).decode()),
)  # fmt: skip


def read_or_refuse(read: Callable[[Any], object], said: Any) -> None:
    """Read something. What is refused is refused by the ledger's own error, which says why."""
    why = "nothing was refused"
    try:
        read(said)
    except LedgerError as error:
        why = str(error)
    assert why


READERS: Sequence[Callable[[Any], object]] = (
    parse_note,
    parse_checkpoint,
    parse_declaration,
    parse_signatures,
    parse_verifier_key,
    parse_signing_key,
    lambda said: open_note(said, [KEY.verifier]),
    lambda said: open_checkpoint(said, [KEY.verifier]),
    lambda said: Trust([KEY.verifier]).open_checkpoint(said),
    lambda said: Trust([KEY.verifier]).accept(said),
)


@given(st.one_of(notes, texts, keys, signatures))
@example(f"{KEY.name}\n{HUGE}\n{base64.b64encode(bytes(32)).decode()}\n")
@example(NOTE.replace("\n11\n", f"\n{HUGE}\n"))
@example("\n" * 60_000)
def test_what_is_almost_well_formed_is_read_or_refused(said: str) -> None:
    for read in READERS:
        read_or_refuse(read, said)


@given(st.one_of(checkpoint_texts, declaration_texts))
def test_what_a_trusted_key_signed_is_read_or_refused_too(text: str) -> None:
    # Also a key's holder may sign nonsense, by mistake or not.
    try:
        note = sign_note(text, [KEY])
    except (LedgerError, UnicodeEncodeError):
        return
    trust = Trust([KEY.verifier])
    read_or_refuse(trust.accept, note)
    read_or_refuse(trust.open_checkpoint, note)
    assert trust.keys[0] == KEY.verifier


@given(st.lists(st.one_of(notes, st.just(NOTE)), max_size=4), st.binary(max_size=30))
def test_any_file_of_checkpoints_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], rest: bytes
) -> None:
    file = Path(tmp_path_factory.mktemp("kept")) / "checkpoints"
    file.write_bytes(b"".join(one.encode("utf-8", "replace") + SEPARATOR.encode() for one in said) + rest)
    read_or_refuse(read_checkpoints, file)
    read_or_refuse(find_last_checkpoint, file)


nonsense = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from([NOTE, base64.b64encode(bytes(32)).decode(), "A" * 50_000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@given(st.data(), nonsense)
def test_nonsense_in_any_place_of_a_bundle_is_refused(data: st.DataObject, other: Any) -> None:
    def bend(said: dict[str, Any]) -> None:
        place: Any = said
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                place[key] = other
                return
            place = place[key]

    made = forged(bend)
    # Only how many came after it nobody can check: its keeper says so.
    changed = orjson.loads(made)
    del changed["sha256"], changed["newer_entries"]
    genuine = orjson.loads(BUNDLE)
    del genuine["sha256"], genuine["newer_entries"]
    assert not holds(made) or changed == genuine


@pytest.mark.parametrize("depth", [200, 260, 1000, 2000, 100_000])
def test_a_bundle_of_nested_nonsense_is_refused(depth: int) -> None:
    for data in (b"[" * depth, b"[" * depth + b"]" * depth, b'{"format":' * depth + b"1" + b"}" * depth):
        assert not holds(data)
    said = BUNDLE.replace(b'"newer_entries": 1', b'"newer_entries": ' + b"[" * depth + b"]" * depth)
    assert said != BUNDLE
    assert not holds(said)


def test_what_is_refused_takes_no_more_memory_than_a_few_copies_of_it() -> None:
    size = 2 * 1024 * 1024
    hostile: list[tuple[Callable[[Any], object], Any]] = [
        (parse_note, NOTE + genuine * (size // len(genuine))),
        (parse_note, "\n" * size),
        (parse_signatures, genuine * (size // len(genuine))),
        (parse_verifier_key, "A" * size),
        (parse_checkpoint, "9\n" * (size // 2)),
        (parse_checkpoint, f"{KEY.name}\n{'9' * size}\n\n"),
        (lambda said: verify_bundle(said, [KEY.verifier]), b"[" * size),
        (lambda said: verify_bundle(said, [KEY.verifier]), b'"' + b"\\u0041" * (size // 6) + b'"'),
    ]
    tracemalloc.start()
    try:
        for read, said in hostile:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(LedgerError):
                read(said)
            assert tracemalloc.get_traced_memory()[1] - before < 64 * size, said[:40]
    finally:
        tracemalloc.stop()


def test_a_checkpoint_of_any_size_that_there_may_be_is_read() -> None:
    for size in (0, 1, 2**63 - 1):
        checkpoint = Checkpoint(KEY.name, size, bytes(32))
        assert open_checkpoint(sign_checkpoint(checkpoint, [KEY]), [KEY.verifier]) == checkpoint
    declared = Declaration(CHECKPOINT, EPOCH, "example.com/next", "restored")
    assert parse_declaration(declared.encode()) == declared
