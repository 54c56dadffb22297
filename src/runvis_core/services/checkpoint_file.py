"""The built-in that appends each checkpoint to a file, and what was written there. Light to import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runvis_core.errors import LedgerError
from runvis_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from runvis_core.ledger.made import MadeCheckpoint
    from runvis_core.settings import Settings

SEPARATOR: Final = "=====\n"
"""The line after each checkpoint in a file of several."""
MAX_NOTE_BYTES: Final = 64 * 1024


@hookimpl
def runvis_checkpoint_made(checkpoint: MadeCheckpoint, settings: Settings) -> None:
    """Append the checkpoint to the file that the settings name."""
    if settings.ledger.checkpoint_file is not None:
        append_checkpoint(settings.ledger.checkpoint_file, checkpoint.note)


def append_checkpoint(file: Path, note: str) -> None:
    """Append a checkpoint, durably. Raises `LedgerError` if the file can't be written."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with os.fdopen(descriptor, "ab") as opened:
            # In one write, so that two servers' checkpoints don't mix.
            opened.write((note + SEPARATOR).encode())
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        raise LedgerError(f"the checkpoint could not be appended to {file}: {error}") from error


def find_last_checkpoint(file: Path) -> str | None:
    """Return the checkpoint that was appended last, not verified; None if there is none. Raises `LedgerError`."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - MAX_NOTE_BYTES))
            text = opened.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"the checkpoints in {file} can't be read: {error}") from error
    # What a crash left of a half-written one has no separator after it.
    whole = text.rpartition(SEPARATOR)[0]
    return whole.rpartition(SEPARATOR)[2] or None


def read_checkpoints(file: Path) -> list[str]:
    """Return the checkpoints in a file, one or several, nothing of them verified. Raises `LedgerError`."""
    try:
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"the checkpoints in {file} can't be read: {error}") from error
    return [note for note in text.split(SEPARATOR) if note.strip()]
