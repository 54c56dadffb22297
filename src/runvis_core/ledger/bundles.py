"""Proof bundles: the entries about a run, with what shows to anybody that they stand in a log that was signed.

A bundle is a JSON file in one form only: a file that differs from it by one byte does not verify. It needs no store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runvis_core.errors import NoteError, ProofError
from runvis_core.ledger.checkpoints import Checkpoint, open_checkpoint
from runvis_core.ledger.notes import VerifierKey, decode_base64, encode_base64
from runvis_core.ledger.tree import verify_inclusion
from runvis_core.model.encoding import leaf_hash

FORMAT: Final = "runvis-proof/1"
MAX_BUNDLE_BYTES: Final = 256 * 1024 * 1024
_FIELDS: Final = {"format", "run_id", "checkpoint", "newer_entries", "entries", "sha256"}
_ENTRY_FIELDS: Final = {"position", "entry", "proof"}


class ProvenEntry(NamedTuple):
    """An entry and the proof that it stands at its position."""

    position: int
    entry: bytes
    proof: list[bytes]


class Bundle(NamedTuple):
    """A bundle whose proofs hold."""

    run_id: UUID
    checkpoint: Checkpoint
    entries: list[ProvenEntry]
    newer_entries: int
    """Entries about the run that came after the checkpoint, as the log's keeper says."""


def encode_bundle(run_id: UUID, note: str, entries: Sequence[ProvenEntry], *, newer_entries: int) -> bytes:
    """Return a bundle's bytes. Raises `ProofError` for an entry that is no UTF-8, as none of RunVis's is."""
    try:
        said = [
            {
                "position": entry.position,
                "entry": entry.entry.decode(),
                "proof": [encode_base64(value) for value in entry.proof],
            }
            for entry in entries
        ]
    except UnicodeDecodeError:
        raise ProofError("an entry of this run is no text: run `runvis verify`") from None
    content = {
        "format": FORMAT,
        "run_id": str(run_id),
        "checkpoint": note,
        "newer_entries": newer_entries,
        "entries": said,
    }
    return _encode(content | {"sha256": hashlib.sha256(_encode(content)).hexdigest()})


def _encode(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def verify_bundle(data: bytes, keys: Sequence[VerifierKey]) -> Bundle:
    """Return what a bundle proves, with the keys that whoever verifies trusts. Raises `ProofError` or `NoteError`."""
    said = _read(data)
    checkpoint = open_checkpoint(said["checkpoint"], keys)
    run_id = said["run_id"]
    entries = [_prove(one, checkpoint) for one in said["entries"]]
    if not entries:
        raise ProofError("the bundle has no entries")
    for before, entry in pairwise(entries):
        if before.position >= entry.position:
            raise ProofError("the entries are not in the log's order")
    for entry in entries:
        event = orjson.loads(entry.entry)["event"]
        if event.get("run_id") != run_id:
            raise ProofError(f"entry {entry.position} is not about the run {run_id}")
    return Bundle(UUID(run_id), checkpoint, entries, said["newer_entries"])


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BUNDLE_BYTES:
        raise ProofError(f"the bundle has more than {MAX_BUNDLE_BYTES} bytes")
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProofError(f"the bundle is no JSON: {error}") from None
    if not isinstance(said, dict) or set(said) != _FIELDS or said["format"] != FORMAT:  # pyright: ignore[reportUnknownArgumentType]
        raise ProofError(f"this is no bundle of the form {FORMAT}")
    content: dict[str, Any] = {**said}
    digest = content.pop("sha256")
    try:
        is_whole = _encode(said) == data and digest == hashlib.sha256(_encode(content)).hexdigest()  # pyright: ignore[reportUnknownArgumentType]
    except orjson.JSONEncodeError:  # More is read than is written: deeper than any bundle is.
        is_whole = False
    if not is_whole:
        raise ProofError("the bundle was changed, or is not whole: its bytes are not those that were written")
    is_number = isinstance(content["newer_entries"], int) and not isinstance(content["newer_entries"], bool)
    is_text = all(isinstance(content[name], str) for name in ("run_id", "checkpoint"))
    if not is_text or not isinstance(content["entries"], list) or not is_number or content["newer_entries"] < 0:
        raise ProofError("the bundle's fields are not of their kinds")
    try:
        is_id = str(UUID(content["run_id"])) == content["run_id"]
    except ValueError:
        is_id = False
    if not is_id:
        raise ProofError("the bundle names no run")
    return content


def _prove(one: Any, checkpoint: Checkpoint) -> ProvenEntry:
    if not isinstance(one, dict) or set(one) != _ENTRY_FIELDS:  # pyright: ignore[reportUnknownArgumentType]
        raise ProofError("the bundle has what is no entry")
    said: dict[str, Any] = {**one}
    position, text, proof = said["position"], said["entry"], said["proof"]
    if not isinstance(position, int) or isinstance(position, bool) or not isinstance(text, str):
        raise ProofError("the bundle has what is no entry")
    entry = text.encode()
    try:
        hashes = [decode_base64(value, f"the proof of entry {position}") for value in proof]
        is_envelope = isinstance(orjson.loads(entry)["event"], dict)
    except (NoteError, TypeError, AttributeError, ValueError, KeyError) as error:
        raise ProofError(f"entry {position} can't be read: {error}") from None
    if not is_envelope:
        raise ProofError(f"entry {position} holds no event")
    try:
        verify_inclusion(leaf_hash(entry), index=position - 1, size=checkpoint.size, proof=hashes, root=checkpoint.root)
    except ProofError as error:
        raise ProofError(f"entry {position}: {error}") from None
    return ProvenEntry(position, entry, hashes)
