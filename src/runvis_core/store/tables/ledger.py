"""The ledger over the log."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

from runvis_core.store.tables.builders import declare_table
from runvis_core.store.types import Moment, Position

tiles: Final = declare_table(
    "tiles",
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Position, primary_key=True, autoincrement=False),
    # Before the hashes, so that what only the level above needs is read without them.
    Column("root", LargeBinary(32), nullable=False),
    Column("hashes", LargeBinary(8192), nullable=False),
    rowid=True,
)

checkpoints: Final = declare_table(
    "checkpoints",
    Column("number", Position, primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("made_at", Moment, nullable=False),
    # What was signed and by whom, letter by letter.
    Column("note", Text, nullable=False),
    # The leaf hashes after the last full tile, so that an altered entry among them can be named.
    Column("tail", LargeBinary, nullable=False),
    rowid=True,
)

cosignatures: Final = declare_table(
    "cosignatures",
    Column("number", Position, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("key_id", LargeBinary(4), primary_key=True),
    Column("line", Text, nullable=False),
)

declarations: Final = declare_table(
    "declarations",
    Column("number", Position, primary_key=True, autoincrement=False),
    Column("made_at", Moment, nullable=False),
    Column("note", Text, nullable=False),
    rowid=True,
)

LEDGER: Final = (tiles, checkpoints, cosignatures, declarations)
"""What testifies to the log: insert-only, and never derived anew, since it is held against the log."""
