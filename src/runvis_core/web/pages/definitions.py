"""Definitions: what can run, is it healthy, and when did it change?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.model.state import State
from runvis_core.services.answers import AttemptView, DefinitionDetail
from runvis_core.services.days import find_counted_until
from runvis_core.services.definitions import list_definitions
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.grids import MAX_STEPS
from runvis_core.services.past_definitions import get_definition_at
from runvis_core.services.past_grids import get_grid_at
from runvis_core.services.silence import find_silent_shown
from runvis_core.services.stats import DEFAULT_DAYS, get_trend
from runvis_core.services.stats_answers import Grid, Trend
from runvis_core.store.database import Store
from runvis_core.web.drawing.grid import draw_grid
from runvis_core.web.drawing.looks import look_at
from runvis_core.web.drawing.text import count_of, name_duration
from runvis_core.web.drawing.trend import draw_trend
from runvis_core.web.page import AskedError, asked, number, store_of, understand
from runvis_core.web.pin import asked_of, control_moment, take_pin
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
        silent=find_silent_shown(store_of(request), (one.last_run for one in page.items), now=now_of(request)),
        asked={name: given.get(name, "") for name in DefinitionFilter.model_fields},
        is_filtered=bool(given),
        next_href=with_query("/definitions", {**given, "cursor": page.next_cursor}) if page.next_cursor else None,
        address=str(request.base_url).rstrip("/"),
    )


def show_definition(request: Request) -> Response:
    """Show a definition: how it went over time, steps by runs, its recent runs and its versions."""
    given: dict[str, Any] = asked(request)
    real_now, store = now_of(request), store_of(request)
    pin = take_pin(request, given)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise AskedError("name", "must be the whole name of one definition")
    cursor = given.pop("cursor", None)
    if isinstance(cursor, list):
        raise AskedError("cursor", "there is one at most")
    first_step = number(given.pop("first_step", None), "first_step")
    one = get_definition_at(store, name, understand(DefinitionFilter, given), asked_of(pin), now=real_now)
    of = {"engine": one.engine, "deployment": one.deployment, "kind": one.kind or None}
    named = {**of, "definition": one.definition}
    # Cursors of the grid hold for these filters, in the present and in each past.
    grid = get_grid_at(
        store,
        name,
        DefinitionFilter(**of),
        asked_of(pin),
        limit=GRID_RUNS,
        cursor=cursor,
        first_step=first_step,
        now=real_now,
    )
    if first_step and first_step >= grid.step_count:
        raise AskedError("first_step", f"there are {count_of(grid.step_count, 'step')}, counted from 0")
    here = {"name": name, **of, "cursor": cursor, "first_step": first_step or None}
    of_then = pin.query if pin else {}
    # The trend reads what is kept by how runs stand now: at a moment it can be cut off.
    until = find_counted_until(pin.asked) if pin else None
    trend = _find_trend(store, one, real_now, until) if pin is None or until is not None else None
    silent = set[UUID]() if pin else find_silent_shown(store, _runs_shown(one, grid), now=real_now)
    drawn_trend = draw_trend(trend, grid) if trend and trend.whole.runs else None
    return render(
        request,
        "definition.html",
        one=one,
        moment=control_moment(request, pin, {key: value for key, value in here.items() if value is not None}),
        sentence=_sentence(one, silent, has_trend=drawn_trend is not None),
        silent=silent,
        runs_href=with_query("/runs", {**named, "all": True, **of_then}),
        actions=[(_graph_path(one), "Graph")] if pin is None else [],
        drawn=draw_grid(grid, silent),
        trend=drawn_trend,
        counted_until=until,
        notes=grid.notes,
        steps=_steps(grid, {**here, **of_then}),
        older_href=with_query("/definition", {"name": name, **of, **of_then, "cursor": grid.next_cursor})
        if grid.next_cursor
        else None,
    )


def _runs_shown(one: DefinitionDetail, grid: Grid) -> Iterator[AttemptView | None]:
    yield from one.recent_runs
    yield from (start.last_run for start in one.starts)
    yield from (column.run for column in grid.columns)
    for row in grid.rows:
        for cell in row.cells:
            yield from cell.attempts if cell else ()


def _graph_path(one: DefinitionDetail) -> str:
    # There it has one node, whatever its kind.
    return with_query("/graph", {"node": one.definition, "engine": one.engine, "deployment": one.deployment})


def _find_trend(store: Store, one: DefinitionDetail, now: datetime, until: datetime | None) -> Trend:
    """Return how it went in the days before now; of one that runs no more, in those before its last run.

    With `until`, in the days before that hour.
    """
    filters = DefinitionFilter(engine=one.engine, deployment=one.deployment, kind=one.kind or None)
    if until is not None:
        return get_trend(store, one.definition, filters, until=until, to_the_hour=True, now=now)
    last = one.last_run.queued_at or one.last_run.started_at if one.last_run else None
    of_now = last is None or timedelta() <= now - last < timedelta(days=DEFAULT_DAYS)
    end = now if of_now or last is None else last + timedelta(days=1)
    return get_trend(store, one.definition, filters, until=end, now=now)


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


def _sentence(one: DefinitionDetail, silent: Collection[UUID], *, has_trend: bool) -> str:
    """Return how its recent runs went; how long they took too where no trend says it, which counts other runs."""
    if not one.recent_runs:
        return "None of its runs was heard of."
    ended = [run for run in one.recent_runs if run.effective_state and run.effective_state.is_terminal]
    good = sum(run.effective_state is State.SUCCEEDED for run in ended)
    times = sorted(run.duration_seconds for run in ended if run.duration_seconds is not None)
    middle = f"; half of them ran {name_duration(times[len(times) // 2])} or less" if times and not has_trend else ""
    newest = one.recent_runs[0]
    last = look_at(newest, is_silent=newest.run_id in silent).word
    return f"{last} last; of its {count_of(len(ended), 'recent run')} that ended, {good} went well{middle}."
