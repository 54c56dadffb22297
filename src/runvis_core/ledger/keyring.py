"""The file with a log's keys, one a line, all of one name: those that sign every checkpoint, and those that did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from runvis_core.errors import NoteError, SettingsError
from runvis_core.ledger.notes import PRIVATE, SigningKey, VerifierKey, parse_signing_key, parse_verifier_key


class Keyring(NamedTuple):
    """A log's keys."""

    signing: list[SigningKey]
    retired: list[VerifierKey]
    """Keys that sign no longer: what they signed stays verifiable."""

    @property
    def verifiers(self) -> list[VerifierKey]:
        """All keys by which the log's checkpoints are verified."""
        return [*self.retired, *(key.verifier for key in self.signing)]


def read_keys(file: Path) -> Keyring:
    """Return the keys of a file. Raises `SettingsError` if it can't be read, or holds none or those of several logs."""
    try:
        text = file.read_text(encoding="utf-8")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        signing = [parse_signing_key(line) for line in lines if line.startswith(PRIVATE)]
        retired = [parse_verifier_key(line) for line in lines if not line.startswith(PRIVATE)]
    except (OSError, UnicodeDecodeError, NoteError) as error:
        raise SettingsError(f"the key file {file} can't be read ({error}): make one with `runvis keys new`") from error
    if not signing:
        raise SettingsError(f"the key file {file} holds no key that signs: make one with `runvis keys new`")
    if len({key.name for key in [*signing, *retired]}) > 1:
        raise SettingsError(f"the key file {file} holds keys of several names: a log has one name")
    return Keyring(signing, retired)


def write_keys(file: Path, keys: Keyring, *, replace: bool = False) -> None:
    """Write a key file that only its owner can read, whole or not at all. Raises `SettingsError`.

    A file that is there is left alone unless `replace`.
    """
    text = "# The keys that sign this log's checkpoints. Who has them can sign another history.\n"
    text += "".join(f"{key.encode()}\n" for key in [*keys.retired, *keys.signing])
    fresh = file.with_name(f"{file.name}.new") if replace else file
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        if replace:
            fresh.replace(file)
    except FileExistsError:
        raise SettingsError(f"{fresh} is there already: name another file, or remove it if nobody needs it") from None
    except OSError as error:
        raise SettingsError(f"the key file {file} can't be written: {error}") from error
