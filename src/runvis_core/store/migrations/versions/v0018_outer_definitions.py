"""The definitions of which some run lay in no other.

Revision 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, with what the intervals that stand there say."""
    op.create_table(
        "outer_definitions",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("engine", "deployment", "definition"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO outer_definitions (engine, deployment, definition)"
        " SELECT DISTINCT engine, deployment, definition FROM run_intervals"
        " WHERE parent_run_id IS NULL AND definition IS NOT NULL"
    )


def downgrade() -> None:
    """Undo the upgrade."""
    op.drop_table("outer_definitions")
