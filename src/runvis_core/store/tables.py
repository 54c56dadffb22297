"""The tables of a store.

`head`, `entries`, `event_ids` and `bodies` are the log; `LEDGER` testifies to it. All others are projections, which
`rebuild` derives from it, but for `liveness` (heartbeats are no entries), `follower_watermarks` (a follower's own
bookkeeping), `refusals` (what was refused is no entry), `notice_rules` and `notices` (whom the server has told what)
and `sessions` (of who signed in).

What is stored only once is keyed so that it can be inserted only once: the guards refuse the rest (see `guards`).
No foreign keys: the guards and the fold say what belongs together, and the log's order is the only truth.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text, text

from runvis_core.store.types import Id, Moment, Position, Word

metadata: Final = MetaData()

PARTITION_SIZE: Final = 1_000_000
"""Positions in one PostgreSQL partition of `entries`."""


def _position(**options: Any) -> Column[int]:
    return Column("position", Position, nullable=False, **options)


def _table(name: str, *columns: Column[Any] | Index, rowid: bool = False, **options: Any) -> Table:
    """Declare a table; without `rowid` SQLite keeps it as one tree ordered by its primary key."""
    return Table(name, metadata, *columns, sqlite_with_rowid=rowid, **options)


def _of_run(name: str, *columns: Column[Any] | Index) -> Table:
    """Declare an insert-only table of facts about runs: one row per entry."""
    return _table(name, Column("run_id", Id, primary_key=True), _position(primary_key=True), *columns)


def _index_of_set(name: str, column: str, *order: str) -> Index:
    """Declare an index over the rows in which the column is set: most rows don't have it."""
    is_set = text(f"{column} IS NOT NULL")
    return Index(name, column, *order, sqlite_where=is_set, postgresql_where=is_set)


def _index_of_top(name: str, *columns: str) -> Index:
    """Declare an index over the runs that lie in no other run: most lie in one."""
    is_top = text("parent_run_id IS NULL")
    return Index(name, *columns, sqlite_where=is_top, postgresql_where=is_top)


# The log

head: Final = _table(
    "head",
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    _position(),
    Column("recorded_at", Moment),
    rowid=True,
)

entries: Final = _table(
    "entries",
    _position(primary_key=True, autoincrement=False),
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
event_ids: Final = _table("event_ids", Column("event_id", Id, primary_key=True), _position())

bodies: Final = _table(
    "bodies",
    # Of the entry that holds the digest, so that a range of positions takes its bodies along.
    _position(primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("content", LargeBinary, nullable=False),
    rowid=True,
)

# Runs

runs: Final = _table(
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
    _index_of_top("runs_top", "sort_at", "run_id"),
    _index_of_top("runs_top_definition", "engine", "deployment", "definition", "sort_at", "run_id"),
    Index("runs_native_key", "native_key", "attempt"),
    Index("runs_native_id", "native_id"),
    _index_of_set("runs_parent", "parent_run_id", "sort_at", "run_id"),
    _index_of_set("runs_cause", "caused_by_run_id"),
    _index_of_set("runs_correlation", "correlation_id"),
    # Of a run that is started by itself: what lies in it, mostly has none.
    _index_of_set("runs_trigger", "trigger_kind", "sort_at", "run_id"),
    _index_of_set("runs_became", "became_run_id"),
    rowid=True,
)

testimonies: Final = _of_run(
    "testimonies",
    Column("event_id", Id, nullable=False),
    Column("witness", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("native_state", Text),
    Column("occurred_at", Moment, nullable=False),
)

corrections: Final = _table(
    "corrections",
    Column("correction_id", Id, primary_key=True),
    Column("run_id", Id, nullable=False),
    _position(),
    Column("event_id", Id, nullable=False),
    Column("witness", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("native_state", Text),
    Column("occurred_at", Moment, nullable=False),
    Index("corrections_run", "run_id"),
)

run_late: Final = _of_run(
    "run_late",
    # JSON: {field: value}; a field is a column of `runs`, a section of the context, or `section.key`.
    Column("facts", Text, nullable=False),
)

run_tags: Final = _table(
    "run_tags",
    Column("run_id", Id, primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("run_tags_tag", "tag", "run_id"),
)

datasets: Final = _of_run(
    "datasets",
    Column("direction", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("native_id", Text),
    Column("late", Boolean, nullable=False),
    Index("datasets_name", "name", "namespace"),
)

artifacts: Final = _of_run(
    "artifacts",
    Column("name", Text, nullable=False),
    Column("uri", Text),
    Column("digest", Text),
    Column("media_type", Text),
    Column("late", Boolean, nullable=False),
)

metrics: Final = _of_run(
    "metrics",
    Column("name", Text, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("unit", Text),
    Column("occurred_at", Moment, nullable=False),
    Column("late", Boolean, nullable=False),
)

links: Final = _of_run(
    "links",
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("relation", Text, nullable=False),
    Column("target_run_id", Id),
    Column("target_native_key", Text),
    Column("occurred_at", Moment, nullable=False),
    Column("late", Boolean, nullable=False),
    _index_of_set("links_target", "target_run_id"),
    _index_of_set("links_target_key", "target_native_key"),
)

aliases: Final = _of_run(
    "aliases",
    Column("system", Text, nullable=False),
    Column("native_id", Text, nullable=False),
    Column("late", Boolean, nullable=False),
    Index("aliases_native_id", "native_id", "system"),
)

# Definitions

definitions: Final = _table(
    "definitions",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    Column("definition_kind", Text, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Index("definitions_name", "definition", postgresql_ops={"definition": "text_pattern_ops"}),
)

definition_versions: Final = _table(
    "definition_versions",
    Column("definition_version_id", Id, primary_key=True),
    _position(),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("definition_kind", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("native_version", Text),
    Column("code_version", Text),
    Column("schedule", Text),
    Column("owner", Text),
    Column("parent_definition", Text),
    Column("tags", Text, nullable=False),  # JSON list
    Column("bodies", Text, nullable=False),  # JSON: {name: {digest, size}}
    Column("occurred_at", Moment, nullable=False),
    Index("definition_versions_definition", "definition", "position"),
    Index(
        "definition_versions_code",
        "code_version",
        sqlite_where=text("code_version IS NOT NULL"),
        postgresql_where=text("code_version IS NOT NULL"),
        postgresql_ops={"code_version": "text_pattern_ops"},
    ),
)

definition_errors: Final = _table(
    "definition_errors",
    _position(primary_key=True, autoincrement=False),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    rowid=True,
)

dataset_declarations: Final = _table(
    "dataset_declarations",
    _position(primary_key=True, autoincrement=False),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("dataset_group", Text),
    Column("occurred_at", Moment, nullable=False),
    Index("dataset_declarations_name", "name", "namespace"),
    rowid=True,
)

# Who reports, and who is alive

producers: Final = _table(
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
worker_definitions: Final = _table(
    "worker_definitions",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition_kind", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    # When the first of those runs was told of, by the engine's clock.
    Column("first_heard_at", Moment, nullable=False),
)

liveness: Final = _table(
    "liveness",
    Column("run_id", Id, primary_key=True),
    Column("last_heartbeat_at", Moment, nullable=False),
    Column("interval_seconds", Float(53), nullable=False),
)

follower_watermarks: Final = _table(
    "follower_watermarks",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Who decided what about the store itself, and who looked

decisions: Final = _table(
    "decisions",
    _position(primary_key=True, autoincrement=False),
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

holds: Final = _table(
    "holds",
    Column("hold_id", Text, primary_key=True),
    _position(),
    # What it covers: all runs that match each column which is set.
    Column("held_run_id", Id),
    Column("engine", Text),
    Column("deployment", Text),
    Column("definition", Text),
)

hold_releases: Final = _table("hold_releases", Column("hold_id", Text, primary_key=True), _position())

erasures: Final = _table(
    "erasures",
    # Of the body that left.
    _position(primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("decided_position", BigInteger, nullable=False),
)

# Projections beside the log

steps: Final = _table("steps", Column("name", Text, primary_key=True), _position())

# What a run's producers told of it
run_producers: Final = _table(
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
run_intervals: Final = _table(
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
    _index_of_set("run_intervals_native_key", "native_key"),
    _index_of_set("run_intervals_parent", "parent_run_id"),
    _index_of_set("run_intervals_cause", "caused_by_run_id"),
)

# How far, in seconds, the time that orders a run in lists lies after its first interval, and after its recording, at
# most: so that a list of the past passes over what came later.
interval_bounds: Final = _table(
    "interval_bounds",
    Column("name", Text, primary_key=True),
    Column("seconds", Float(53), nullable=False),
)

# Lineage

lineage_nodes: Final = _table(
    "lineage_nodes",
    # In the order in which the log first told of them.
    Column("number", Position, primary_key=True, autoincrement=False),
    Column("node_id", Id, nullable=False, unique=True),
    _position(),
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
lineage_runs: Final = _table(
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
    _index_of_set("lineage_runs_parent", "parent"),
    _index_of_set("lineage_runs_cause", "cause"),
)

# Each proof of an edge: which run showed it, as of when, and at which position that became known.
lineage_facts: Final = _table(
    "lineage_facts",
    Column("source", BigInteger, primary_key=True),
    Column("target", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    # What counts once: the run that read or wrote, the thing that was started.
    Column("subject", Id, primary_key=True),
    _position(primary_key=True),
    Column("happened_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("run_id", Id, nullable=False),
    Index("lineage_facts_target", "target", "source", "kind"),
)

lineage_edges: Final = _table(
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
lineage_triggers: Final = _table(
    "lineage_triggers",
    Column("thing", Id, primary_key=True),
    Column("source", BigInteger, primary_key=True),
    Column("target", BigInteger, nullable=False),
    Column("cause", Id, nullable=False),
    Column("run_id", Id, nullable=False),
    _position(),
    Column("happened_at", Moment, nullable=False),
    Index("lineage_triggers_cause", "cause"),
)

lineage_turns: Final = _table(
    "lineage_turns",
    Column("thing", Id, primary_key=True),
    Column("node", BigInteger, nullable=False),
    # Which definitions the chain of causes went through.
    Column("cycle", Id, nullable=False),
    Column("run_id", Id, nullable=False),
    _position(),
    Column("seen_at", Moment, nullable=False),
    # When the last start of its chain of causes happened.
    Column("happened_at", Moment, nullable=False),
    Index("lineage_turns_node", "node", "position"),
    Index("lineage_turns_cycle", "cycle"),
)

LINEAGE: Final = (lineage_nodes, lineage_runs, lineage_facts, lineage_edges, lineage_triggers, lineage_turns)
"""What the lineage step writes."""

# Counts of runs by the time of `runs.sort_at` and by effective state ("" where nobody said), of three spans: an `hour`
# and a `day` of each definition, and a day of a `kind` of definition, whose definition is "".
rollups: Final = _table(
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
rollup_runs: Final = _table(
    "rollup_runs",
    Column("run_id", Id, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("definition_kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("duration_bin", Integer),
    Column("queue_bin", Integer),
)

definition_health: Final = _table(
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
    _index_of_set("definition_health_schedule", "schedule"),
)

# The first line of each run's failure, and its words, for searching.
failures: Final = _table(
    "failures",
    Column("run_id", Id, primary_key=True),
    Column("sort_at", Moment, nullable=False),
    Column("error_type", Text),
    Column("line", Text, nullable=False),
)

failure_words: Final = _table(
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
    *LINEAGE,
    rollups,
    rollup_runs,
    definition_health,
    failures,
    failure_words,
)
"""What the steps write, and where they stand: a rebuild empties them, and the steps begin again."""

# Who signed in

sessions: Final = _table(
    "sessions",
    Column("digest", LargeBinary(32), primary_key=True),
    Column("token_digest", LargeBinary(32), nullable=False),
    Column("expires_at", Moment, nullable=False),
)

# The ledger over the log

tiles: Final = _table(
    "tiles",
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Position, primary_key=True, autoincrement=False),
    # Before the hashes, so that what only the level above needs is read without them.
    Column("root", LargeBinary(32), nullable=False),
    Column("hashes", LargeBinary(8192), nullable=False),
    rowid=True,
)

checkpoints: Final = _table(
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

cosignatures: Final = _table(
    "cosignatures",
    Column("number", Position, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("key_id", LargeBinary(4), primary_key=True),
    Column("line", Text, nullable=False),
)

declarations: Final = _table(
    "declarations",
    Column("number", Position, primary_key=True, autoincrement=False),
    Column("made_at", Moment, nullable=False),
    Column("note", Text, nullable=False),
    rowid=True,
)

LEDGER: Final = (tiles, checkpoints, cosignatures, declarations)
"""What testifies to the log: insert-only, and never derived anew, since it is held against the log."""

# What the door refused and could name, by producer: it is in no entry, and must not count as missing
refusals: Final = _table(
    "refusals",
    Column("producer", Id, primary_key=True),
    Column("engine", Text),
    Column("deployment", Text),
    # JSON: [[from, to], …], as in `producers.received`.
    Column("numbers", Text, nullable=False),
    Column("last_reason", Text, nullable=False),
    Column("last_refused_at", Moment, nullable=False),
)

# Whom the server tells of what

notice_rules: Final = _table(
    "notice_rules",
    Column("rule", Text, primary_key=True),
    # How far the rule has looked through the log, and through the turns of loops.
    _position(),
    Column("loop_position", BigInteger, nullable=False),
    Column("begun_at", Moment, nullable=False),
    # Since the receiver last took one: how often it did not, when it is tried again, and why it did not.
    Column("failures", Integer, nullable=False),
    Column("retry_at", Moment),
    Column("error", Text),
)

notices: Final = _table(
    "notices",
    Column("notice_id", Id, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_id", Id, nullable=False),
    Column("definition", Text, nullable=False),
    Column("made_at", Moment, nullable=False),
    _position(),
    Column("outcome", Text, nullable=False),  # pending, sent, refused, quiet
    Column("tries", Integer, nullable=False),
    Column("claimed_until", Moment),
    Column("settled_at", Moment),
    Column("error", Text),
    Index("notices_rule", "rule", "outcome", "made_at", "position"),
    Index("notices_run", "run_id"),
)

INSERT_ONLY: Final = (
    bodies,
    testimonies,
    corrections,
    run_late,
    run_tags,
    datasets,
    artifacts,
    metrics,
    links,
    aliases,
    definitions,
    definition_versions,
    definition_errors,
    dataset_declarations,
    decisions,
    holds,
    hold_releases,
    erasures,
)
"""Tables whose rows never change and never leave, beside `entries` and `event_ids`. A body leaves by its erasure."""

DECISIONS: Final = (decisions, holds, hold_releases, erasures)
"""What decisions about the store itself come to: none of them belongs to a run's row."""

RUN_NAME: Final = ("first_position", "run_id", "sort_at", "engine", "deployment")
"""Columns of a run that never change, not even before its end."""

RUN_WRITE_ONCE: Final = tuple(
    column.name for column in runs.columns if column.name not in {*RUN_NAME, "effective_state", "presumed"}
)
"""Columns of a run that don't change once they are set and the run has ended."""

LOG: Final = (head, entries, event_ids, bodies)
KEPT: Final = (liveness, follower_watermarks, refusals, notice_rules, notices, sessions)
"""Tables that are neither log nor derived from it."""
PROJECTIONS: Final = tuple(table for table in metadata.sorted_tables if table not in (*LOG, *KEPT, *LEDGER))
"""Tables that a rebuild derives from the log."""
