"""How a store is doing, in a few numbers that cost little: what a monitoring system asks for every few seconds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from sqlalchemy import Connection, exists, func, select

from runvis_core.emit.dead_letters import DEAD_FOLDER, count_lines
from runvis_core.emit.drain import find_deployments, find_spools
from runvis_core.emit.spool import read_ack
from runvis_core.services.reading import read_envelope, reading
from runvis_core.services.silence import has_fallen_silent
from runvis_core.services.steps import STEPS
from runvis_core.store.database import Store
from runvis_core.store.steps import Lag, list_lags
from runvis_core.store.tables import entries, head, liveness, producers, runs

_LAST_ENTRIES: Final = 100


class Vitals(NamedTuple):
    """What a store says of itself."""

    position: int
    """The last position of the log."""
    quiet_seconds: float | None
    """How long ago the last entry was recorded; None for an empty log."""
    delivery_lag_seconds: float | None
    """How long the last entries took from their fact to the log: the median of 100."""
    beating_runs: int
    """Runs that say that they are alive."""
    silent_runs: int
    """Those of them whose sign of life is overdue."""
    step_lags: list[Lag]
    """How far what is derived beside the log is behind it."""
    producers_refused: int
    """Events that producers said they could not keep."""


class SpoolVitals(NamedTuple):
    """What lies in this machine's spool."""

    files: int
    pending_bytes: int
    dead_letters: int


def read_vitals(store: Store, *, now: datetime) -> Vitals:
    """Return how the store is doing. Raises `UnreachableError`."""
    with reading(store) as connection:
        position, recorded_at = connection.execute(select(head.c.position, head.c.recorded_at)).one()
        beating, silent = _liveness(connection, now)
        return Vitals(
            position=position,
            quiet_seconds=(now - recorded_at).total_seconds() if recorded_at else None,
            delivery_lag_seconds=_delivery_lag(connection),
            beating_runs=beating,
            silent_runs=silent,
            step_lags=list_lags(connection, STEPS),
            producers_refused=int(connection.scalar(select(func.sum(producers.c.refused))) or 0),
        )


def _liveness(connection: Connection, now: datetime) -> tuple[int, int]:
    # Not a join: SQLite would go through all runs that have no end to find the few that beat.
    is_live = exists().where(runs.c.run_id == liveness.c.run_id, runs.c.frozen_position.is_(None))
    live = select(func.count()).select_from(liveness).where(is_live)
    silent = live.where(has_fallen_silent(now))
    return connection.scalar(live) or 0, connection.scalar(silent) or 0


def _delivery_lag(connection: Connection) -> float | None:
    query = select(entries.c.position, entries.c.entry).order_by(entries.c.position.desc()).limit(_LAST_ENTRIES)
    lags = [
        (entry.recorded_at - datetime.fromisoformat(entry.event["occurred_at"])).total_seconds()
        for entry in (read_envelope(row.position, row.entry) for row in connection.execute(query))
    ]
    return median(lags) if lags else None


def read_spool_vitals(spool_dir: Path) -> SpoolVitals:
    """Return what lies in a spool's folder, without reading it."""
    files = [path for folder in find_deployments(spool_dir) for path in find_spools(folder)]
    return SpoolVitals(
        files=len(files),
        pending_bytes=sum(_pending_bytes(path) for path in files),
        dead_letters=count_lines(spool_dir / DEAD_FOLDER),
    )


def _pending_bytes(path: Path) -> int:
    try:
        return max(0, path.stat().st_size - read_ack(path))
    except FileNotFoundError:  # Delivered meanwhile.
        return 0
