"""The first claim of a team on each run, from the entries that tell of them.

Revision 0016
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import sqlalchemy as sa
from alembic import op

from runvis_core.store import tables as t
from runvis_core.store.guards import create_guards
from runvis_core.store.types import Id, Position

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

CHUNK: Final = 1000
_NAMED: Final = b'"team":'


def upgrade() -> None:
    """Create the table, fill it, and then its guards."""
    run_teams = op.create_table(
        "run_teams",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("position", Position, nullable=False),
        sa.Column("event_id", Id(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind(), run_teams)
    create_guards(op.get_bind(), [t.run_teams])


def _fill(connection: sa.Connection, run_teams: sa.Table) -> None:
    entries = sa.table(
        "entries",
        sa.column("position", Position),
        sa.column("event_id", Id),
        sa.column("run_id", Id),
        sa.column("entry", sa.LargeBinary),
    )
    # Only a first look: the name may stand anywhere in an entry.
    on_postgresql = connection.dialect.name == "postgresql"
    is_named = "position(:named IN entry) > 0" if on_postgresql else "instr(entry, :named) > 0"
    query = (
        sa.select(entries)
        .where(entries.c.position > sa.bindparam("after"), entries.c.run_id.is_not(None))
        .where(sa.text(is_named).bindparams(sa.bindparam("named", _NAMED, type_=sa.LargeBinary)))
        .order_by(entries.c.position)
        .limit(CHUNK)
    )
    after = 0
    while rows := connection.execute(query, {"after": after}).all():
        claims: dict[Any, dict[str, Any]] = {}
        for position, event_id, run_id, entry in rows:
            team = orjson.loads(entry)["event"].get("team")
            if team is not None:
                row = {"run_id": run_id, "position": position, "event_id": event_id, "team": _stored(team)}
                claims.setdefault(run_id, row)
        known = sa.select(run_teams.c.run_id).where(run_teams.c.run_id.in_(list(claims)))
        for run_id in connection.scalars(known).all():
            del claims[run_id]
        if claims:
            connection.execute(sa.insert(run_teams), list(claims.values()))
        after = rows[-1].position


def _stored(team: str) -> str:
    # PostgreSQL's text holds no NUL.
    return team.replace("\0", "\ufffd")


def downgrade() -> None:
    """Drop the table: the entries say what it said."""
    op.drop_table("run_teams")
