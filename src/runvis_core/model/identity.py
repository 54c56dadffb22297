"""Deterministic ids: whoever knows an engine's native key names the same run, event or version alike.

Every id is a version 5 UUID over named parts. Parts are joined as JSON, so that no choice of characters in
one part can be mistaken for the border between two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

NAMESPACE: Final = UUID("6f1c7a52-3d0e-5b8e-9a54-52756e566973")
NIL: Final = UUID(int=0)

Part = str | int | None


def named_id(*parts: Part) -> UUID:
    """Return the version 5 UUID of `parts`, in RunVis's own namespace."""
    name = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def run_id(engine: str, deployment: str, native_attempt: Iterable[Part]) -> UUID:
    """Return the id of one attempt.

    `native_attempt` is the engine's own key of the attempt, kind first:
    `("task_instance", dag_id, run_id, task_id, map_index, try_number, dag_run_start)`.
    """
    return named_id("run", engine, deployment, *native_attempt)


def definition_version_id(engine: str, deployment: str, definition: str, version: str) -> UUID:
    """Return the id of one version of a definition; `version` is the hash of its content."""
    return named_id("definition", engine, deployment, definition, version)


def correction_id(corrected: UUID, state: str) -> UUID:
    """Return the id of the correction which says that the run `corrected` ended as `state`."""
    return named_id("correction", str(corrected), state)


def timestamp(moment: datetime) -> str:
    """Return `moment` as every id, event and text column has it: UTC, microseconds, `Z`.

    Fixed in width, so that text order is time order.
    """
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"
