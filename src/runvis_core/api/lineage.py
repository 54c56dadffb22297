"""`/lineage` and `/loops`: what leads to what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from runvis_core.api.state import state_of
from runvis_core.services.answers import Page
from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import DEFAULT_LOOPS, MAX_LOOPS, Lineage, LineageQuery, Loop

router = APIRouter()


@router.get("/lineage")
def get_node_lineage(request: Request, query: Annotated[LineageQuery, Query()]) -> Lineage:
    """Return what is around a definition or dataset: what it reads, writes, starts, and what leads to it."""
    return get_lineage(state_of(request).store, query)


@router.get("/loops")
def get_loops(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LOOPS, description="How many loops at most.")] = DEFAULT_LOOPS,
) -> Page[Loop]:
    """Return the loops of the whole graph, those that turned last first; a note says how many are left out."""
    return list_loops(state_of(request).store, limit=limit)
