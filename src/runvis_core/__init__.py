"""RunVis: the flight recorder of orchestrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runvis_core.emit.current import CurrentRun, current_run
    from runvis_core.errors import RunVisError

__all__ = ["CurrentRun", "RunVisError", "current_run"]

_HOMES = {
    "CurrentRun": "runvis_core.emit.current",
    "RunVisError": "runvis_core.errors",
    "current_run": "runvis_core.emit.current",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: importing any module of the package imports this one first, and must stay cheap.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
