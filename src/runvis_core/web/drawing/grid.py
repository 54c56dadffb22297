"""A definition's grid: steps by runs, with a bar over each run for how long it waited and ran."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.services.answers import RunRef
from runvis_core.services.stats_answers import Grid, GridCell, GridColumn, GridInstances
from runvis_core.web.drawing.looks import Look, look_at
from runvis_core.web.drawing.text import name_duration

MAX_MARKS: Final = 4
"""How many attempts a cell shows; the last ones count most."""


class Head(NamedTuple):
    """A column's head: its run, or None for one that was due and is absent."""

    run: RunRef | None
    due_at: datetime | None
    version: str | None
    is_new_version: bool
    look: Look | None
    queued: str
    """How high the bar of waiting stands, in per cent of the longest run; the bar of running stands under it."""
    ran: str
    title: str


class Mark(NamedTuple):
    """An attempt in a cell."""

    look: Look
    run_id: UUID


class Cell(NamedTuple):
    """A step in a run. `is_absent`: it was expected. Neither marks nor absent: nobody expected it."""

    marks: list[Mark]
    """The last of them is where the cell leads to."""
    is_absent: bool
    name: str
    """What it says to who can't see it."""
    beside: str
    """What stands before the marks: how many more there are, or how many instances look so."""


class Drawn(NamedTuple):
    """The grid as a page shows it."""

    heads: list[Head]
    rows: list[tuple[str, list[Cell]]]
    longest_seconds: float


def draw_grid(grid: Grid, silent: Collection[UUID] = ()) -> Drawn:
    """Return the heads of the columns and the cells of each step; of the runs in `silent` the heartbeat is overdue."""
    longest = max((_waited(column.run) + _ran(column.run) for column in grid.columns if column.run), default=0.0)
    heads = [_head(column, longest, silent) for column in grid.columns]
    rows = [(row.step, [_cell(row.step, cell, silent) for cell in row.cells]) for row in grid.rows]
    return Drawn(heads, rows, longest)


def _waited(run: RunRef) -> float:
    if run.queued_at is None or run.started_at is None:
        return 0.0
    return max(0.0, (run.started_at - run.queued_at).total_seconds())


def _ran(run: RunRef) -> float:
    return max(0.0, run.duration_seconds or 0.0)


def _head(column: GridColumn, longest: float, silent: Collection[UUID]) -> Head:
    run = column.run
    if run is None:
        return Head(None, column.due_at, None, False, None, "0%", "0%", "was due, and did not run")
    look = look_at(run, is_silent=run.run_id in silent)
    queued, ran = _waited(run), _ran(run)
    title = f"{look.word}, waited {name_duration(queued)}, ran {name_duration(run.duration_seconds)}"
    return Head(
        run,
        column.due_at,
        column.version,
        column.is_new_version,
        look,
        _share(queued, longest),
        _share(ran, longest),
        title,
    )


def _share(seconds: float, longest: float) -> str:
    return f"{seconds / longest * 100:.1f}%" if longest > 0 else "0%"


def _cell(step: str, cell: GridCell | None, silent: Collection[UUID]) -> Cell:
    if cell is None:
        return Cell([], False, "", "")
    if not cell.attempts:
        return Cell([], True, f"{step}: expected, and did not run", "")
    if cell.instances:
        return _cell_of_several(step, cell.instances)
    marks = [Mark(look_at(one, is_silent=one.run_id in silent), one.run_id) for one in cell.attempts]
    name = f"{step}: {', '.join(mark.look.word for mark in marks)}"
    cut = max(0, len(marks) - MAX_MARKS) + cell.cut_attempts
    return Cell(marks[-MAX_MARKS:], False, name, f"+{cut}" if cut else "")


def _cell_of_several(step: str, instances: Iterable[GridInstances]) -> Cell:
    """Return the cell of a step that ran as several things: it looks as those do that are told of first."""
    counts: dict[Look, int] = {}
    first: dict[Look, UUID] = {}
    for alike in instances:
        look = look_at(alike.last_attempt)
        counts[look] = counts.get(look, 0) + alike.count
        first.setdefault(look, alike.last_attempt.run_id)
    whole = sum(counts.values())
    look, *rest = counts
    share = f"{counts[look]} of {whole}" if rest else f"all {whole}"
    words = [f"{share} {look.word.lower()}", *(f"{counts[other]} {other.word.lower()}" for other in rest)]
    beside = f"{counts[look]}/{whole}" if rest else str(whole)
    return Cell([Mark(look, first[look])], False, f"{step}: {', '.join(words)}", beside)
