"""The way from a run to the ids under which it waited.

Revision 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    is_set = sa.text("became_run_id IS NOT NULL")
    op.create_index(
        "runs_became", "runs", ["became_run_id"], unique=False, sqlite_where=is_set, postgresql_where=is_set
    )


def downgrade() -> None:
    """Undo the upgrade."""
    op.drop_index("runs_became", "runs")
