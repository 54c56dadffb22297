"""What RunVis itself brings to its hooks. Light to import: what it needs is loaded when an address asks for it."""

from __future__ import annotations

from typing import Any, Final

from runvis_core.hookspecs import hookimpl

SCHEMES: Final = frozenset({"sqlite", "postgresql", "postgresql+psycopg"})


@hookimpl
def runvis_store(url: str) -> Any:
    """Open the store in a SQLite file or a PostgreSQL database."""
    if url.partition(":")[0] not in SCHEMES:
        return None
    from runvis_core.store.database import open_store

    return open_store(url)


@hookimpl
def runvis_transport(url: str) -> Any:
    """Serve the addresses of such stores."""
    if url.partition(":")[0] not in SCHEMES:
        return None
    from runvis_core.services.transport import StoreTransport

    return StoreTransport(url)
