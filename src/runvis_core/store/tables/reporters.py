"""Who reports, who is alive, and what was refused."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Text

from runvis_core.store.tables.builders import declare_table
from runvis_core.store.types import Id, Moment

producers: Final = declare_table(
    "producers",
    Column("producer", Id, primary_key=True),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("witness", Text, nullable=False),
    Column("component", Text),
    Column("host", Text),
    Column("pid", BigInteger),
    Column("versions", Text),  # JSON object
    Column("opened_at", Moment),
    Column("closed_at", Moment),
    # The last number that the producer gave, said when it closed.
    Column("closed_sequence", BigInteger),
    Column("refused", BigInteger),
    # The numbers that came, JSON: [[from, to], …], both included, in order. Also those of reports already known.
    Column("received", Text, nullable=False),
    # The numbers that did not come with those around them, JSON: [[from, to, noticed at, closed at or null], …].
    Column("gaps", Text),
    # When something of it came last, by the store's clock.
    Column("last_heard_at", Moment),
)

# Of which definitions a worker has told: the word of one is expected of their runs from then on.
worker_definitions: Final = declare_table(
    "worker_definitions",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition_kind", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    # When the first of those runs was told of, by the engine's clock.
    Column("first_heard_at", Moment, nullable=False),
)

liveness: Final = declare_table(
    "liveness",
    Column("run_id", Id, primary_key=True),
    Column("last_heartbeat_at", Moment, nullable=False),
    Column("interval_seconds", Float(53), nullable=False),
)

follower_watermarks: Final = declare_table(
    "follower_watermarks",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# What the door refused and could name, by producer: it is in no entry, and must not count as missing
refusals: Final = declare_table(
    "refusals",
    Column("producer", Id, primary_key=True),
    Column("engine", Text),
    Column("deployment", Text),
    # JSON: [[from, to], …], as in `producers.received`.
    Column("numbers", Text, nullable=False),
    Column("last_reason", Text, nullable=False),
    Column("last_refused_at", Moment, nullable=False),
)
