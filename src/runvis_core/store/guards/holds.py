"""What a legal hold covers, said once for both databases."""

from __future__ import annotations

from typing import Final

HELD: Final = (
    "SELECT 1 FROM holds JOIN entries ON entries.position = {position} LEFT JOIN runs ON runs.run_id = entries.run_id"
    " WHERE NOT EXISTS (SELECT 1 FROM hold_releases WHERE hold_releases.hold_id = holds.hold_id)"
    " AND (held_run_id IS NULL OR held_run_id = entries.run_id)"
    " AND (holds.engine IS NULL OR holds.engine = runs.engine)"
    " AND (holds.deployment IS NULL OR holds.deployment = runs.deployment)"
    " AND (holds.definition IS NULL OR holds.definition = runs.definition)"
)
"""The query that finds a row where a hold which nobody released covers the run of an entry."""
