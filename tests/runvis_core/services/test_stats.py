from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runvis_core.errors import CursorError, NotFoundError, WideQuestionError
from runvis_core.model.event import DefinitionEvent, EventBase
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.identity import definition_version_id
from runvis_core.model.state import State
from runvis_core.services import grids, stats
from runvis_core.services.filters import DefinitionFilter, Dimension, RunFilter, StatFilter
from runvis_core.services.grids import get_grid
from runvis_core.services.health import get_health
from runvis_core.services.ingest import record_heartbeats
from runvis_core.services.paused import note_paused
from runvis_core.services.runs import list_runs
from runvis_core.services.schedules import find_due_times, find_missed
from runvis_core.services.stats import get_trend, list_stats
from runvis_core.services.stats_answers import Grid, StatTable
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, MORNING, a_run_id, at, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
HOUR, DAY = 3600, 86400
LATER = MORNING + timedelta(days=2, hours=3)


def ask(store: Store, *by: Dimension, **filters: Any) -> StatTable:
    return list_stats(store, StatFilter(by=list(by), **filters), now=LATER)


def told(store: Store, record: Record) -> None:
    """Three days: of etl and its step one failure a day, of a flow elsewhere one success."""
    for day in range(3):
        begins = day * DAY
        record(store, a_run(f"etl {day} good", begins=begins, seconds=100, waits=10))
        record(store, a_run(f"etl {day} bad", begins=begins + HOUR, seconds=50, state=State.FAILED))
        record(store, a_run(f"step {day}", begins=begins, definition="etl.load", kind="task", state=State.FAILED))
    record(store, a_run("flow", begins=DAY, definition="nightly", kind="flow", engine="prefect"))


def test_runs_are_counted_by_what_is_asked_for(store: Store, record: Record) -> None:
    told(store, record)
    (whole,) = ask(store).items
    assert (whole.runs, whole.states) == (10, {State.SUCCEEDED: 4, State.FAILED: 6})
    assert whole.failed_share == pytest.approx(0.6)
    by_kind = ask(store, Dimension.ENGINE, Dimension.KIND).items
    assert [(row.engine, row.kind, row.runs) for row in by_kind] == [
        ("airflow", "dag", 6),
        ("airflow", "task", 3),
        ("prefect", "flow", 1),
    ]
    by_day = ask(store, Dimension.DAY, engine="airflow", kind="dag").items
    assert [(row.begins_at, row.runs) for row in by_day] == [
        (MORNING.replace(hour=0) + timedelta(days=day), 2) for day in range(3)
    ]
    by_state = ask(store, Dimension.STATE, definition="etl").items
    assert [row.states for row in by_state] == [{State.FAILED: 3}, {State.SUCCEEDED: 3}]
    assert ask(store, definition="nothing").items == []


def test_times_are_quantiles_of_runs_and_waits(store: Store, record: Record) -> None:
    told(store, record)
    (row,) = ask(store, definition="etl", state=["Succeeded"]).items
    assert (row.duration.count, row.queue.count) == (3, 3)
    assert row.duration.p95 == pytest.approx(100, rel=0.01)
    assert row.queue.p50 == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"engine": "airflow"},
        {"definition": "etl"},
        {"kind": "task"},
        {"state": ["Failed"]},
        {"since": at(DAY + 60)},
        {"since": at(60), "until": at(2 * DAY)},
        {"until": at(DAY + 2 * HOUR), "definition": "etl", "state": ["Succeeded", "Failed"]},
    ],
)
def test_every_number_is_the_length_of_a_list_of_runs(store: Store, record: Record, filters: dict[str, Any]) -> None:
    told(store, record)
    found = ask(store, **filters)
    same = RunFilter(**{**filters, "since": found.since, "until": found.until})
    listed = list_runs(store, same, limit=100, now=LATER).items
    assert sum(row.runs for row in found.items) == len(listed)


def test_a_range_is_widened_to_whole_hours_or_days(store: Store, record: Record) -> None:
    told(store, record)
    found = ask(store, since=at(90), until=at(HOUR + 90))
    assert (found.since, found.until) == (at(0), at(2 * HOUR))
    assert sum(row.runs for row in found.items) == 3
    default = ask(store)
    assert (default.since, default.until) == (datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC))


def test_too_wide_a_question_is_refused(store: Store, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    told(store, record)
    monkeypatch.setattr(stats, "MAX_CELLS", 3)
    with pytest.raises(WideQuestionError, match="ask for fewer days"):
        ask(store, Dimension.HOUR)


def a_version(number: int, *, begins: float, tasks: list[str], schedule: str | None = None) -> EventBase:
    said = {"definition": "etl", "definition_kind": "dag", "version": f"v{number}", "schedule": schedule}
    structure = {"tasks": [{"id": task} for task in tasks], "edges": []}
    return make(DefinitionEvent, seconds=begins, **said, content={"structure": structure})


def of_version(number: int) -> dict[str, Any]:
    return {"definition_version_id": definition_version_id(ENGINE, DEPLOYMENT, "etl", f"v{number}")}


def test_a_trend_has_a_point_per_day_and_the_versions_that_came_up(store: Store, record: Record) -> None:
    told(store, record)
    record(store, [a_version(1, begins=-30 * DAY, tasks=[]), a_version(2, begins=DAY, tasks=[])])
    trend = get_trend(store, "etl", DefinitionFilter(), now=LATER)
    assert [point.runs for point in trend.points] == [2, 2, 2]
    assert (trend.whole.runs, trend.whole.states[State.FAILED]) == (6, 3)
    assert [version.version for version in trend.versions] == ["v2"]
    hourly = get_trend(store, "etl", DefinitionFilter(), since=at(0), until=at(DAY), step=Dimension.HOUR, now=LATER)
    assert [(point.begins_at, point.runs) for point in hourly.points] == [(at(0), 1), (at(HOUR), 1)]


def test_a_trend_of_no_definition_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        get_trend(store, "nothing", DefinitionFilter(), now=LATER)


def test_a_grid_has_all_attempts_of_each_step(store: Store, record: Record) -> None:
    record(store, [a_version(1, begins=-10, tasks=["load", "stage"]), a_version(2, begins=50, tasks=["load"])])
    record(store, a_run("r1", begins=0, said=of_version(1)))
    for attempt, state in enumerate((State.FAILED, State.FAILED, State.SUCCEEDED), 1):
        load = {"definition": "etl.load", "kind": "task", "inside": "r1", "key": "r1/load", "attempt": attempt}
        record(store, a_run(f"load {attempt}", begins=20 * attempt, waits=2, state=state, **load))
    record(store, a_run("r2", begins=100, said=of_version(2)))
    grid = get_grid(store, "etl", DefinitionFilter(), limit=10, now=LATER)
    assert [column.run and column.run.run_id for column in grid.columns] == [a_run_id("r1"), a_run_id("r2")]
    assert [(column.version, column.is_new_version) for column in grid.columns] == [("v1", False), ("v2", True)]
    assert [row.step for row in grid.rows] == ["load", "stage"]
    first, second = grid.rows[0].cells
    assert first is not None
    assert [attempt.state for attempt in first.attempts] == [State.FAILED, State.FAILED, State.SUCCEEDED]
    assert first.instances == []
    assert (first.attempts[0].queue_seconds, first.attempts[0].offset_seconds) == (2, 22)
    assert second is not None
    assert second.attempts == []
    expected_but_absent, not_expected = grid.rows[1].cells
    assert expected_but_absent is not None
    assert expected_but_absent.attempts == []
    assert not_expected is None


def test_a_cell_of_mapped_instances_counts_them_by_the_last_attempt_of_each(store: Store, record: Record) -> None:
    record(store, a_run("r1", begins=0, state=State.FAILED))
    for index in range(12):
        price = {"definition": "etl.price", "kind": "task", "inside": "r1", "key": f"r1/price/{index}"}
        for attempt in (1, 2):
            # Number 0 fails for good, all others went well when they were tried again.
            state = State.FAILED if attempt == 1 or index == 0 else State.SUCCEEDED
            record(store, a_run(f"{index} {attempt}", begins=20 * attempt, state=state, attempt=attempt, **price))
    (cell,) = get_grid(store, "etl", DefinitionFilter(), limit=10, now=LATER).rows[0].cells
    assert cell is not None
    failed, good = cell.instances
    assert (failed.count, failed.last_attempt.run_id) == (1, a_run_id("0 2"))
    assert (good.count, good.last_attempt.state) == (11, State.SUCCEEDED)
    # Those that failed are shown, however many others there are.
    assert [(one.native_key, one.attempt) for one in cell.attempts[:2]] == [("r1/price/0", 1), ("r1/price/0", 2)]
    assert (len(cell.attempts), cell.cut_attempts) == (20, 4)


def test_a_grid_of_too_many_steps_reads_those_of_the_newest_runs(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, [a_version(1, begins=-10, tasks=["load"])])
    for number in range(4):
        record(store, a_run(f"r{number}", begins=100 * number, said=of_version(1)))
        load = {"definition": "etl.load", "kind": "task", "inside": f"r{number}"}
        record(store, a_run(f"load {number}", begins=100 * number + 1, **load))
    monkeypatch.setattr(grids, "MAX_CHILDREN", 2)
    grid = get_grid(store, "etl", DefinitionFilter(), now=LATER)
    (row,) = grid.rows
    assert [cell and cell.attempts[0].run_id for cell in row.cells] == [
        None,
        None,
        *map(a_run_id, ("load 2", "load 3")),
    ]
    assert grid.notes == ["these runs have more than 2 steps; the last ones are shown"]


def test_who_follows_a_grids_cursors_sees_each_run_once(store: Store, record: Record) -> None:
    for number in range(7):
        record(store, a_run(f"r{number}", begins=number // 2))
    seen, cursor = list[Any](), None
    while True:
        grid = get_grid(store, "etl", DefinitionFilter(), limit=3, cursor=cursor, now=LATER)
        seen = [*(column.run.run_id for column in grid.columns if column.run), *seen]
        if (cursor := grid.next_cursor) is None:
            break
    assert len(seen) == 7
    assert set(seen) == {a_run_id(f"r{number}") for number in range(7)}
    assert [seen.index(a_run_id(f"r{number}")) // 2 for number in range(6)] == [0, 0, 1, 1, 2, 2]


def test_a_run_that_was_due_and_is_absent_has_a_column(store: Store, record: Record) -> None:
    record(store, [a_version(1, begins=-10, tasks=[], schedule="0 * * * *")])
    for hour in (0, 1, 3):
        record(store, a_run(f"r{hour}", begins=hour * HOUR + 5))
    grid = get_grid(store, "etl", DefinitionFilter(), now=at(4.5 * HOUR))
    assert [column.due_at for column in grid.columns] == [None, None, at(2 * HOUR), None]


def missed_in(grid: Grid) -> list[datetime]:
    return [column.due_at for column in grid.columns if column.due_at is not None]


def test_the_last_runs_that_were_missed_have_columns_and_a_note_counts_those_before(
    store: Store, record: Record
) -> None:
    record(store, [a_version(1, begins=-10, tasks=[], schedule="@hourly")])
    for hour in (0, 250, 253):
        record(store, a_run(f"r{hour}", begins=hour * HOUR + 5))
    grid = get_grid(store, "etl", DefinitionFilter(), limit=5, now=at(256.5 * HOUR))
    assert [column.due_at for column in grid.columns[-6:]] == [
        None, at(251 * HOUR), at(252 * HOUR), None, at(254 * HOUR), at(255 * HOUR),
    ]  # fmt: skip
    assert (len(grid.columns), missed_in(grid)[0]) == (8, at(249 * HOUR))
    assert grid.notes == ["248 more were due before 2026-12-04 17:00 UTC and did not run"]
    # However long it was: what is looked at is bounded, and a note says so.
    later = get_grid(store, "etl", DefinitionFilter(), limit=5, now=at(9000.5 * HOUR))
    assert missed_in(later) == [at(hour * HOUR) for hour in range(8995, 9000)]
    assert later.notes[0].startswith("at least ")


def test_what_was_missed_between_two_pages_of_a_grid_is_on_the_older_one(store: Store, record: Record) -> None:
    record(store, [a_version(1, begins=-10, tasks=[], schedule="@hourly")])
    for hour in (0, 1, 4, 5):
        record(store, a_run(f"r{hour}", begins=hour * HOUR + 5))
    newer = get_grid(store, "etl", DefinitionFilter(), limit=2, now=at(6.5 * HOUR))
    older = get_grid(store, "etl", DefinitionFilter(), limit=2, cursor=newer.next_cursor, now=at(6.5 * HOUR))
    assert (missed_in(older), missed_in(newer)) == ([at(2 * HOUR), at(3 * HOUR)], [])


def test_what_its_engine_has_paused_misses_nothing_after_its_last_run(store: Store, record: Record) -> None:
    record(store, [a_version(1, begins=-10, tasks=[], schedule="@hourly")])
    for hour in (0, 2):
        record(store, a_run(f"r{hour}", begins=hour * HOUR + 5))
    note_paused(store, ["etl"], engine=ENGINE, deployment=DEPLOYMENT)
    assert missed_in(get_grid(store, "etl", DefinitionFilter(), now=at(9 * HOUR))) == [at(HOUR)]


def test_a_failing_definition_says_since_when_and_why(store: Store, record: Record) -> None:
    told(store, record)
    record(store, a_run("etl again", begins=2 * DAY + 2 * HOUR, state=State.TIMED_OUT))
    record(
        store, a_run("inner", begins=2 * DAY, definition="etl.x", kind="task", inside="etl again", state=State.FAILED)
    )
    record(store, a_run("step good", begins=2 * DAY + 60, definition="etl.load", kind="task"))
    health = get_health(store, now=LATER)
    (failing,) = health.failing
    assert (failing.definition, health.failing_count) == ("etl", 1)
    assert failing.failing_since == at(2 * DAY + HOUR)
    assert failing.last_run is not None
    assert failing.last_run.run_id == a_run_id("etl again")
    assert failing.last_good is not None
    assert failing.last_good.run_id == a_run_id("etl 2 good")
    assert (failing.error_type, failing.failure_line) == ("shop.RowsError", "upstream returned 0 rows")


def test_a_definition_is_late_by_its_schedule(store: Store, record: Record) -> None:
    record(store, [a_version(1, begins=-10, tasks=[], schedule="@hourly")])
    record(store, a_run("r", begins=5))
    assert get_health(store, now=at(HOUR + 60)).late == []
    (late,) = get_health(store, now=at(3 * HOUR + 60)).late
    assert (late.due_at, late.missed, late.schedule) == (at(HOUR), 2, "@hourly")


def test_what_its_engine_has_paused_is_not_late(store: Store, record: Record) -> None:
    record(store, [a_version(1, begins=-10, tasks=[], schedule="@hourly")])
    record(store, a_run("r", begins=5))
    (late,) = get_health(store, now=at(3 * HOUR)).late

    note_paused(store, [late.definition], engine=late.engine, deployment="another")
    assert get_health(store, now=at(3 * HOUR)).late_count == 1
    note_paused(store, [late.definition, "elsewhere"], engine=late.engine, deployment=late.deployment)
    health = get_health(store, now=at(3 * HOUR))
    assert (health.late, health.late_count) == ([], 0)
    assert health.notes == ["1 by their schedule late, but paused by their engine: left out"]
    note_paused(store, [], engine=late.engine, deployment=late.deployment)
    assert get_health(store, now=at(3 * HOUR)).late == [late]


def test_a_run_that_stopped_beating_is_silent(store: Store, record: Record) -> None:
    record(store, a_run("live", begins=0, state=None))
    record(store, a_run("ended", begins=0))
    beat: dict[str, Any] = {"engine": ENGINE, "deployment": DEPLOYMENT, "witness": "worker", "occurred_at": at(0)}
    for name in ("live", "ended"):
        record_heartbeats(store, [Heartbeat(run_id=a_run_id(name), interval_seconds=1, **beat)])
    now = datetime.now(UTC)
    assert get_health(store, now=now - timedelta(hours=1)).silent_count == 0
    silent = get_health(store, now=now + timedelta(hours=1)).silent
    assert [run.run_id for run in silent] == [a_run_id("live")]


def test_the_last_days_are_counted_by_engine_and_kind(store: Store, record: Record) -> None:
    told(store, record)
    days = get_health(store, now=LATER).days
    flows = [day for day in days if day.engine == "prefect"]
    assert [(day.kind, day.runs, day.states) for day in flows] == [("flow", 1, {State.SUCCEEDED: 1})]
    assert sum(day.runs for day in days) == 10
    assert get_health(store, now=LATER + timedelta(days=30)).days == []


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 * * * *", [1, 2, 3]),
        ("@hourly", [1, 2, 3]),
        ("1:30:00", [1.5, 3]),
        ("0 9-10 * * *", [1, 2]),
        ("1 day, 0:00:00", []),
        ("0:00:00", []),
        ("Asset", []),
        ("61 * * * *", []),
        ("0 0 31 2 *", []),
        ("", []),
    ],
)
def test_a_schedule_says_when_runs_are_due(schedule: str, expected: list[float]) -> None:
    due = find_due_times(schedule, after=at(0), until=at(3.5 * HOUR), limit=10)
    assert due == [at(hours * HOUR) for hours in expected]


def test_a_run_has_some_grace_before_it_is_missed() -> None:
    assert find_missed("@hourly", last_begun_at=at(1), now=at(HOUR + 359)) == []
    assert find_missed("@hourly", last_begun_at=at(1), now=at(HOUR + 361)) == [at(HOUR)]
    assert find_missed("@daily", last_begun_at=at(0), now=at(16 * HOUR + 3599)) == []
    assert find_missed("* * * * *", last_begun_at=at(0), now=at(DAY), limit=5) == [at(60 * n) for n in range(1, 6)]


def test_a_grids_cursor_is_of_its_definition_alone(store: Store, record: Record) -> None:
    for definition in ("etl", "other"):
        for place in range(3):
            record(store, a_run(f"{definition} {place}", begins=place * 60, definition=definition))
    now = MORNING + timedelta(hours=1)
    cursor = get_grid(store, "etl", DefinitionFilter(), limit=2, now=now).next_cursor
    assert len(get_grid(store, "etl", DefinitionFilter(), limit=2, cursor=cursor, now=now).columns) == 1
    with pytest.raises(CursorError):
        get_grid(store, "other", DefinitionFilter(), limit=2, cursor=cursor, now=now)
