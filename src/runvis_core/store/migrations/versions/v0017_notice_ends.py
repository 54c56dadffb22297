"""Notices of each state in which a run ended: up to where ends were told of, and which one a notice tells.

Revision 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store.types import Moment

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What a rule has looked at it told of without noting the state: it is not told again."""
    op.add_column("notice_rules", sa.Column("floor_position", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("notice_rules", sa.Column("tells_of", sa.Text(), nullable=True))
    op.execute("UPDATE notice_rules SET floor_position = position")
    op.add_column("notices", sa.Column("state", sa.Text(), nullable=True))
    op.add_column("notices", sa.Column("retry_at", Moment(), nullable=True))
    op.execute(
        "UPDATE notices SET state = (SELECT effective_state FROM runs WHERE runs.run_id = notices.run_id)"
        " WHERE kind = 'run_ended'"
    )
    # Only the name: two engines may have the same. Of which definition a run is, `runs` says.
    op.drop_column("notices", "definition")


def downgrade() -> None:
    """Undo the upgrade."""
    op.add_column("notices", sa.Column("definition", sa.Text(), nullable=False, server_default=""))
    op.drop_column("notices", "retry_at")
    op.drop_column("notices", "state")
    op.drop_column("notice_rules", "tells_of")
    op.drop_column("notice_rules", "floor_position")
