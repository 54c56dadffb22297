"""Decisions about the store itself: tokens, legal holds, erasures; and who looked.

Revision 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store import tables as t
from runvis_core.store.guards import create_functions, create_guards, drop_guards
from runvis_core.store.types import Id, Moment, Position

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and let a body leave by its erasure."""
    op.create_table(
        "decisions",
        sa.Column("position", Position, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("about_run_id", Id(), nullable=True),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sqlite_with_rowid=True,
    )
    op.create_index("decisions_name", "decisions", ["name", "position"], unique=False)
    op.create_table(
        "holds",
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("held_run_id", Id(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("deployment", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("hold_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hold_releases",
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.PrimaryKeyConstraint("hold_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erasures",
        sa.Column("position", Position, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("decided_position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", "digest"),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    create_functions(connection)
    drop_guards(connection, [t.bodies])
    create_guards(connection, [t.bodies, *t.DECISIONS])


def downgrade() -> None:
    """Refuse: what was decided is not undone."""
    raise NotImplementedError("what was decided stays: restore the store from before the upgrade instead")
