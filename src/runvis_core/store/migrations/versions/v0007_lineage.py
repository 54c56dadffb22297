"""What reads, writes and starts what, and how often a chain of causes came back to where it began.

Revision 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Id, Moment, Position

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "lineage_nodes",
        sa.Column("number", Position, autoincrement=False, nullable=False),
        sa.Column("node_id", Id(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text()),
        sa.Column("deployment", sa.Text()),
        sa.Column("definition_kind", sa.Text()),
        sa.Column("namespace", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("node_id"),
    )
    op.create_index("lineage_nodes_name", "lineage_nodes", ["name"])
    op.create_table(
        "lineage_edges",
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_at", Moment(), nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", Moment(), nullable=False),
        sa.Column("run_count", sa.BigInteger(), nullable=False),
        sa.Column("last_runs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "target", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_edges_target", "lineage_edges", ["target", "source", "kind"])
    op.create_table(
        "lineage_triggers",
        sa.Column("thing", Id(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.Column("cause", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.PrimaryKeyConstraint("thing", "source"),
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_triggers_cause", "lineage_triggers", ["cause"])
    op.create_table(
        "lineage_turns",
        sa.Column("thing", Id(), nullable=False),
        sa.Column("node", sa.BigInteger(), nullable=False),
        sa.Column("cycle", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("seen_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("thing"),
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_turns_node", "lineage_turns", ["node", "position"])
    op.create_index("lineage_turns_cycle", "lineage_turns", ["cycle"])


def downgrade() -> None:
    """Drop the tables: the step begins again."""
    for name in ("lineage_turns", "lineage_triggers", "lineage_edges", "lineage_nodes"):
        op.drop_table(name)
