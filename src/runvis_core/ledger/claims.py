"""What was signed of a log, in the store and elsewhere: read, verified, and ready to be held against the entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select

from runvis_core.errors import LedgerError
from runvis_core.ledger.checkpoints import Checkpoint, parse_checkpoint
from runvis_core.ledger.declarations import EPOCH, Declaration, Trust
from runvis_core.ledger.notes import VerifierKey, parse_note, parse_signatures, signature_holds
from runvis_core.ledger.tiles import WIDTH
from runvis_core.model.decision import DECLARATION, Declared
from runvis_core.store import tables as t


class Claim(NamedTuple):
    """A checkpoint that the log must agree with."""

    name: str
    """What to call it in words: its number in the store, or the file that holds it."""
    checkpoint: Checkpoint
    tail: bytes | None = None
    """The leaf hashes after its last full tile, where it was kept with them."""


class Claims:
    """All checkpoints of a log, and what is wrong with them before they are held against it."""

    def __init__(self, connection: Connection, keys: Sequence[VerifierKey], held: Mapping[str, Sequence[str]]) -> None:
        """`keys` are those that the verifier trusts; `held` are notes kept elsewhere, by what to call them."""
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.trust = Trust(keys)
        self._is_checking_signatures = bool(keys)
        if not keys:
            self.notes.append("no key was given: the checkpoints' signatures were not checked")
        self._read_declarations(connection)
        rows = connection.execute(select(t.checkpoints).order_by(t.checkpoints.c.number)).all()
        self.stored = len(rows)
        self.all = list(self._read_checkpoints(rows))
        self._read_cosignatures(connection, {row.number: row.note for row in rows})
        self.all += self._read_held(held, {one.checkpoint.origin for one in self.all})
        self.all.sort(key=lambda claim: claim.checkpoint.size)

    def _read_declarations(self, connection: Connection) -> None:
        rows = connection.execute(select(t.declarations).order_by(t.declarations.c.number)).all()
        self._require_order("declaration", (row.number for row in rows))
        notes: dict[int, str] = {row.number: row.note for row in rows}
        for number, (position, note) in find_declared(connection).items():
            if number not in notes:
                self.problems.append(f"declaration {number}: removed, and entry {position} has it")
            elif notes[number] != note:
                self.problems.append(f"declaration {number}: is not the one that entry {position} has")
            # What the log says counts: a key that was revoked stays revoked.
            notes[number] = note
        first: dict[str, int] = {}
        for number, note in sorted(notes.items()):
            if first.setdefault(note, number) != number:
                # Whoever copies a row needs no key for it.
                self.problems.append(f"declaration {number}: added: it repeats declaration {first[note]}")
            if not self._is_checking_signatures:
                continue
            try:
                self.notes.append(_told(self.trust.accept(note)))
            except LedgerError as error:
                self.problems.append(f"declaration {number}: {error}")

    def _read_checkpoints(self, rows: Sequence[Any]) -> Iterator[Claim]:
        self._require_order("checkpoint", (row.number for row in rows))
        before = 0
        first: dict[str, int] = {}
        for row in rows:
            name = f"checkpoint {row.number}"
            if first.setdefault(row.note, row.number) != row.number:
                # None is made while the log does not grow, and no key is needed to copy one.
                self.problems.append(f"{name}: added: it repeats checkpoint {first[row.note]}")
            try:
                checkpoint = self._open(row.note)
            except LedgerError as error:
                self.problems.append(f"{name}: {error}")
                continue
            if checkpoint != Checkpoint(row.origin, row.size, bytes(row.root)):
                self.problems.append(f"{name}: its columns say otherwise than what was signed")
            if checkpoint.size < before:
                self.problems.append(f"{name}: covers fewer entries than the one before it")
            before = max(before, checkpoint.size)
            if strangers := self._strangers(row.note, checkpoint.origin):
                self.problems.append(
                    f"{name}: is also signed by {strangers}, a key of this log that no declaration here introduces"
                )
            tail = bytes(row.tail)
            if len(tail) != checkpoint.size % WIDTH * 32:
                self.problems.append(f"{name}: the leaf hashes that were kept with it were altered")
                yield Claim(name, checkpoint)
            else:
                yield Claim(name, checkpoint, tail)

    def _read_cosignatures(self, connection: Connection, notes: Mapping[int, str]) -> None:
        known = {(key.name, key.key_id): key for key in self.trust.witnesses()}
        for row in connection.execute(select(t.cosignatures).order_by(t.cosignatures.c.number)):
            name = f"cosignature of {row.name} on checkpoint {row.number}"
            if row.number not in notes:
                self.problems.append(f"{name}: there is no such checkpoint")
                continue
            try:
                (signature,) = parse_signatures(row.line)
                text = parse_note(notes[row.number]).text
            except (LedgerError, ValueError):
                self.problems.append(f"{name}: it, or the checkpoint, can't be read")
                continue
            key = known.get((signature.name, signature.key_id))
            if (signature.name, signature.key_id) != (row.name, bytes(row.key_id)):
                self.problems.append(f"{name}: is somebody else's")
            elif key is not None and not signature_holds(key, text, signature.signature):
                self.problems.append(f"{name}: does not hold")

    def _read_held(self, held: Mapping[str, Sequence[str]], origins: set[str]) -> Iterator[Claim]:
        ended = {one.at.origin: one for one in self.trust.epochs}
        for source, notes in held.items():
            for number, note in enumerate(notes, 1):
                name = f"checkpoint {number} in {source}" if len(notes) > 1 else f"the checkpoint in {source}"
                try:
                    checkpoint = self._open(note)
                except LedgerError as error:
                    self.problems.append(f"{name}: {error}")
                    continue
                epoch = ended.get(checkpoint.origin)
                if origins and checkpoint.origin not in origins and epoch is None:
                    self.problems.append(f"{name}: is one of {checkpoint.origin}, which this store does not know")
                elif epoch is not None and checkpoint.size > epoch.at.size:
                    self.notes.append(
                        f"{name}: covers {checkpoint.size} entries; the log was set back to {epoch.at.size} and "
                        f"declared so: {epoch.reason}"
                    )
                else:
                    yield Claim(name, checkpoint)

    def _strangers(self, note: str, origin: str) -> str:
        known = {key.key_id for key in self.trust.keys}
        signed = [one.key_id for one in parse_note(note).signatures if one.name == origin]
        return ", ".join(one.hex() for one in signed if one not in known) if self._is_checking_signatures else ""

    def _open(self, note: str) -> Checkpoint:
        return (
            self.trust.open_checkpoint(note)
            if self._is_checking_signatures
            else parse_checkpoint(parse_note(note).text)
        )

    def _require_order(self, what: str, numbers: Iterable[int]) -> None:
        expected = 1
        for number in numbers:
            if number != expected:
                missing = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
                self.problems.append(f"{what} {missing}: removed, or {what} {number}: added")
            expected = number + 1


def find_declared(connection: Connection) -> dict[int, tuple[int, str]]:
    """Return by number the declarations that the log's entries tell of, each with its entry's position."""
    query = (
        select(t.entries.c.position, t.entries.c.entry)
        .join(t.decisions, t.decisions.c.position == t.entries.c.position)
        .where(t.decisions.c.name == DECLARATION)
        .order_by(t.entries.c.position)
    )
    found: dict[int, tuple[int, str]] = {}
    for row in connection.execute(query):
        try:
            declared = Declared.model_validate(orjson.loads(row.entry)["event"]["details"])
        except (ValueError, KeyError, TypeError):
            # An entry that was bent is named where entries are looked at.
            continue
        found[declared.number] = (row.position, declared.note)
    return found


def _told(declared: Declaration) -> str:
    at = f"at {declared.at.size} entries"
    if declared.verb == EPOCH:
        return f"{at} a new epoch was declared, {declared.subject}: {declared.reason}"
    verb = {"add-key": "added", "revoke-key": "revoked"}[declared.verb]
    return f"{at} a key was {verb}, {declared.subject}: {declared.reason}"
