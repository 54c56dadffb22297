"""The ledger over the log: tiles, checkpoints, what witnesses signed, and what was declared.

Revision 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runvis_core.store import tables as t
from runvis_core.store.guards import create_guards
from runvis_core.store.types import Moment, Position

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their guards."""
    op.create_table(
        "tiles",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", Position, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hashes", sa.LargeBinary(length=8192), nullable=False),
        sa.PrimaryKeyConstraint("level", "number"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "checkpoints",
        sa.Column("number", Position, autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("made_at", Moment(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("tail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "cosignatures",
        sa.Column("number", Position, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_id", sa.LargeBinary(length=4), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", "name", "key_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "declarations",
        sa.Column("number", Position, autoincrement=False, nullable=False),
        sa.Column("made_at", Moment(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_with_rowid=True,
    )
    create_guards(op.get_bind(), t.LEDGER)


def downgrade() -> None:
    """Refuse: what testifies to the log is not thrown away."""
    raise NotImplementedError("the ledger's checkpoints are not thrown away: remove the database instead")
