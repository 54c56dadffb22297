"""Counts what a server answers to requests that were made to break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
from tests.faults.scale import found

Serve = Callable[..., httpx.Client]


def count_requests(serve: Serve) -> Iterator[Serve]:
    """Yield a `serve` whose clients are listened to; at the end tell how often they asked, and require no 5xx."""
    requests, failed = 0, list[str]()

    def hear(response: httpx.Response) -> None:
        nonlocal requests
        requests += 1
        if response.status_code >= 500:
            failed.append(f"{response.request.method} {response.request.url}: {response.status_code}")

    def start(**options: Any) -> httpx.Client:
        client = serve(**options)
        client.event_hooks = {"response": [hear]}
        return client

    yield start
    found("ingest", requests=requests, server_errors=len(failed))
    assert failed == []
