"""Checkpoints (C2SP `tlog-checkpoint`): which log, how many entries, which root; signed by the log's keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from runvis_core.errors import NoteError
from runvis_core.ledger.notes import (
    ED25519,
    SigningKey,
    VerifierKey,
    decode_base64,
    encode_base64,
    open_note,
    sign_note,
)
from runvis_core.ledger.tree import HASH_BYTES, MAX_SIZE

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """What a log says of itself at one moment."""

    origin: str
    """The log's name, which is that of its keys."""
    size: int
    root: bytes

    def encode(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what a checkpoint's text says, which has one form only. Raises `NoteError`."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise NoteError("a checkpoint has three lines: origin, size and root; extension lines are not taken")
    origin, size, root = lines[:3]
    if not origin:
        raise NoteError("the checkpoint has no origin")
    if _SIZE.fullmatch(size) is None or int(size) > MAX_SIZE:
        raise NoteError("the checkpoint's size is no number in its one form")
    data = decode_base64(root, "the checkpoint's root")
    if len(data) != HASH_BYTES:
        raise NoteError(f"the checkpoint's root has {len(data)} bytes, not {HASH_BYTES}")
    return Checkpoint(origin, int(size), data)


def sign_checkpoint(checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> str:
    """Return the checkpoint signed by all keys, each of which has the origin's name."""
    if not keys or any(key.name != checkpoint.origin for key in keys):
        raise NoteError(f"a checkpoint of {checkpoint.origin} is signed by keys of that name")
    return sign_note(checkpoint.encode(), keys)


def open_checkpoint(note: str | bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return the checkpoint of a note that a log's key among these signed. Raises `NoteError`.

    Which log and which keys to believe is said by whoever verifies, never by the note.
    """
    given = list(keys)
    text, verified = open_note(note, given)
    checkpoint = parse_checkpoint(text)
    kinds = {(key.name, key.key_id): key.kind for key in given}
    if not any(one.name == checkpoint.origin and kinds[one.name, one.key_id] == ED25519 for one in verified):
        raise NoteError(f"no key that was given is one of the log {checkpoint.origin}")
    return checkpoint
