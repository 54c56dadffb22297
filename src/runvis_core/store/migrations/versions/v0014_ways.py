"""The ways through the runs: by native state, by parent and by trigger in the order of lists.

Revision 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes longer, and the new one."""
    op.drop_index("runs_state", "runs")
    op.create_index("runs_state", "runs", ["effective_state", "native_state", "sort_at", "run_id"], unique=False)
    op.drop_index("runs_parent", "runs")
    _create_partial("runs_parent", ["parent_run_id", "sort_at", "run_id"])
    _create_partial("runs_trigger", ["trigger_kind", "sort_at", "run_id"])


def downgrade() -> None:
    """Undo the upgrade."""
    op.drop_index("runs_trigger", "runs")
    op.drop_index("runs_parent", "runs")
    _create_partial("runs_parent", ["parent_run_id"])
    op.drop_index("runs_state", "runs")
    op.create_index("runs_state", "runs", ["effective_state", "sort_at", "run_id"], unique=False)


def _create_partial(name: str, columns: list[str]) -> None:
    is_set = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, "runs", columns, unique=False, sqlite_where=is_set, postgresql_where=is_set)
