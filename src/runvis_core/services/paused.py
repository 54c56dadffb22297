"""Which definitions an engine has paused, as its follower saw them last: what is so now, and no history.

It judges what is late, and nothing else. Kept beside the follower's watermark; a rebuild leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson
from sqlalchemy import Connection, select

from runvis_core.services.watermark import find_watermark, set_watermark
from runvis_core.store.database import Store
from runvis_core.store.tables import follower_watermarks

_KEY: Final = "paused"


def note_paused(store: Store, names: Iterable[str], *, engine: str, deployment: str) -> None:
    """Note that an installation of an engine has just these definitions paused."""
    value = orjson.dumps(sorted(set(names))).decode()
    if value != (find_watermark(store, engine=engine, deployment=deployment, key=_KEY) or "[]"):
        set_watermark(store, value, engine=engine, deployment=deployment, key=_KEY)


def find_paused(connection: Connection) -> set[tuple[str, str, str]]:
    """Return what is paused: engine, deployment and name of each definition."""
    columns = follower_watermarks.c
    query = select(columns.engine, columns.deployment, columns.value).where(columns.key == _KEY)
    return {(row.engine, row.deployment, name) for row in connection.execute(query) for name in orjson.loads(row.value)}
