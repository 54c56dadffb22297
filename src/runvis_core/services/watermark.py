"""How far a follower has read its engine: kept in the store, so that another process goes on where one stopped."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from runvis_core.store.database import Store
from runvis_core.store.tables import follower_watermarks


def find_watermark(store: Store, *, engine: str, deployment: str, key: str) -> str | None:
    """Return a watermark as it was last set; None before that."""
    columns = follower_watermarks.c
    query = select(columns.value).where(columns.engine == engine, columns.deployment == deployment, columns.key == key)
    with store.engine.connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def set_watermark(store: Store, value: str, *, engine: str, deployment: str, key: str) -> None:
    """Set a watermark."""
    insert: Any = postgresql.insert if store.engine.dialect.name == "postgresql" else sqlite.insert
    statement = insert(follower_watermarks).values(engine=engine, deployment=deployment, key=key, value=value)
    statement = statement.on_conflict_do_update(
        index_elements=["engine", "deployment", "key"], set_={"value": statement.excluded.value}
    )
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    with store.engine.connect().execution_options(**options) as connection, connection.begin():
        connection.execute(statement)
