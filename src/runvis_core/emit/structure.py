"""A definition's structure that is too large to be sent: all of its tasks before any more is said of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from runvis_core.model.encoding import encode

MAX_LISTED: Final = 100_000
"""The most tasks, or edges, that are looked at."""
_TELLING: Final = (("id", "operator"), ("id",))
"""What is left of each task, the first that makes a structure small enough."""
_FRAME_BYTES: Final = 4096
"""What is kept free for all but tasks and edges."""


def fold_structure(structure: Any, max_bytes: int) -> dict[str, Any] | None:
    """Return a structure with less said of it, at most so large as JSON; None for what is none.

    Its tasks keep their ids, and their operators where there is room; then come as many edges as there is room for.
    `cut` counts the tasks and edges that are left out, and names the `fields` of tasks that are.
    """
    if not isinstance(structure, dict):
        return None
    said = cast("dict[str, Any]", structure)
    tasks, edges = _listed(said.get("tasks")), _listed(said.get("edges") or [])
    if tasks is None or edges is None:
        return None
    told = [cast("dict[str, Any]", task) for task in tasks if isinstance(task, dict)]
    fields = dict.fromkeys(name for task in told for name in task)
    room = max_bytes - _FRAME_BYTES
    sizes_of_edges = [_size_of(edge) for edge in edges]
    sizes: list[int] = []
    kept: Sequence[str] = ()
    for kept in _TELLING:
        told = [{name: task[name] for name in kept if name in task} for task in told]
        sizes = [_size_of(task) for task in told]
        if sum(sizes) + sum(sizes_of_edges) <= room:
            break
    shown, left = _fitting(sizes, room)
    joined, _ = _fitting(sizes_of_edges, left)
    return {
        "tasks": told[:shown],
        "edges": edges[:joined],
        "cut": {
            "tasks": len(tasks) - shown,
            "edges": len(edges) - joined,
            "fields": [name for name in fields if name not in kept],
        },
    }


def _listed(value: Any) -> list[Any] | None:
    return cast("list[Any]", value) if isinstance(value, list) else None


def _size_of(item: Any) -> int:
    return len(encode(item)) + 1


def _fitting(sizes: Sequence[int], room: int) -> tuple[int, int]:
    """Return how many of the first have room together, and the room that is left."""
    for place, size in enumerate(sizes):
        if size > room:
            return place, room
        room -= size
    return len(sizes), room
