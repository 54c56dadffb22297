"""Runs and what is known of each."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Text

from runvis_core.store.tables.builders import (
    declare_of_run,
    declare_position,
    declare_table,
    index_of_set,
    index_of_top,
)
from runvis_core.store.types import Id, Moment, Position

runs: Final = declare_table(
    "runs",
    # The position of the first entry about the run.
    Column("first_position", Position, primary_key=True, autoincrement=False),
    Column("run_id", Id, nullable=False, unique=True),
    # When the first entry's fact occurred: the order of lists. It never changes, so that a list's pages stay whole.
    Column("sort_at", Moment, nullable=False),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("definition", Text),
    Column("definition_kind", Text),
    Column("definition_version_id", Id),
    Column("native_key", Text),
    Column("native_id", Text),
    Column("attempt", BigInteger),
    Column("trigger_kind", Text),
    Column("trigger_native", Text),
    Column("parent_run_id", Id),
    Column("caused_by_run_id", Id),
    Column("retry_of", Id),
    Column("correlation_id", Text),
    Column("became_run_id", Id),
    Column("state", Text),
    Column("native_state", Text),
    Column("effective_state", Text),
    Column("presumed", Text),
    Column("queued_at", Moment),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("retry_expected_at", Moment),
    Column("owner", Text),
    Column("native_url", Text),
    Column("clock_suspect", Boolean),
    Column("frozen_position", BigInteger),
    # JSON: {"context": {…}}, and before the end also "ranks" and "presumption". What came after it is in `run_late`.
    Column("record", Text, nullable=False),
    Column("fold_version", Integer, nullable=False),
    Index("runs_sort", "sort_at", "run_id"),
    Index("runs_definition", "engine", "deployment", "definition", "sort_at", "run_id"),
    # Both at once: the engines have few words for a state, so that each is looked for in its place.
    Index("runs_state", "effective_state", "native_state", "sort_at", "run_id"),
    # What lists show first: runs that lie in no other run.
    index_of_top("runs_top", "sort_at", "run_id"),
    index_of_top("runs_top_definition", "engine", "deployment", "definition", "sort_at", "run_id"),
    Index("runs_native_key", "native_key", "attempt"),
    Index("runs_native_id", "native_id"),
    index_of_set("runs_parent", "parent_run_id", "sort_at", "run_id"),
    index_of_set("runs_cause", "caused_by_run_id"),
    index_of_set("runs_correlation", "correlation_id"),
    # Of a run that is started by itself: what lies in it, mostly has none.
    index_of_set("runs_trigger", "trigger_kind", "sort_at", "run_id"),
    index_of_set("runs_became", "became_run_id"),
    rowid=True,
)

testimonies: Final = declare_of_run(
    "testimonies",
    Column("event_id", Id, nullable=False),
    Column("witness", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("native_state", Text),
    Column("occurred_at", Moment, nullable=False),
)

corrections: Final = declare_table(
    "corrections",
    Column("correction_id", Id, primary_key=True),
    Column("run_id", Id, nullable=False),
    declare_position(),
    Column("event_id", Id, nullable=False),
    Column("witness", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("native_state", Text),
    Column("occurred_at", Moment, nullable=False),
    Index("corrections_run", "run_id"),
)

run_late: Final = declare_of_run(
    "run_late",
    # JSON: {field: value}; a field is a column of `runs`, a section of the context, or `section.key`.
    Column("facts", Text, nullable=False),
)

run_tags: Final = declare_table(
    "run_tags",
    Column("run_id", Id, primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("run_tags_tag", "tag", "run_id"),
)

# Of which of an engine's teams a run is: of that of the first entry that tells of it and names one.
run_teams: Final = declare_table(
    "run_teams",
    Column("run_id", Id, primary_key=True),
    declare_position(),
    Column("event_id", Id, nullable=False),
    Column("team", Text, nullable=False),
)

datasets: Final = declare_of_run(
    "datasets",
    Column("direction", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("native_id", Text),
    Column("late", Boolean, nullable=False),
    Index("datasets_name", "name", "namespace"),
)

artifacts: Final = declare_of_run(
    "artifacts",
    Column("name", Text, nullable=False),
    Column("uri", Text),
    Column("digest", Text),
    Column("media_type", Text),
    Column("late", Boolean, nullable=False),
)

metrics: Final = declare_of_run(
    "metrics",
    Column("name", Text, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("unit", Text),
    Column("occurred_at", Moment, nullable=False),
    Column("late", Boolean, nullable=False),
)

links: Final = declare_of_run(
    "links",
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("relation", Text, nullable=False),
    Column("target_run_id", Id),
    Column("target_native_key", Text),
    Column("occurred_at", Moment, nullable=False),
    Column("late", Boolean, nullable=False),
    index_of_set("links_target", "target_run_id"),
    index_of_set("links_target_key", "target_native_key"),
)

aliases: Final = declare_of_run(
    "aliases",
    Column("system", Text, nullable=False),
    Column("native_id", Text, nullable=False),
    Column("late", Boolean, nullable=False),
    Index("aliases_native_id", "native_id", "system"),
)

RUN_NAME: Final = ("first_position", "run_id", "sort_at", "engine", "deployment")
"""Columns of a run that never change, not even before its end."""

RUN_WRITE_ONCE: Final = tuple(
    column.name for column in runs.columns if column.name not in {*RUN_NAME, "effective_state", "presumed"}
)
"""Columns of a run that don't change once they are set and the run has ended."""
