"""Which definitions and datasets feed which, and what started what."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Text

from runvis_core.store.tables.builders import declare_position, declare_table, index_of_set
from runvis_core.store.types import Id, Moment, Position

lineage_nodes: Final = declare_table(
    "lineage_nodes",
    # In the order in which the log first told of them.
    Column("number", Position, primary_key=True, autoincrement=False),
    Column("node_id", Id, nullable=False, unique=True),
    declare_position(),
    Column("kind", Text, nullable=False),
    Column("engine", Text),
    Column("deployment", Text),
    Column("definition_kind", Text),
    Column("namespace", Text),
    # The definition's, or the dataset's within its namespace.
    Column("name", Text, nullable=False),
    Index("lineage_nodes_name", "name"),
    rowid=True,
)

# What identities said of runs, the first one first: `runs` says what the highest ranked one did, up to now.
lineage_runs: Final = declare_table(
    "lineage_runs",
    Column("run_id", Id, primary_key=True),
    Column("node_id", Id, nullable=False),
    # What its attempts share.
    Column("thing", Id, nullable=False),
    # The positions of the entries that told this; 0 for what none did.
    Column("known_at", BigInteger, nullable=False),
    Column("parent", Id),
    Column("parent_at", BigInteger, nullable=False),
    Column("cause", Id),
    Column("cause_at", BigInteger, nullable=False),
    Index("lineage_runs_thing", "thing"),
    index_of_set("lineage_runs_parent", "parent"),
    index_of_set("lineage_runs_cause", "cause"),
)

# Each proof of an edge: which run showed it, as of when, and at which position that became known.
lineage_facts: Final = declare_table(
    "lineage_facts",
    Column("source", BigInteger, primary_key=True),
    Column("target", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    # What counts once: the run that read or wrote, the thing that was started.
    Column("subject", Id, primary_key=True),
    declare_position(primary_key=True),
    Column("happened_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("run_id", Id, nullable=False),
    Index("lineage_facts_target", "target", "source", "kind"),
)

lineage_edges: Final = declare_table(
    "lineage_edges",
    Column("source", BigInteger, primary_key=True),
    Column("target", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("last_seen_at", Moment, nullable=False),
    Column("run_count", BigInteger, nullable=False),
    # JSON: [[run id, position], …], the last runs that showed it, the latest first.
    Column("last_runs", Text, nullable=False),
    Index("lineage_edges_target", "target", "source", "kind"),
)

# What started what, run by run: all attempts that share a native key are one thing.
lineage_triggers: Final = declare_table(
    "lineage_triggers",
    Column("thing", Id, primary_key=True),
    Column("source", BigInteger, primary_key=True),
    Column("target", BigInteger, nullable=False),
    Column("cause", Id, nullable=False),
    Column("run_id", Id, nullable=False),
    declare_position(),
    Column("happened_at", Moment, nullable=False),
    Index("lineage_triggers_cause", "cause"),
)

lineage_turns: Final = declare_table(
    "lineage_turns",
    Column("thing", Id, primary_key=True),
    Column("node", BigInteger, nullable=False),
    # Which definitions the chain of causes went through.
    Column("cycle", Id, nullable=False),
    Column("run_id", Id, nullable=False),
    declare_position(),
    Column("seen_at", Moment, nullable=False),
    # When the last start of its chain of causes happened.
    Column("happened_at", Moment, nullable=False),
    Index("lineage_turns_node", "node", "position"),
    Index("lineage_turns_cycle", "cycle"),
)

LINEAGE: Final = (lineage_nodes, lineage_runs, lineage_facts, lineage_edges, lineage_triggers, lineage_turns)
"""What the lineage step writes."""
