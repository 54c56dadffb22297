"""Sessions of people who signed in, and the runs that lie in no other run in the order of lists.

Revision 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Moment

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the indexes."""
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    is_top = sa.text("parent_run_id IS NULL")
    for name, columns in (
        ("runs_top", ["sort_at", "run_id"]),
        ("runs_top_definition", ["engine", "deployment", "definition", "sort_at", "run_id"]),
    ):
        op.create_index(name, "runs", columns, unique=False, sqlite_where=is_top, postgresql_where=is_top)


def downgrade() -> None:
    """Undo the upgrade."""
    for name in ("runs_top", "runs_top_definition"):
        op.drop_index(name, "runs")
    op.drop_table("sessions")
