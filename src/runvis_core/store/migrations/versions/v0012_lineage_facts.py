"""Lineage with each of its facts, and with what identities said first. The step derives all of it anew.

Revision 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Id, Moment, Position

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the new tables, widen those that were there, and let the step begin again."""
    op.create_table(
        "lineage_runs",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("node_id", Id(), nullable=False),
        sa.Column("thing", Id(), nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("parent", Id()),
        sa.Column("parent_at", sa.BigInteger(), nullable=False),
        sa.Column("cause", Id()),
        sa.Column("cause_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_runs_thing", "lineage_runs", ["thing"])
    for column in ("parent", "cause"):
        is_set = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"lineage_runs_{column}", "lineage_runs", [column], sqlite_where=is_set, postgresql_where=is_set
        )
    op.create_table(
        "lineage_facts",
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("happened_at", Moment(), nullable=False),
        sa.Column("seen_at", Moment(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.PrimaryKeyConstraint("source", "target", "kind", "subject", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_facts_target", "lineage_facts", ["target", "source", "kind"])
    _begin_again()
    op.add_column("lineage_nodes", sa.Column("position", Position, nullable=False))
    for table in ("lineage_triggers", "lineage_turns"):
        op.add_column(table, sa.Column("happened_at", Moment(), nullable=False))


def _begin_again() -> None:
    for table in ("lineage_turns", "lineage_triggers", "lineage_edges", "lineage_nodes"):
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - our own words
    op.execute("DELETE FROM steps WHERE name = 'lineage'")


def downgrade() -> None:
    """Undo the upgrade."""
    _begin_again()
    for table in ("lineage_triggers", "lineage_turns"):
        op.drop_column(table, "happened_at")
    op.drop_column("lineage_nodes", "position")
    op.drop_table("lineage_facts")
    op.drop_table("lineage_runs")
