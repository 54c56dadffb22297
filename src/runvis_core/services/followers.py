"""Followers that plugins bring, by the name of their engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runvis_core.errors import SettingsError
from runvis_core.plugins import plugin_manager


def find_follower(engine: str) -> Callable[..., None]:
    """Return the follower of an engine. Raises `SettingsError`, naming those that there are."""
    found: dict[str, Any] = {}
    for answer in plugin_manager().ask("runvis_followers"):
        found |= dict(answer.value or {})
    if engine not in found:
        there = ", ".join(sorted(found)) or "none"
        raise SettingsError(
            f"no plugin follows {engine!r}; followers that are installed: {there} (see `runvis plugins`)"
        )
    return found[engine]
