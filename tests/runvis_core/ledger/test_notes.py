"""Signed notes and checkpoints: published examples hold, and nothing that differs by one byte does."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.scale import found

from runvis_core.errors import NoteError
from runvis_core.ledger.checkpoints import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from runvis_core.ledger.notes import (
    COSIGNATURE,
    MAX_SIGNATURES,
    VerifierKey,
    cosign,
    cosigner_key,
    new_key,
    open_note,
    parse_note,
    parse_signatures,
    parse_signing_key,
    parse_verifier_key,
    sign_note,
)
from runvis_core.ledger.tree import EMPTY_ROOT

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PETERS_NOTE = f"{PETERS_TEXT}\n{PETERS_LINE}"
SALVATORES_NOTE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3Ze"
    "kRwNtIc=\n"
)
KEY = new_key("example.com/log")
OTHER = new_key("example.com/other")
CHECKPOINT = Checkpoint("example.com/log", 20_852_163, bytes(range(32)))


def refused(note: str | bytes, *keys: str | VerifierKey) -> bool:
    try:
        open_note(note, [parse_verifier_key(key) if isinstance(key, str) else key for key in keys])
    except NoteError:
        return True
    return False


def test_the_published_note_is_made_and_verified_byte_for_byte() -> None:
    assert sign_note(PETERS_TEXT, [parse_signing_key(PETERS_SECRET)]) == PETERS_NOTE
    text, signatures = open_note(PETERS_NOTE, [parse_verifier_key(PETER)])
    assert (text, [signature.line for signature in signatures]) == (PETERS_TEXT, [PETERS_LINE])
    assert parse_signing_key(PETERS_SECRET).verifier.encode() == PETER
    assert parse_signing_key(PETERS_SECRET).encode() == PETERS_SECRET
    found("interoperability", note_vectors=1)


def test_the_specification_s_example_is_read_as_it_stands() -> None:
    note = parse_note(SALVATORES_NOTE)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    (signature,) = note.signatures
    assert (signature.name, signature.key_id.hex(), len(signature.signature)) == (
        "quasimodo.example/salvatore",
        "367ba04b",
        64,
    )
    assert note.encode() == SALVATORES_NOTE
    found("interoperability", note_vectors=1)


def test_no_byte_of_a_note_can_change() -> None:
    data = PETERS_NOTE.encode()
    for place in range(len(data)):
        for bit in range(8):
            changed = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            assert refused(changed, PETER), changed
        assert refused(data[:place], PETER)
        assert refused(data[:place] + data[place + 1 :], PETER)
    assert refused(data + b"\n", PETER)
    assert refused(data + b"x", PETER)


def test_no_part_and_no_change_of_a_key_is_a_key() -> None:
    for text, parse in ((PETER, parse_verifier_key), (PETERS_SECRET, parse_signing_key)):
        for start in range(len(text)):
            for end in range(start, len(text) + 1):
                if (start, end) != (0, len(text)):
                    with pytest.raises(NoteError):
                        parse(text[start:end])
        for place, char in enumerate(text):
            with pytest.raises(NoteError):
                parse(text[:place] + chr(ord(char) + 1) + text[place + 1 :])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\u2003b", "a\nb", "\ud800"])
def test_a_key_has_a_plain_name(name: str) -> None:
    with pytest.raises(NoteError, match="can't name a key"):
        new_key(name)


def test_a_signing_key_does_not_show_itself() -> None:
    assert repr(KEY) == "SigningKey('example.com/log')"
    assert KEY.encode().split("+")[-1] not in f"{KEY!r} {KEY!s}"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        f"text\n{PETERS_LINE}",
        f"text\n\n{PETERS_LINE}\n",
        f"text\n\n{PETERS_LINE[:-1]}",
        f"te\x00xt\n\n{PETERS_LINE}",
        f"te\rxt\n\n{PETERS_LINE}",
        f"text\n\n-- {PETERS_LINE[2:]}",
        f"text\n\n—  {PETERS_LINE[2:]}",
        f"text\n\n{PETERS_LINE}{PETERS_LINE[:-3]}\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAA\n",
        "text\n\n— na+me AAAAAAAA\n",
        "text\n\n— name AAAAAAB=\n",
        b"te\xfft\n\n" + PETERS_LINE.encode(),
        "\ud800",
    ],
)
def test_what_is_not_well_formed_is_no_note(note: str | bytes) -> None:
    with pytest.raises(NoteError):
        parse_note(note)


@given(st.one_of(st.text(), st.binary()))
def test_no_text_brings_the_reader_of_notes_down(note: str | bytes) -> None:
    assert refused(note, PETER)


def test_a_note_may_have_as_many_signatures_as_the_limit_says() -> None:
    keys = [KEY] * MAX_SIGNATURES
    assert len(parse_note(sign_note("text\n", keys)).signatures) == MAX_SIGNATURES
    with pytest.raises(NoteError, match="more than"):
        sign_note("text\n", [*keys, KEY])


def test_signatures_of_others_are_left_aside_and_one_that_does_not_hold_refuses_the_note() -> None:
    note = sign_note("text\n", [OTHER, KEY])
    assert [signature.name for signature in open_note(note, [KEY.verifier])[1]] == [KEY.name]
    assert refused(note, new_key(KEY.name).verifier)
    assert refused(note)
    ours, theirs = parse_note(note).signatures[1], parse_note(sign_note("other\n", [KEY])).signatures[0]
    bad = f"text\n\n{ours.line}{theirs.line}"
    assert refused(bad, KEY.verifier)
    # The same name with another key's id is somebody else.
    stranger = parse_note(sign_note("text\n", [new_key(KEY.name)])).signatures[0].line
    assert refused(f"text\n\n{stranger}", KEY.verifier)


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    note = sign_checkpoint(CHECKPOINT, [KEY])
    assert open_checkpoint(note, [KEY.verifier]) == CHECKPOINT
    root = base64.b64encode(CHECKPOINT.root).decode()
    assert note.startswith(f"example.com/log\n20852163\n{root}\n\n— example.com/log ")


@pytest.mark.parametrize(
    "text",
    [
        "log\n1\n",
        "log\n01\n{root}\n",
        "log\n-1\n{root}\n",
        "log\n+1\n{root}\n",
        "log\n 1\n{root}\n",
        "log\n1_0\n{root}\n",
        "log\n١\n{root}\n",
        "log\n9223372036854775808\n{root}\n",
        "\n1\n{root}\n",
        "log\n1\n{root}",
        "log\n1\n{root}\nextension\n",
        "log\n1\n{root}\n\n",
        "log\n1\nAAAA\n",
        "log\n1\nno base64\n",
    ],
)
def test_what_is_no_checkpoint_in_its_one_form_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text.format(root=base64.b64encode(EMPTY_ROOT).decode()))


def test_the_verifier_says_which_log_it_is_and_not_the_note() -> None:
    forged = sign_note(CHECKPOINT.encode(), [OTHER])
    with pytest.raises(NoteError, match=r"is one of the log example\.com/log"):
        open_checkpoint(forged, [OTHER.verifier])
    with pytest.raises(NoteError, match="keys of that name"):
        sign_checkpoint(CHECKPOINT, [OTHER])
    with pytest.raises(NoteError, match="keys of that name"):
        sign_checkpoint(CHECKPOINT, [])


def test_a_witness_signs_the_text_and_the_time() -> None:
    secret = bytes(range(32))
    witness = cosigner_key("witness.example/w1", secret)
    assert parse_verifier_key(witness.encode()) == witness
    assert witness.kind == COSIGNATURE
    note = sign_checkpoint(CHECKPOINT, [KEY])
    line = cosign("witness.example/w1", secret, CHECKPOINT.encode(), 1_700_000_000)
    cosigned = note + line.line
    assert open_checkpoint(cosigned, [KEY.verifier, witness]) == CHECKPOINT
    assert [signature.name for signature in open_note(cosigned, [witness])[1]] == ["witness.example/w1"]
    assert parse_signatures(line.line) == (line,)
    later = line._replace(signature=(1_700_000_001).to_bytes(8, "big") + line.signature[8:])
    for wrong in (later, line._replace(signature=line.signature[8:]), line._replace(signature=line.signature[:-1])):
        assert refused(note + wrong.line, witness)
    # A witness's word alone does not make a checkpoint of the log.
    with pytest.raises(NoteError, match="is one of the log"):
        open_checkpoint(cosigned, [witness])


def test_a_witness_of_the_log_s_own_name_is_still_no_key_of_the_log() -> None:
    secret = bytes(range(32))
    line = cosign(KEY.name, secret, CHECKPOINT.encode(), 1)
    with pytest.raises(NoteError, match="is one of the log"):
        open_checkpoint(f"{CHECKPOINT.encode()}\n{line.line}", [cosigner_key(KEY.name, secret)])
