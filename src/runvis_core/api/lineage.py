"""`/lineage` and `/loops`: what leads to what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request

from runvis_core.api.state import state_of
from runvis_core.services.answers import Page
from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import Lineage, LineageQuery, Loop, LoopQuery, PastLineageQuery
from runvis_core.services.past_filter import PastFilter

router = APIRouter()


@router.get("/lineage")
def get_node_lineage(request: Request, query: Annotated[PastLineageQuery, Query()]) -> Lineage:
    """Return what is around a definition or dataset: what it reads, writes, starts, and what leads to it.

    With `as_of` or `known_at`, as it was in that past.
    """
    around = LineageQuery.model_validate(query.model_dump(exclude=set(PastFilter.model_fields)))
    past = PastFilter(as_of=query.as_of, known_at=query.known_at)
    return get_lineage(state_of(request).store, around, past, now=datetime.now(UTC))


@router.get("/loops")
def get_loops(request: Request, query: Annotated[LoopQuery, Query()]) -> Page[Loop]:
    """Return the loops of the whole graph, those that turned last first; a note says how many are left out.

    With `as_of` or `known_at`, as they were in that past.
    """
    past = PastFilter(as_of=query.as_of, known_at=query.known_at)
    return list_loops(state_of(request).store, past, limit=query.limit, now=datetime.now(UTC))
