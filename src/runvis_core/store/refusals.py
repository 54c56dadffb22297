"""What the door refused, by the numbers that its producers gave it: it stands in no entry, and yet it came."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from runvis_core.errors import UnreachableError
from runvis_core.model.encoding import encode
from runvis_core.store import tables as t
from runvis_core.store.producers import add_numbers


class Refusal(NamedTuple):
    """An event that was refused and that could be named."""

    producer: UUID
    sequence: int
    engine: str | None
    deployment: str | None
    reason: str


def record_refusals(engine: Engine, refusals: Iterable[Refusal], now: datetime) -> None:
    """Remember which numbers were refused `now`. Raises `UnreachableError` if the store can't be written to."""
    by_producer: dict[UUID, list[Refusal]] = {}
    for refusal in refusals:
        by_producer.setdefault(refusal.producer, []).append(refusal)
    if not by_producer:
        return
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement = insert(t.refusals)
    statement = statement.on_conflict_do_update(
        index_elements=[t.refusals.c.producer],
        set_={name: statement.excluded[name] for name in ("numbers", "last_reason", "last_refused_at")},
    )
    columns = t.refusals.c
    try:
        with engine.connect().execution_options(**options) as connection, connection.begin():
            # One at a time, as appends are: two servers may have refused two parts of what one producer sent.
            connection.execute(select(t.head.c.position).with_for_update())
            query = select(columns.producer, columns.numbers).where(columns.producer.in_(list(by_producer)))
            known = {row.producer: orjson.loads(row.numbers) for row in connection.execute(query)}
            rows = [
                {
                    "producer": producer,
                    "engine": refused[0].engine,
                    "deployment": refused[0].deployment,
                    "numbers": encode(add_numbers(known.get(producer, []), (one.sequence for one in refused))).decode(),
                    "last_reason": refused[-1].reason,
                    "last_refused_at": now,
                }
                for producer, refused in by_producer.items()
            ]
            connection.execute(statement, rows)
    except OperationalError as error:
        raise UnreachableError(f"what was refused can't be noted now: {error.orig}") from error
