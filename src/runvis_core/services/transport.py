"""The transport of an engine that writes to a store by itself, without a server between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from runvis_core.errors import DeliveryError, StoreAddressError, StoreError
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.plugins import find_store
from runvis_core.services.ingest import ingest_items, record_heartbeats
from runvis_core.store.database import Store

PRINCIPAL: Final = "local"
"""Whoever may write to the database itself. There is no name to hold against a password here."""


class StoreTransport:
    """Delivers into a store. It is opened when something is first delivered, and again after it failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None

    def deliver(self, items: Sequence[bytes]) -> Sequence[dict[str, Any]]:
        """Hand over wire items; return what became of each. Raises `DeliveryError` when none was stored."""
        try:
            outcomes = ingest_items(self._open(), items, principal=PRINCIPAL)
        except StoreError as error:
            raise DeliveryError(str(error)) from error
        return [outcome.as_json() for outcome in outcomes]

    def beat(self, beats: Sequence[Heartbeat]) -> None:
        """Hand over signs of life. Raises `DeliveryError`."""
        try:
            record_heartbeats(self._open(), beats)
        except StoreError as error:
            raise DeliveryError(str(error)) from error

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _open(self) -> Store:
        if self._store is None:
            store = find_store(self._url)
            if store is None:
                raise StoreAddressError(f"no store answers to {self._url.partition(':')[0]}: is its plugin installed?")
            self._store = store
            return store
        return self._store
