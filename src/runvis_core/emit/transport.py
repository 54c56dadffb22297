"""How delivered events leave the process: a protocol, and which transport answers to an address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from runvis_core.errors import StoreAddressError
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.worker_settings import WorkerSettings

Outcome = dict[str, Any]
"""What became of one item: `index`, `status`, and for a refused one `field` and `reason`."""

REFUSED = "refused"


class Transport(Protocol):
    """The way to one store or server."""

    def deliver(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """Hand over wire items; return what became of each, in their order.

        Raises `DeliveryError` when none counts as handed over, and `RefusedError` when the batch as a whole can't be
        taken, now or later.
        """
        ...

    def beat(self, beats: Sequence[Heartbeat]) -> None:
        """Hand over signs of life. Raises `DeliveryError`."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def open_transport(settings: WorkerSettings) -> Transport:
    """Return the transport for `settings.url`. Raises `StoreAddressError` where none answers to it."""
    url = settings.url or ""
    if url.startswith(("http://", "https://")):
        from runvis_core.emit.http import HttpTransport  # Loaded when something is to be sent, not before.

        return HttpTransport(settings)
    return _plugin_transport(url)


def _plugin_transport(url: str) -> Transport:
    from runvis_core.plugins import find_transport

    transport = find_transport(url)
    if transport is None:
        scheme = url.partition("://")[0]
        raise StoreAddressError(
            f"no transport answers to '{scheme}://' in RUNVIS_URL: use http(s)://, or install runvis[store] for sqlite:///"
        )
    return transport
