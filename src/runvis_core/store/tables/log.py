"""The log itself."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Integer, LargeBinary, Text

from runvis_core.store.tables.builders import declare_position, declare_table
from runvis_core.store.types import Id, Moment

PARTITION_SIZE: Final = 1_000_000
"""Positions in one PostgreSQL partition of `entries`."""

head: Final = declare_table(
    "head",
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    declare_position(),
    Column("recorded_at", Moment),
    rowid=True,
)

entries: Final = declare_table(
    "entries",
    declare_position(primary_key=True, autoincrement=False),
    Column("event_id", Id, nullable=False),
    Column("run_id", Id),
    Column("kind", Text, nullable=False),
    Column("witness", Text, nullable=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    # What was hashed, as exact bytes: never json, which a database may write differently.
    Column("entry", LargeBinary, nullable=False),
    # With the witness, so that a run's count of entries and its witnesses need no entry's bytes.
    Index("entries_run", "run_id", "position", "witness"),
    rowid=True,
    postgresql_partition_by="RANGE (position)",
)

# Filled by a trigger on `entries`, and permanent: it stays when entries leave for the archive.
event_ids: Final = declare_table("event_ids", Column("event_id", Id, primary_key=True), declare_position())

bodies: Final = declare_table(
    "bodies",
    # Of the entry that holds the digest, so that a range of positions takes its bodies along.
    declare_position(primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("content", LargeBinary, nullable=False),
    rowid=True,
)

LOG: Final = (head, entries, event_ids, bodies)
