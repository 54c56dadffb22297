"""`/search`: from what somebody pasted to what it names."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from runvis_core.api.state import state_of
from runvis_core.services.search import search
from runvis_core.services.search_answers import MAX_QUERY, Found

router = APIRouter()


class SearchQuery(BaseModel):
    """What to search for."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(
        min_length=1,
        max_length=MAX_QUERY,
        description="An id, a correlation id, an engine's address, a definition, a commit, a dataset, or words of an "
        "error.",
    )


@router.get("/search")
def get_search(request: Request, query: Annotated[SearchQuery, Query()]) -> Found:
    """Return what the words name: runs, definitions and datasets, the surest first; a whole id alone as `exact`."""
    return search(state_of(request).store, query.q)
