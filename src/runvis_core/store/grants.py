"""What each role of a PostgreSQL database may do with each table: said here and nowhere else.

The guards decide what a granted statement may do: the writer may delete a body only where its erasure stands in the
log, and the archivist an entry only where the guards let it go.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from runvis_core.store import tables as t


class Grant(NamedTuple):
    """The statements that each role may give on one table."""

    writer: tuple[str, ...]
    reader: tuple[str, ...] = ("SELECT",)
    archivist: tuple[str, ...] = ("SELECT",)


ADDED: Final = Grant(("SELECT", "INSERT"))
CHANGED: Final = Grant(("SELECT", "INSERT", "UPDATE"))
KEPT: Final = Grant(("SELECT", "INSERT", "UPDATE", "DELETE"))

GRANTS: Final[dict[str, Grant]] = {
    **{table.name: ADDED for table in (*t.INSERT_ONLY, *t.LEDGER)},
    **{table.name: KEPT for table in t.STEP_TABLES},
    "entries": ADDED._replace(archivist=("SELECT", "DELETE")),
    "event_ids": ADDED,
    "bodies": Grant(("SELECT", "INSERT", "DELETE"), archivist=("SELECT", "DELETE")),
    # Not inserted: the one row is there from the first. The update is also the lock that writers take.
    "head": Grant(("SELECT", "UPDATE")),
    "worker_definitions": ADDED,
    "refusals": CHANGED,
    "runs": CHANGED,
    "producers": CHANGED,
    "liveness": KEPT,
    "follower_watermarks": KEPT,
    "notice_rules": KEPT,
    "notices": KEPT,
    "sessions": KEPT,
    "alembic_version": Grant(("SELECT",)),
}
"""By table. What is only added to, and what steps keep, is told by the tables' own groups."""
