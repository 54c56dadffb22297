"""What a log's keys declare about themselves: a new key, a revoked one, a new epoch after a restore.

A declaration is a signed note of its own form. It carries trust from the keys that a verifier pinned to those that came
later, and never the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from runvis_core.errors import NoteError
from runvis_core.ledger.checkpoints import Checkpoint, parse_checkpoint
from runvis_core.ledger.notes import ED25519, SigningKey, VerifierKey, open_note, parse_verifier_key, sign_note

HEADER: Final = "runvis/declaration/v1"
ADD_KEY: Final = "add-key"
REVOKE_KEY: Final = "revoke-key"
EPOCH: Final = "epoch"

_KEY_ID: Final = re.compile("[0-9a-f]{8}")
_WORD: Final = re.compile(r"[^\s+]+")
MAX_REASON: Final = 500


class Declaration(NamedTuple):
    """What is declared, at which size and root of which log, and why."""

    at: Checkpoint
    verb: str
    """`add-key`, `revoke-key` or `epoch`."""
    subject: str
    """A verifier key, a key's id, or the new epoch's origin."""
    reason: str

    def encode(self) -> str:
        """Return the text that is signed."""
        return f"{HEADER}\n{self.verb} {self.subject}\n{self.reason}\n{self.at.encode()}"


def parse_declaration(text: str) -> Declaration:
    """Return what a declaration's text says, which has one form only. Raises `NoteError`."""
    header, _, rest = text.partition("\n")
    said, _, rest = rest.partition("\n")
    reason, _, at = rest.partition("\n")
    verb, _, subject = said.partition(" ")
    if header != HEADER:
        raise NoteError("this is no declaration of a log")
    if verb == ADD_KEY:
        parse_verifier_key(subject)
    elif verb == REVOKE_KEY and _KEY_ID.fullmatch(subject) is None:
        raise NoteError("a key is revoked by its id of 8 hexadecimal digits")
    elif verb == EPOCH and _WORD.fullmatch(subject) is None:
        raise NoteError("an epoch has a name without spaces")
    elif verb not in (ADD_KEY, REVOKE_KEY, EPOCH):
        raise NoteError(f"nothing is declared by {verb!r}")
    return Declaration(parse_checkpoint(at), verb, subject, reason)


def sign_declaration(declaration: Declaration, keys: Sequence[SigningKey]) -> str:
    """Return the declaration signed by all keys. Raises `NoteError` for a reason that is no line."""
    reason = declaration.reason
    if "\n" in reason or len(reason) > MAX_REASON:
        raise NoteError(f"a reason is one line of at most {MAX_REASON} characters")
    parse_declaration(declaration.encode())
    return sign_note(declaration.encode(), keys)


class Trust:
    """Which keys speak for a log: those that a verifier pinned, and those that these declared, less the revoked."""

    def __init__(self, pinned: Iterable[VerifierKey]) -> None:
        self.keys = list(dict.fromkeys(pinned))
        self.epochs: list[Declaration] = []
        self._revoked: dict[bytes, int] = {}
        """Public keys, and the size from which on they no longer count."""

    def keys_at(self, origin: str, size: int) -> list[VerifierKey]:
        """Return the keys that may sign a checkpoint of that origin and size."""
        return [
            key
            for key in self.keys
            if key.name == origin and key.kind == ED25519 and size <= self._revoked.get(key.public, size)
        ]

    def witnesses(self) -> list[VerifierKey]:
        """Return the witnesses' keys that were pinned."""
        return [key for key in self.keys if key.kind != ED25519]

    def open_checkpoint(self, note: str) -> Checkpoint:
        """Return a checkpoint that a key signed which counts at its size. Raises `NoteError`."""
        # What an unverified text says chooses the keys to try, and nothing else: the signature is over it.
        claimed = parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
        keys = self.keys_at(claimed.origin, claimed.size)
        if not keys:
            raise NoteError(f"no key that is trusted speaks for {claimed.origin} at size {claimed.size}")
        open_note(note, keys)
        # A cosignature of a witness that is known must hold as well, though alone it would not do.
        return parse_checkpoint(open_note(note, [*keys, *self.witnesses()])[0])

    def accept(self, note: str) -> Declaration:
        """Take in a declaration, signed by a key that counts so far. Raises `NoteError`."""
        claimed = parse_declaration(note.rpartition("\n\n")[0] + "\n")
        origin, size = claimed.at.origin, claimed.at.size
        text, _ = open_note(note, self.keys_at(origin, size))
        declared = parse_declaration(text)
        if declared.verb == ADD_KEY:
            key = parse_verifier_key(declared.subject)
            if key.name != origin:
                raise NoteError(f"a key of {key.name} is no key of {origin}")
            self.keys.append(key)
        elif declared.verb == REVOKE_KEY:
            for key in self.keys:
                if key.name == origin and key.key_id.hex() == declared.subject:
                    self._revoked[key.public] = min(size, self._revoked.get(key.public, size))
        else:
            self.epochs.append(declared)
            self.keys += [renamed(key, declared.subject) for key in self.keys_at(origin, size)]
        return declared


def renamed(key: VerifierKey, name: str) -> VerifierKey:
    """Return the same public key under an epoch's name."""
    return key._replace(name=name)
