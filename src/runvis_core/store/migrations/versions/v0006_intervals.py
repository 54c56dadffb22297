"""What is missing from the record, and what was known when.

Revision 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Id, Moment, Position

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and let producers remember their gaps."""
    op.add_column("producers", sa.Column("gaps", sa.Text(), nullable=True))
    op.add_column("producers", sa.Column("last_heard_at", Moment(), nullable=True))
    op.create_table(
        "refusals",
        sa.Column("producer", Id(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("deployment", sa.Text(), nullable=True),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("last_reason", sa.Text(), nullable=False),
        sa.Column("last_refused_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("producer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_producers",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("producer", Id(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("testified", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "producer"),
        sqlite_with_rowid=False,
    )
    op.create_index("run_producers_producer", "run_producers", ["producer"], unique=False)
    op.create_table(
        "worker_definitions",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition_kind", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("first_heard_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("engine", "deployment", "definition_kind", "definition"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_intervals",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("known_from", Position, nullable=False),
        sa.Column("known_to", sa.BigInteger(), nullable=True),
        sa.Column("from_at", Moment(), nullable=False),
        sa.Column("to_at", Moment(), nullable=True),
        sa.Column("sort_at", Moment(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=True),
        sa.Column("effective_state", sa.Text(), nullable=True),
        sa.Column("native_state", sa.Text(), nullable=True),
        sa.Column("trigger_kind", sa.Text(), nullable=True),
        sa.Column("native_key", sa.Text(), nullable=True),
        sa.Column("parent_run_id", Id(), nullable=True),
        sa.Column("caused_by_run_id", Id(), nullable=True),
        sa.Column("became_run_id", Id(), nullable=True),
        sa.Column("corrected", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "known_from", "from_at"),
        sqlite_with_rowid=False,
    )
    op.create_index("run_intervals_sort", "run_intervals", ["sort_at", "run_id"], unique=False)
    op.create_index(
        "run_intervals_definition",
        "run_intervals",
        ["engine", "deployment", "definition", "sort_at", "run_id"],
        unique=False,
    )
    op.create_index("run_intervals_state", "run_intervals", ["effective_state", "sort_at", "run_id"], unique=False)
    for name, column in (("native_key", "native_key"), ("parent", "parent_run_id"), ("cause", "caused_by_run_id")):
        is_set = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"run_intervals_{name}", "run_intervals", [column], sqlite_where=is_set, postgresql_where=is_set
        )
    op.create_table(
        "interval_bounds",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables, and what producers remember."""
    for name in ("interval_bounds", "run_intervals", "worker_definitions", "run_producers", "refusals"):
        op.drop_table(name)
    op.drop_column("producers", "last_heard_at")
    op.drop_column("producers", "gaps")
