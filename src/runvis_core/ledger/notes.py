"""Signed notes (C2SP `signed-note`), with Ed25519: keys, signing, strict reading.

A verifier takes nothing from the note about whom to trust: the keys come from whoever verifies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from runvis_core.errors import NoteError

MAX_SIGNATURES: Final = 64
"""A note with more is refused; every verifier must take 16."""
MAX_NOTE_BYTES: Final = 1024 * 1024

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
"""A witness's Ed25519 signature with the time at which it was made."""
_TYPES: Final = (ED25519, COSIGNATURE)

_DASH: Final = "— "
PRIVATE: Final = "PRIVATE+KEY+"
"""How the text of a signing key begins."""
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")
_KEY_BYTES: Final = 32


class Signature(NamedTuple):
    """One signature line of a note, whoever made it."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line, with its line feed."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"


class Note(NamedTuple):
    """A note that is well formed. Nothing of it is to be believed before a signature is verified: see `open_note`."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        """Return the note as it is stored and sent."""
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}"


class VerifierKey(NamedTuple):
    """A public key with the name of its owner and what it signs."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Its four bytes in each signature: which key to try, not a proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def encode(self) -> str:
        """Return the key as it is handed to verifiers: `name+id+key`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    def holds(self, message: bytes, signature: bytes) -> bool:
        """Return whether this key made an Ed25519 signature of a message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey(NamedTuple):
    """A private key with the name of its owner. Its text is a secret."""

    name: str
    private: bytes

    def __repr__(self) -> str:
        """Return whose key it is, and nothing of the key."""
        return f"SigningKey({self.name!r})"

    @property
    def verifier(self) -> VerifierKey:
        """The public key that goes with it."""
        public = Ed25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()
        return VerifierKey(self.name, ED25519, public)

    def encode(self) -> str:
        """Return the key as its file holds it."""
        return f"{PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encode_base64(bytes([ED25519]) + self.private)}"

    def sign(self, text: str) -> Signature:
        """Return the signature of a note's text."""
        signature = Ed25519PrivateKey.from_private_bytes(self.private).sign(text.encode())
        return Signature(self.name, self.verifier.key_id, signature)


def new_key(name: str) -> SigningKey:
    """Return a new key. Raises `NoteError` for a name that no key can have."""
    _require_name(name)
    return SigningKey(name, Ed25519PrivateKey.generate().private_bytes_raw())


def parse_verifier_key(text: str) -> VerifierKey:
    """Return the key that `VerifierKey.encode` wrote. Raises `NoteError`."""
    name, key_id, kind, key = _parse_key(text)
    if kind not in _TYPES:
        raise NoteError(f"the key {name!r} signs in a way that this RunVis does not know (type {kind})")
    made = VerifierKey(name, kind, key)
    if made.key_id != key_id:
        raise NoteError(f"the key {name!r} and its id don't belong together: is it copied whole?")
    return made


def parse_signing_key(text: str) -> SigningKey:
    """Return the key that `SigningKey.encode` wrote. Raises `NoteError`, without a word of the key."""
    if not text.startswith(PRIVATE):
        raise NoteError(f"a signing key begins with {PRIVATE}")
    name, key_id, kind, key = _parse_key(text.removeprefix(PRIVATE))
    made = SigningKey(name, key)
    if kind != ED25519 or made.verifier.key_id != key_id:
        raise NoteError(f"the signing key {name!r} and its id don't belong together: is it copied whole?")
    return made


def _parse_key(text: str) -> tuple[str, bytes, int, bytes]:
    # The key's base64 may have a plus sign; the name and the id have none.
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise NoteError("a key is written as name+id+key")
    name, key_id, encoded = parts
    _require_name(name)
    if re.fullmatch("[0-9a-f]{8}", key_id) is None:
        raise NoteError(f"the id of the key {name!r} has no 8 hexadecimal digits")
    data = decode_base64(encoded, f"the key {name!r}")
    if len(data) != 1 + _KEY_BYTES:
        raise NoteError(f"the key {name!r} has {len(data)} bytes, not {1 + _KEY_BYTES}")
    return name, bytes.fromhex(key_id), data[0], data[1:]


def _require_name(name: str) -> None:
    is_plain = bool(name) and "+" not in name and not any(char.isspace() for char in name)
    if not is_plain or _CONTROL.search(name) or not _is_utf8(name):
        raise NoteError(f"{name!r} can't name a key: it is not empty, and has no space and no plus sign")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_base64(data: bytes) -> str:
    """Return bytes in standard base64."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, what: str) -> bytes:
    """Return the bytes of standard base64 in its one form: padded, without a stray bit. Raises `NoteError`."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise NoteError(f"{what} is no base64") from None
    if encode_base64(data) != text:
        raise NoteError(f"{what} is not in the one form of base64")
    return data


def sign_note(text: str, keys: Sequence[SigningKey]) -> str:
    """Return a text signed by all keys. Raises `NoteError` for a text that can't be a note's."""
    note = Note(text, tuple(key.sign(text) for key in keys)).encode()
    return parse_note(note).encode()


def parse_note(note: str | bytes) -> Note:
    """Return the parts of a note, nothing of them verified. Raises `NoteError` for what is not well formed."""
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"the note has more than {MAX_NOTE_BYTES} bytes")
    if isinstance(note, bytes):
        try:
            note = note.decode()
        except UnicodeDecodeError:
            raise NoteError("the note is no UTF-8") from None
    if not _is_utf8(note) or _CONTROL.search(note):
        raise NoteError("the note has control characters")
    # The text ends in a line feed; the last empty line parts it from its signatures.
    text, parted, lines = note.rpartition("\n\n")
    if not parted or not lines.endswith("\n"):
        raise NoteError("the note has no signatures after an empty line, or is cut short")
    found = lines[:-1].split("\n")
    if len(found) > MAX_SIGNATURES:
        raise NoteError(f"the note has {len(found)} signatures, more than {MAX_SIGNATURES}")
    return Note(text + "\n", tuple(_parse_signature(line) for line in found))


def _parse_signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise NoteError("a signature is written as — name base64")
    _require_name(name)
    data = decode_base64(encoded, f"the signature of {name!r}")
    if len(data) < 5:
        raise NoteError(f"the signature of {name!r} is cut short")
    return Signature(name, data[:4], data[4:])


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Return signature lines that came without their note. Raises `NoteError`."""
    return parse_note(f"_\n\n{lines}").signatures


def open_note(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[str, list[Signature]]:
    """Return a note's text and the signatures of these keys, all of which hold.

    Signatures of others are left aside. Raises `NoteError` if one of a given key does not hold, or there is none.
    """
    parsed = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    verified: dict[tuple[str, bytes], Signature] = {}
    for signature in parsed.signatures:
        who = signature.name, signature.key_id
        if who not in known:
            continue
        if not signature_holds(known[who], parsed.text, signature.signature):
            raise NoteError(f"the signature of {signature.name} ({signature.key_id.hex()}) does not hold")
        verified.setdefault(who, signature)
    if not verified:
        raise NoteError("no signature is by a key that was given")
    return parsed.text, list(verified.values())


def signature_holds(key: VerifierKey, text: str, signature: bytes) -> bool:
    """Return whether a key signed a note's text, in the way that the key signs."""
    if key.kind == ED25519:
        return key.holds(text.encode(), signature)
    if len(signature) != 8 + 64:
        return False
    moment = int.from_bytes(signature[:8], "big")
    return key.holds(cosigned_message(text, moment), signature[8:])


def cosigned_message(text: str, moment: int) -> bytes:
    """Return what a witness signs: a checkpoint's text and the time, in whole seconds since 1970."""
    return f"cosignature/v1\ntime {moment}\n{text}".encode()


def cosign(name: str, private: bytes, text: str, moment: int) -> Signature:
    """Return a witness's signature of a checkpoint's text, made at `moment`, in whole seconds since 1970."""
    key = cosigner_key(name, private)
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(cosigned_message(text, moment))
    return Signature(name, key.key_id, moment.to_bytes(8, "big") + signature)


def cosigner_key(name: str, private: bytes) -> VerifierKey:
    """Return the key by which a witness's signatures are verified."""
    return VerifierKey(name, COSIGNATURE, Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())
