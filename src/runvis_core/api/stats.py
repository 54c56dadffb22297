"""`/stats`, `/health`, and a definition's trend and grid: counts and times, and what is broken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from runvis_core.api.paths import DefinitionName
from runvis_core.api.state import state_of
from runvis_core.services.calendar import AskedEnd, AskedMoment
from runvis_core.services.filters import DefinitionFilter, Dimension, StatFilter
from runvis_core.services.grids import DEFAULT_RUNS, MAX_RUNS
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_grids import get_grid_at
from runvis_core.services.past_health import get_health_at
from runvis_core.services.stats import get_trend, list_stats
from runvis_core.services.stats_answers import Grid, Health, StatTable, Trend

router = APIRouter()


class TrendQuery(DefinitionFilter):
    """Which definition, and which time."""

    since: AskedMoment | None = Field(default=None, description="From then on; 14 days before `until` if left out.")
    until: AskedEnd | None = Field(default=None, description="Before then; now if left out.")
    step: Literal["hour", "day"] = Field(default="day", description="How long one point is.")


class GridQuery(DefinitionFilter, PastFilter):
    """Which definition, which of its runs, and in which past."""

    limit: int = Field(default=DEFAULT_RUNS, ge=1, le=MAX_RUNS, description="How many runs at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the grid before: older runs.")
    first_step: int = Field(default=0, ge=0, le=1_000_000, description="From which step on, counted from 0.")


@router.get("/stats")
def get_stats(request: Request, query: Annotated[StatFilter, Query()]) -> StatTable:
    """Return how many runs there were and how long they took, told apart by what is asked for."""
    return list_stats(state_of(request).store, query, now=datetime.now(UTC))


@router.get("/health")
def get_health_of_definitions(request: Request, past: Annotated[PastFilter, Query()]) -> Health:
    """Return which definitions fail or are late, which runs are silent, and the last 14 days of each engine.

    With `as_of` or `known_at`, which failed or were late in that past; a note says what is not told of it.
    """
    return get_health_at(state_of(request).store, past, now=datetime.now(UTC))


@router.get("/definitions/{name:name}/trend")
def get_definition_trend(request: Request, name: DefinitionName, query: Annotated[TrendQuery, Query()]) -> Trend:
    """Return how a definition's runs went over time, and which versions came up meanwhile."""
    return get_trend(
        state_of(request).store,
        name,
        query.definition_filter(),
        since=query.since,
        until=query.until,
        step=Dimension(query.step),
        now=datetime.now(UTC),
    )


@router.get("/definitions/{name:name}/grid")
def get_definition_grid(request: Request, name: DefinitionName, query: Annotated[GridQuery, Query()]) -> Grid:
    """Return a definition's last runs beside one another: steps by runs, with all attempts of each step.

    With `as_of` or `known_at`, as they were in that past.
    """
    return get_grid_at(
        state_of(request).store,
        name,
        query.definition_filter(),
        PastFilter(as_of=query.as_of, known_at=query.known_at),
        limit=query.limit,
        cursor=query.cursor,
        first_step=query.first_step,
        now=datetime.now(UTC),
    )
