"""Projections beside the log: what the steps write."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Text

from runvis_core.store.tables.builders import declare_position, declare_table, index_of_set
from runvis_core.store.tables.lineage import LINEAGE
from runvis_core.store.types import Id, Moment, Position, Word

steps: Final = declare_table("steps", Column("name", Text, primary_key=True), declare_position())

# What a run's producers told of it
run_producers: Final = declare_table(
    "run_producers",
    Column("run_id", Id, primary_key=True),
    Column("producer", Id, primary_key=True),
    Column("witness", Text, nullable=False),
    Column("entries", BigInteger, nullable=False),
    # Of its numbers, those that stand in the run's entries.
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    # Whether it told how the run ended.
    Column("testified", Boolean, nullable=False),
    Index("run_producers_producer", "producer"),
)

# What was going on, and as of when it was known: one row for each stretch of a run's time in which its state was the
# same, and for each stretch of the log that told it so.
run_intervals: Final = declare_table(
    "run_intervals",
    Column("run_id", Id, primary_key=True),
    # The position of the entry that told it, and of the one that told otherwise.
    Column("known_from", Position, primary_key=True, autoincrement=False),
    Column("known_to", BigInteger),
    Column("from_at", Moment, primary_key=True),
    Column("to_at", Moment),
    Column("sort_at", Moment, nullable=False),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("definition", Text),
    Column("effective_state", Text),
    Column("native_state", Text),
    Column("trigger_kind", Text),
    Column("native_key", Text),
    Column("parent_run_id", Id),
    Column("caused_by_run_id", Id),
    Column("became_run_id", Id),
    Column("corrected", Boolean, nullable=False),
    Index("run_intervals_sort", "sort_at", "run_id"),
    Index("run_intervals_definition", "engine", "deployment", "definition", "sort_at", "run_id"),
    Index("run_intervals_state", "effective_state", "sort_at", "run_id"),
    index_of_set("run_intervals_native_key", "native_key"),
    index_of_set("run_intervals_parent", "parent_run_id"),
    index_of_set("run_intervals_cause", "caused_by_run_id"),
)

# How far, in seconds, the time that orders a run in lists lies after its first interval, and after its recording, at
# most: so that a list of the past passes over what came later.
interval_bounds: Final = declare_table(
    "interval_bounds",
    Column("name", Text, primary_key=True),
    Column("seconds", Float(53), nullable=False),
)

# The definitions of which some run lay in no other, at some time or as far as was known at some time: few of all, most
# are of tasks. How definitions stood in a past is asked of these alone.
outer_definitions: Final = declare_table(
    "outer_definitions",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
)

# Counts of runs by the time of `runs.sort_at` and by effective state ("" where nobody said), of three spans: an `hour`
# and a `day` of each definition, and a day of a `kind` of definition, whose definition is "".
rollups: Final = declare_table(
    "rollups",
    Column("span", Text, primary_key=True),
    Column("begins_at", Moment, primary_key=True),
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    Column("definition_kind", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("runs", BigInteger, nullable=False),
    # JSON: [[key of a bin, count], …]; see `sketches`.
    Column("durations", Text, nullable=False),
    Column("queues", Text, nullable=False),
    Index("rollups_definition", "definition", "engine", "deployment", "definition_kind", "span", "begins_at"),
)

# What `rollups` counts each run as: taken out again when the run becomes something else.
rollup_runs: Final = declare_table(
    "rollup_runs",
    Column("run_id", Id, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("definition_kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("duration_bin", Integer),
    Column("queue_bin", Integer),
)

definition_health: Final = declare_table(
    "definition_health",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    Column("definition_kind", Text, primary_key=True),
    # Of the latest version that has one.
    Column("schedule", Text),
    # Whether the last run had a parent: then its failure is the parent's too.
    Column("is_inner", Boolean, nullable=False),
    Column("last_begun_at", Moment),
    # The last run that went well or badly; one that was cancelled says nothing of it.
    Column("last_run_id", Id),
    Column("last_state", Text),
    Column("last_at", Moment),
    Column("good_run_id", Id),
    Column("good_at", Moment),
    # The first failure after the last success.
    Column("failing_since", Moment),
    Index("definition_health_state", "last_state", "is_inner"),
    index_of_set("definition_health_schedule", "schedule"),
)

# The first line of each run's failure, and its words, for searching.
failures: Final = declare_table(
    "failures",
    Column("run_id", Id, primary_key=True),
    Column("sort_at", Moment, nullable=False),
    Column("error_type", Text),
    Column("line", Text, nullable=False),
)

failure_words: Final = declare_table(
    "failure_words",
    Column("word", Word, primary_key=True),
    Column("sort_at", Moment, primary_key=True),
    Column("run_id", Id, primary_key=True),
    Index("failure_words_run", "run_id"),
)

STEP_TABLES: Final = (
    steps,
    run_producers,
    run_intervals,
    interval_bounds,
    outer_definitions,
    *LINEAGE,
    rollups,
    rollup_runs,
    definition_health,
    failures,
    failure_words,
)
"""What the steps write, and where they stand: a rebuild empties them, and the steps begin again."""
