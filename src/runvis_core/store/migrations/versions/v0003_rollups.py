"""Counts of runs, the health of definitions, and the words of failures.

Revision 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Id, Moment, Word

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; the steps fill them."""
    op.create_table(
        "rollups",
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("begins_at", Moment(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("durations", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("span", "begins_at", "engine", "deployment", "definition", "definition_kind", "state"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "rollups_definition",
        "rollups",
        ["definition", "engine", "deployment", "definition_kind", "span", "begins_at"],
    )
    op.create_table(
        "rollup_runs",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("duration_bin", sa.Integer(), nullable=True),
        sa.Column("queue_bin", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    _create_health()
    _create_failures()
    by_character = {"definition": "text_pattern_ops", "code_version": "text_pattern_ops"}
    op.create_index("definitions_name", "definitions", ["definition"], postgresql_ops=by_character)
    is_set = sa.text("code_version IS NOT NULL")
    op.create_index(
        "definition_versions_code",
        "definition_versions",
        ["code_version"],
        sqlite_where=is_set,
        postgresql_where=is_set,
        postgresql_ops=by_character,
    )


def _create_health() -> None:
    op.create_table(
        "definition_health",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_kind", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("is_inner", sa.Boolean(), nullable=False),
        sa.Column("last_begun_at", Moment(), nullable=True),
        sa.Column("last_run_id", Id(), nullable=True),
        sa.Column("last_state", sa.Text(), nullable=True),
        sa.Column("last_at", Moment(), nullable=True),
        sa.Column("good_run_id", Id(), nullable=True),
        sa.Column("good_at", Moment(), nullable=True),
        sa.Column("failing_since", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("engine", "deployment", "definition", "definition_kind"),
        sqlite_with_rowid=False,
    )
    op.create_index("definition_health_state", "definition_health", ["last_state", "is_inner"])
    is_set = sa.text("schedule IS NOT NULL")
    op.create_index(
        "definition_health_schedule",
        "definition_health",
        ["schedule"],
        sqlite_where=is_set,
        postgresql_where=is_set,
    )


def _create_failures() -> None:
    op.create_table(
        "failures",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("sort_at", Moment(), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "failure_words",
        sa.Column("word", Word, nullable=False),
        sa.Column("sort_at", Moment(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.PrimaryKeyConstraint("word", "sort_at", "run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("failure_words_run", "failure_words", ["run_id"])


def downgrade() -> None:
    """Drop the tables; the steps begin again."""
    op.drop_index("definition_versions_code", "definition_versions")
    op.drop_index("definitions_name", "definitions")
    for table in ("failure_words", "failures", "definition_health", "rollup_runs", "rollups"):
        op.drop_table(table)
    op.execute("DELETE FROM steps WHERE name IN ('rollups', 'failures')")
