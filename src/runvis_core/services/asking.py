"""Runs as they are, or as they were in the past that is asked about."""

from __future__ import annotations

from datetime import datetime

from runvis_core.services.answers import Page, RunDetail, RunSummary, TreeNode
from runvis_core.services.filters import RunFilter
from runvis_core.services.past_details import get_drawn_past_run, get_past_run_detail
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_runs import list_past_runs
from runvis_core.services.past_trees import get_past_tree
from runvis_core.services.run_details import DrawnRun, get_drawn_run, get_run
from runvis_core.services.run_trees import get_tree
from runvis_core.services.runs import list_runs
from runvis_core.store.database import Store


def list_runs_at(
    store: Store, filters: RunFilter, past: PastFilter, *, limit: int, cursor: str | None = None, now: datetime
) -> Page[RunSummary]:
    """Return a page of runs; see `list_runs` and `list_past_runs`."""
    if past.is_present:
        return list_runs(store, filters, limit=limit, cursor=cursor, now=now)
    return list_past_runs(store, filters, past, limit=limit, cursor=cursor, now=now)


def get_run_at(store: Store, name: str, past: PastFilter, *, now: datetime) -> RunDetail:
    """Return all that is or was known about a run; see `get_run` and `get_past_run_detail`."""
    if past.is_present:
        return get_run(store, name, now=now)
    return get_past_run_detail(store, name, past, now=now)


def get_drawn_run_at(store: Store, name: str, past: PastFilter, *, now: datetime) -> DrawnRun:
    """Return what `get_run_at` does, and what a drawing needs beyond it."""
    if past.is_present:
        return get_drawn_run(store, name, now=now)
    return get_drawn_past_run(store, name, past, now=now)


def get_tree_at(store: Store, name: str, past: PastFilter, *, now: datetime) -> TreeNode:
    """Return a run and what runs or ran inside it; see `get_tree` and `get_past_tree`."""
    return get_tree(store, name) if past.is_present else get_past_tree(store, name, past, now=now)
