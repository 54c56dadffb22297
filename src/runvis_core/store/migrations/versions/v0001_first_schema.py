"""The first schema: the log, the projections, and the guards of both.

Revision 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store import tables as t
from runvis_core.store.guards import create_functions, create_guards, create_partition
from runvis_core.store.types import Id, Moment, Position

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything that a store has."""
    _create_tables()
    op.execute("INSERT INTO head (id, position) VALUES (1, 0)")
    create_functions(op.get_bind())
    # Tables that came later are guarded by the migration that brings them.
    standing = set(sa.inspect(op.get_bind()).get_table_names())
    create_guards(op.get_bind(), [table for table in t.metadata.sorted_tables if table.name in standing])
    create_partition(op.get_bind(), 0)


def downgrade() -> None:
    """Refuse: what is recorded is not undone."""
    raise NotImplementedError("a store does not go back to no schema: remove the database instead")


def _create_tables() -> None:
    op.create_table(
        "aliases",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("native_id", sa.Text(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("aliases_native_id", "aliases", ["native_id", "system"], unique=False)
    op.create_table(
        "artifacts",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "bodies",
        sa.Column("position", Position, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", "digest"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "corrections",
        sa.Column("correction_id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("event_id", Id(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("native_state", sa.Text(), nullable=True),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("correction_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("corrections_run", "corrections", ["run_id"], unique=False)
    op.create_table(
        "dataset_declarations",
        sa.Column("position", Position, autoincrement=False, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dataset_group", sa.Text(), nullable=True),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sqlite_with_rowid=True,
    )
    op.create_index("dataset_declarations_name", "dataset_declarations", ["name", "namespace"], unique=False)
    op.create_table(
        "datasets",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("native_id", sa.Text(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("datasets_name", "datasets", ["name", "namespace"], unique=False)
    op.create_table(
        "definition_errors",
        sa.Column("position", Position, autoincrement=False, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "definition_versions",
        sa.Column("definition_version_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("native_version", sa.Text(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=True),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("parent_definition", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("bodies", sa.Text(), nullable=False),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("definition_version_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("definition_versions_definition", "definition_versions", ["definition", "position"], unique=False)
    op.create_table(
        "definitions",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_kind", sa.Text(), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("engine", "deployment", "definition", "definition_kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "entries",
        sa.Column("position", Position, autoincrement=False, nullable=False),
        sa.Column("event_id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        postgresql_partition_by="RANGE (position)",
        sqlite_with_rowid=True,
    )
    op.create_index("entries_run", "entries", ["run_id", "position", "witness"], unique=False)
    op.create_table(
        "event_ids",
        sa.Column("event_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "follower_watermarks",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("engine", "deployment", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("recorded_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "links",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("target_run_id", Id(), nullable=True),
        sa.Column("target_native_key", sa.Text(), nullable=True),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "links_target",
        "links",
        ["target_run_id"],
        unique=False,
        sqlite_where=sa.text("target_run_id IS NOT NULL"),
        postgresql_where=sa.text("target_run_id IS NOT NULL"),
    )
    op.create_index(
        "links_target_key",
        "links",
        ["target_native_key"],
        unique=False,
        sqlite_where=sa.text("target_native_key IS NOT NULL"),
        postgresql_where=sa.text("target_native_key IS NOT NULL"),
    )
    op.create_table(
        "liveness",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("last_heartbeat_at", Moment(), nullable=False),
        sa.Column("interval_seconds", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "metrics",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "producers",
        sa.Column("producer", Id(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("component", sa.Text(), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("versions", sa.Text(), nullable=True),
        sa.Column("opened_at", Moment(), nullable=True),
        sa.Column("closed_at", Moment(), nullable=True),
        sa.Column("closed_sequence", sa.BigInteger(), nullable=True),
        sa.Column("refused", sa.BigInteger(), nullable=True),
        sa.Column("received", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("producer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_late",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_tags",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "tag"),
        sqlite_with_rowid=False,
    )
    op.create_index("run_tags_tag", "run_tags", ["tag", "run_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("first_position", Position, autoincrement=False, nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("sort_at", Moment(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=True),
        sa.Column("definition_kind", sa.Text(), nullable=True),
        sa.Column("definition_version_id", Id(), nullable=True),
        sa.Column("native_key", sa.Text(), nullable=True),
        sa.Column("native_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=True),
        sa.Column("trigger_kind", sa.Text(), nullable=True),
        sa.Column("trigger_native", sa.Text(), nullable=True),
        sa.Column("parent_run_id", Id(), nullable=True),
        sa.Column("caused_by_run_id", Id(), nullable=True),
        sa.Column("retry_of", Id(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("became_run_id", Id(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("native_state", sa.Text(), nullable=True),
        sa.Column("effective_state", sa.Text(), nullable=True),
        sa.Column("presumed", sa.Text(), nullable=True),
        sa.Column("queued_at", Moment(), nullable=True),
        sa.Column("started_at", Moment(), nullable=True),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("retry_expected_at", Moment(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("native_url", sa.Text(), nullable=True),
        sa.Column("clock_suspect", sa.Boolean(), nullable=True),
        sa.Column("frozen_position", sa.BigInteger(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("first_position"),
        sa.UniqueConstraint("run_id"),
        sqlite_with_rowid=True,
    )
    op.create_index(
        "runs_cause",
        "runs",
        ["caused_by_run_id"],
        unique=False,
        sqlite_where=sa.text("caused_by_run_id IS NOT NULL"),
        postgresql_where=sa.text("caused_by_run_id IS NOT NULL"),
    )
    op.create_index(
        "runs_correlation",
        "runs",
        ["correlation_id"],
        unique=False,
        sqlite_where=sa.text("correlation_id IS NOT NULL"),
        postgresql_where=sa.text("correlation_id IS NOT NULL"),
    )
    op.create_index(
        "runs_definition", "runs", ["engine", "deployment", "definition", "sort_at", "run_id"], unique=False
    )
    op.create_index("runs_native_id", "runs", ["native_id"], unique=False)
    op.create_index("runs_native_key", "runs", ["native_key", "attempt"], unique=False)
    op.create_index(
        "runs_parent",
        "runs",
        ["parent_run_id"],
        unique=False,
        sqlite_where=sa.text("parent_run_id IS NOT NULL"),
        postgresql_where=sa.text("parent_run_id IS NOT NULL"),
    )
    op.create_index("runs_sort", "runs", ["sort_at", "run_id"], unique=False)
    op.create_index("runs_state", "runs", ["effective_state", "sort_at", "run_id"], unique=False)
    op.create_table(
        "testimonies",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("event_id", Id(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("native_state", sa.Text(), nullable=True),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position"),
        sqlite_with_rowid=False,
    )
