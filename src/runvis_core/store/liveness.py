"""Signs of life: one mutable row per live run, and no part of the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from runvis_core.errors import UnreachableError
from runvis_core.store import tables as t


def record_beats(engine: Engine, intervals: Mapping[UUID, float], now: datetime) -> None:
    """Note that runs were alive `now`, and mean to say so again within their interval in seconds."""
    if not intervals:
        return
    insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement = insert(t.liveness)
    statement = statement.on_conflict_do_update(
        index_elements=[t.liveness.c.run_id],
        set_={name: statement.excluded[name] for name in ("last_heartbeat_at", "interval_seconds")},
    )
    query = select(t.runs.c.run_id).where(t.runs.c.run_id.in_(list(intervals)), t.runs.c.frozen_position.is_not(None))
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    try:
        with engine.connect().execution_options(**options) as connection, connection.begin():
            ended = set(connection.execute(query).scalars())
            rows = [
                {"run_id": run_id, "last_heartbeat_at": now, "interval_seconds": seconds}
                # In order, so that two servers which note the same runs never wait for each other in a circle.
                for run_id, seconds in sorted(intervals.items())
                if run_id not in ended
            ]
            if rows:
                connection.execute(statement, rows)
    except OperationalError as error:
        raise UnreachableError(f"signs of life can't be noted now: {error.orig}") from error
