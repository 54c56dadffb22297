"""Definitions: what can run, is it healthy, and when did it change?"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.state import State
from runvis_core.services.answers import DefinitionDetail
from runvis_core.services.definitions import get_definition, list_definitions
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.grids import MAX_STEPS, get_grid
from runvis_core.services.stats_answers import Grid
from runvis_core.web.drawing.grid import draw_grid
from runvis_core.web.drawing.looks import look_at
from runvis_core.web.drawing.text import count_of, name_duration
from runvis_core.web.page import AskedError, asked, number, store_of, understand
from runvis_core.web.rendering import now_of, render, with_query

PAGE_ROWS: Final = 50
GRID_RUNS: Final = 40


def show_definitions(request: Request) -> Response:
    """Show what can run, by engine, deployment and name."""
    given = asked(request)
    cursor = given.pop("cursor", None)
    if isinstance(cursor, list):
        raise AskedError("cursor", "there is one at most")
    page = list_definitions(store_of(request), understand(DefinitionFilter, given), limit=PAGE_ROWS, cursor=cursor)
    return render(
        request,
        "definitions.html",
        page=page,
        asked={name: given.get(name, "") for name in DefinitionFilter.model_fields},
        is_filtered=bool(given),
        next_href=with_query("/definitions", {**given, "cursor": page.next_cursor}) if page.next_cursor else None,
        address=str(request.base_url).rstrip("/"),
    )


def show_definition(request: Request) -> Response:
    """Show a definition with its versions and its recent runs."""
    given = asked(request)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise AskedError("name", "must be the whole name of one definition")
    cursor = given.pop("cursor", None)
    if isinstance(cursor, list):
        raise AskedError("cursor", "there is one at most")
    first_step = number(given.pop("first_step", None), "first_step")
    filters = understand(DefinitionFilter, given)
    one = get_definition(store_of(request), name, filters)
    grid = get_grid(
        store_of(request), name, filters, limit=GRID_RUNS, cursor=cursor, first_step=first_step, now=now_of(request)
    )
    named = {"engine": one.engine, "deployment": one.deployment, "definition": one.definition}
    return render(
        request,
        "definition.html",
        one=one,
        sentence=_sentence(one),
        runs_href=with_query("/runs", {**named, "all": True}),
        actions=[
            (
                with_query("/graph", {"node": one.definition, "engine": one.engine, "deployment": one.deployment}),
                "Graph",
            )
        ],
        drawn=draw_grid(grid),
        notes=grid.notes,
        steps=_steps(grid, {"name": name, **given, "cursor": cursor}),
        older_href=with_query("/definition", {"name": name, **given, "cursor": grid.next_cursor})
        if grid.next_cursor
        else None,
    )


def _steps(grid: Grid, here: dict[str, Any]) -> dict[str, Any] | None:
    """Return which of very many steps are shown, and the ways to the others; None where all are."""
    if len(grid.rows) == grid.step_count:
        return None
    end = grid.first_step + len(grid.rows)
    before = max(0, grid.first_step - MAX_STEPS)
    return {
        "words": f"Steps {grid.first_step + 1:,} to {end:,} of {grid.step_count:,}",
        "before_href": with_query("/definition", {**here, "first_step": before}) if grid.first_step else None,
        "after_href": with_query("/definition", {**here, "first_step": end}) if end < grid.step_count else None,
    }


def _sentence(one: DefinitionDetail) -> str:
    if not one.recent_runs:
        return "None of its runs was heard of."
    ended = [run for run in one.recent_runs if run.effective_state and run.effective_state.is_terminal]
    good = sum(run.effective_state is State.SUCCEEDED for run in ended)
    times = sorted(run.duration_seconds for run in ended if run.duration_seconds is not None)
    middle = f"; half of them ran {name_duration(times[len(times) // 2])} or less" if times else ""
    last = look_at(one.recent_runs[0]).word
    return f"{last} last; of its {count_of(len(ended), 'recent run')} that ended, {good} went well{middle}."
