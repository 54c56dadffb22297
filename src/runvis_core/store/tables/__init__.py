"""The tables of a store.

`head`, `entries`, `event_ids` and `bodies` are the log; `LEDGER` testifies to it. All others are projections, which
`rebuild` derives from it, but for `liveness` (heartbeats are no entries), `follower_watermarks` (a follower's own
bookkeeping), `refusals` (what was refused is no entry), `notice_rules` and `notices` (whom the server has told what)
and `sessions` (of who signed in).

What is stored only once is keyed so that it can be inserted only once: the guards refuse the rest (see `guards`).
No foreign keys: the guards and the fold say what belongs together, and the log's order is the only truth.

Each module declares the tables of one theme. All are given here by name, and with them the groups that the guards, a
rebuild and the grants go by: a table of any other module would be none of the store's.
"""

from __future__ import annotations

from typing import Final

from runvis_core.store.tables.builders import metadata
from runvis_core.store.tables.catalogue import dataset_declarations, definition_errors, definition_versions, definitions
from runvis_core.store.tables.derived import (
    STEP_TABLES,
    definition_health,
    failure_words,
    failures,
    interval_bounds,
    outer_definitions,
    rollup_runs,
    rollups,
    run_intervals,
    run_producers,
    steps,
)
from runvis_core.store.tables.governance import DECISIONS, decisions, erasures, hold_releases, holds, sessions
from runvis_core.store.tables.ledger import LEDGER, checkpoints, cosignatures, declarations, tiles
from runvis_core.store.tables.lineage import (
    LINEAGE,
    lineage_edges,
    lineage_facts,
    lineage_nodes,
    lineage_runs,
    lineage_triggers,
    lineage_turns,
)
from runvis_core.store.tables.log import LOG, PARTITION_SIZE, bodies, entries, event_ids, head
from runvis_core.store.tables.notifications import notice_rules, notices
from runvis_core.store.tables.records import (
    RUN_NAME,
    RUN_WRITE_ONCE,
    aliases,
    artifacts,
    corrections,
    datasets,
    links,
    metrics,
    run_late,
    run_tags,
    run_teams,
    runs,
    testimonies,
)
from runvis_core.store.tables.reporters import follower_watermarks, liveness, producers, refusals, worker_definitions

INSERT_ONLY: Final = (
    bodies,
    testimonies,
    corrections,
    run_late,
    run_tags,
    run_teams,
    datasets,
    artifacts,
    metrics,
    links,
    aliases,
    definitions,
    definition_versions,
    definition_errors,
    dataset_declarations,
    decisions,
    holds,
    hold_releases,
    erasures,
)
"""Tables whose rows never change and never leave, beside `entries` and `event_ids`. A body leaves by its erasure."""

KEPT: Final = (liveness, follower_watermarks, refusals, notice_rules, notices, sessions)
"""Tables that are neither log nor derived from it."""

PROJECTIONS: Final = tuple(table for table in metadata.sorted_tables if table not in (*LOG, *KEPT, *LEDGER))
"""Tables that a rebuild derives from the log."""

__all__ = [
    "DECISIONS",
    "INSERT_ONLY",
    "KEPT",
    "LEDGER",
    "LINEAGE",
    "LOG",
    "PARTITION_SIZE",
    "PROJECTIONS",
    "RUN_NAME",
    "RUN_WRITE_ONCE",
    "STEP_TABLES",
    "aliases",
    "artifacts",
    "bodies",
    "checkpoints",
    "corrections",
    "cosignatures",
    "dataset_declarations",
    "datasets",
    "decisions",
    "declarations",
    "definition_errors",
    "definition_health",
    "definition_versions",
    "definitions",
    "entries",
    "erasures",
    "event_ids",
    "failure_words",
    "failures",
    "follower_watermarks",
    "head",
    "hold_releases",
    "holds",
    "interval_bounds",
    "lineage_edges",
    "lineage_facts",
    "lineage_nodes",
    "lineage_runs",
    "lineage_triggers",
    "lineage_turns",
    "links",
    "liveness",
    "metadata",
    "metrics",
    "notice_rules",
    "notices",
    "outer_definitions",
    "producers",
    "refusals",
    "rollup_runs",
    "rollups",
    "run_intervals",
    "run_late",
    "run_producers",
    "run_tags",
    "run_teams",
    "runs",
    "sessions",
    "steps",
    "testimonies",
    "tiles",
    "worker_definitions",
]
