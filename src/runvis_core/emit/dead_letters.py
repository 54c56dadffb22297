"""Events that the store refused for good: kept beside the spool with the reason, never thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from runvis_core.emit.spool import append_private
from runvis_core.emit.transport import Outcome
from runvis_core.model.identity import timestamp

DEAD_FOLDER: Final = "dead"
ASIDE_FOLDER: Final = "aside"


def keep_dead_letters(spool_dir: Path, producer: str, letters: Sequence[tuple[bytes, Outcome]]) -> None:
    """Keep refused items, each with why it was refused. Raises `OSError` where they can't be kept."""
    refused_at = timestamp(datetime.now(UTC)).encode()
    lines = [
        b'{"field":%b,"item":%b,"reason":%b,"refused_at":"%b"}\n'
        % (orjson.dumps(outcome.get("field")), item, orjson.dumps(str(outcome.get("reason"))), refused_at)
        for item, outcome in letters
    ]
    append_private(spool_dir / DEAD_FOLDER / f"{producer}.jsonl", b"".join(lines))


def set_aside(spool_dir: Path, producer: str, torn: Sequence[bytes]) -> None:
    """Keep lines that were cut short, as they are. Raises `OSError` where they can't be kept."""
    data = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in torn)
    append_private(spool_dir / ASIDE_FOLDER / f"{producer}.lines", data)


def count_lines(folder: Path) -> int:
    """Return how many lines the files of a folder have."""
    return sum(path.read_bytes().count(b"\n") for path in folder.iterdir()) if folder.is_dir() else 0
