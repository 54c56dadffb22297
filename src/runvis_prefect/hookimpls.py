"""What this adapter brings to RunVis's hooks. Light to import: a worker loads it too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runvis_core.hookspecs import hookimpl


@hookimpl
def runvis_engines() -> Iterable[str]:
    """Name the engine."""
    return ("prefect",)


@hookimpl
def runvis_followers() -> Mapping[str, Any]:
    """Bring the follower, which needs the store, and so no worker loads it."""

    def follow(url: str, **arguments: Any) -> None:
        from runvis_prefect import follower

        follower.follow(url, **arguments)

    return {"prefect": follow}
