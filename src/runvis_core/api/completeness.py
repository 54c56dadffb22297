"""`/completeness`: what is missing from the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from runvis_core.api.state import state_of
from runvis_core.services.completeness import get_completeness
from runvis_core.services.completeness_answers import Completeness, CompletenessFilter
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter()


class CompletenessQuery(CompletenessFilter):
    """Of what the account is asked for, and how many rows of it."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many rows at most.")


@router.get("/completeness")
def get_account(request: Request, query: Annotated[CompletenessQuery, Query()]) -> Completeness:
    """Return what came and what did not: the producers' numbers, their gaps, and the runs that are not whole."""
    filters = CompletenessFilter.model_validate(query.model_dump(exclude={"limit"}))
    return get_completeness(state_of(request).store, filters, limit=query.limit, now=datetime.now(UTC))
