"""`/corrections`: which runs ended otherwise than they were frozen, and who says so."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from runvis_core.api.state import state_of
from runvis_core.services.answers import Page
from runvis_core.services.correction_answers import CorrectionFilter, CorrectionSummary
from runvis_core.services.corrections import list_corrections
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter()


class CorrectionQuery(CorrectionFilter):
    """Which corrections, how many, and from where on."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before, with the same filters.")


@router.get("/corrections")
def get_corrections(request: Request, query: Annotated[CorrectionQuery, Query()]) -> Page[CorrectionSummary]:
    """Return corrections, the last recorded first."""
    filters = CorrectionFilter.model_validate(query.model_dump(exclude={"limit", "cursor"}))
    return list_corrections(state_of(request).store, filters, limit=query.limit, cursor=query.cursor)
