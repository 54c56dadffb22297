"""How a cell of a grid looks, and what it says."""

from __future__ import annotations

from uuid import UUID

from runvis_core.model.state import State
from runvis_core.services.answers import AttemptView
from runvis_core.services.stats_answers import Grid, GridAttempt, GridCell, GridColumn, GridInstances, GridRow
from runvis_core.web.drawing.grid import Cell, draw_grid

FIRST, FAILED, GOOD = UUID(int=1), UUID(int=2), UUID(int=3)


def drawn(cell: GridCell) -> Cell:
    grid = Grid(
        engine="airflow", deployment="test", definition="etl", kind="dag", columns=[GridColumn()],
        rows=[GridRow(step="price", cells=[cell])], step_count=1,
    )  # fmt: skip
    ((_, (one,)),) = draw_grid(grid).rows
    return one


def some(count: int, state: State, run_id: UUID, native_state: str | None = None) -> GridInstances:
    last = AttemptView(run_id=run_id, state=state, effective_state=state, native_state=native_state)
    return GridInstances(count=count, last_attempt=last)


def told(*instances: GridInstances) -> Cell:
    return drawn(GridCell(attempts=[GridAttempt(run_id=FIRST)], instances=list(instances)))


def test_a_cell_of_several_looks_failed_if_one_did_and_leads_to_it() -> None:
    cell = told(some(1, State.FAILED, FAILED), some(11, State.SUCCEEDED, GOOD))
    assert [(mark.look.key, mark.run_id) for mark in cell.marks] == [("failed", FAILED)]
    assert (cell.name, cell.beside) == ("price: 1 of 12 failed, 11 succeeded", "1/12")


def test_what_looks_alike_is_counted_together() -> None:
    cell = told(some(1, State.FAILED, FAILED, "Crashed"), some(1, State.FAILED, GOOD, "Failed"))
    assert (cell.name, cell.beside, cell.marks[0].run_id) == ("price: all 2 failed", "2", FAILED)


def test_a_cell_of_one_thing_shows_its_attempts() -> None:
    tries = [GridAttempt(run_id=UUID(int=number), effective_state=State.FAILED) for number in range(5)]
    good = GridAttempt(run_id=GOOD, effective_state=State.SUCCEEDED)
    cell = drawn(GridCell(attempts=[*tries, good], cut_attempts=1))
    assert [mark.look.key for mark in cell.marks] == ["failed", "failed", "failed", "succeeded"]
    assert (cell.beside, cell.marks[-1].run_id) == ("+3", GOOD)
