"""`/definitions`: what can run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from runvis_core.api.paths import DefinitionName
from runvis_core.api.state import state_of
from runvis_core.services.answers import DefinitionDetail, DefinitionSummary, Page
from runvis_core.services.definitions import list_definitions
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT, DefinitionFilter
from runvis_core.services.past_definitions import get_definition_at
from runvis_core.services.past_filter import PastFilter

router = APIRouter()


class DefinitionQuery(DefinitionFilter):
    """Which definitions, how many, and from where on."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before, with the same filters.")


@router.get("/definitions")
def get_definitions(request: Request, query: Annotated[DefinitionQuery, Query()]) -> Page[DefinitionSummary]:
    """Return definitions, by engine, deployment and name."""
    filters = query.definition_filter()
    return list_definitions(state_of(request).store, filters, limit=query.limit, cursor=query.cursor)


class PastDefinitionQuery(DefinitionFilter, PastFilter):
    """Which definition, and in which past."""


@router.get("/definitions/{name:name}")
def get_one_definition(
    request: Request, name: DefinitionName, query: Annotated[PastDefinitionQuery, Query()]
) -> DefinitionDetail:
    """Return a definition, its versions and its recent runs: as they are, or as they were known in a past."""
    filters = query.definition_filter()
    past = PastFilter(as_of=query.as_of, known_at=query.known_at)
    return get_definition_at(state_of(request).store, name, filters, past, now=datetime.now(UTC))
