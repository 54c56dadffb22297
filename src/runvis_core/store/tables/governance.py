"""Who decided what about the store itself, who looked, and who signed in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text

from runvis_core.store.tables.builders import declare_position, declare_table
from runvis_core.store.types import Id, Moment

decisions: Final = declare_table(
    "decisions",
    declare_position(primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),  # decision or access
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("about_run_id", Id),
    Column("principal", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("reason", Text),
    Column("details", Text, nullable=False),  # JSON, letter by letter as the entry has it
    Index("decisions_name", "name", "position"),
    rowid=True,
)

holds: Final = declare_table(
    "holds",
    Column("hold_id", Text, primary_key=True),
    declare_position(),
    # What it covers: all runs that match each column which is set.
    Column("held_run_id", Id),
    Column("engine", Text),
    Column("deployment", Text),
    Column("definition", Text),
)

hold_releases: Final = declare_table("hold_releases", Column("hold_id", Text, primary_key=True), declare_position())

erasures: Final = declare_table(
    "erasures",
    # Of the body that left.
    declare_position(primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("decided_position", BigInteger, nullable=False),
)

DECISIONS: Final = (decisions, holds, hold_releases, erasures)
"""What decisions about the store itself come to: none of them belongs to a run's row."""

sessions: Final = declare_table(
    "sessions",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("token_digest", LargeBinary(32), nullable=False),
    Column("expires_at", Moment, nullable=False),
)
