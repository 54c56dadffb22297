"""Where each projection beside the log stands.

Revision 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Position

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "steps",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table: the steps begin again."""
    op.drop_table("steps")
