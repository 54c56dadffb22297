"""Whom the server tells of what: the rules' places in the log, and their queues.

Revision 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Id, Moment, Position

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "notice_rules",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("loop_position", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", Moment(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", Moment(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("rule"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notices",
        sa.Column("notice_id", Id(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("made_at", Moment(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("claimed_until", Moment(), nullable=True),
        sa.Column("settled_at", Moment(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("notices_rule", "notices", ["rule", "outcome", "made_at", "position"])
    op.create_index("notices_run", "notices", ["run_id"])


def downgrade() -> None:
    """Drop the tables: the rules begin anew at the head of the log."""
    op.drop_table("notices")
    op.drop_table("notice_rules")
