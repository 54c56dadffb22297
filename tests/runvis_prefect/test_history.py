"""Attempts, as told by single events and by whole histories; and what rows say by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.model.event import DatasetEvent, DefinitionEvent
from runvis_prefect import history
from runvis_prefect.history import Change, Kind, Source, place, walk
from runvis_prefect.rows import Artifact, Deployment, FlowRun, PrefectEvent, StateRow, TaskRun

MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
SOURCE = Source("test", "http://prefect.test")
NAMES = UUID(int=3)


def a_state(number: int, kind: str, name: str | None = None) -> StateRow:
    return StateRow.model_validate(
        {
            "id": uuid5(NAMES, str(number)),
            "type": kind,
            "name": name or kind.capitalize(),
            "timestamp": MORNING + timedelta(seconds=number),
        }
    )


def states(*said: str) -> list[StateRow]:
    """States out of words such as `RUNNING` or `SCHEDULED AwaitingRetry`."""
    return [a_state(number, *word.split()) for number, word in enumerate(said)]


@pytest.mark.parametrize(
    ("said", "attempts"),
    [
        (["SCHEDULED", "SCHEDULED Late", "PENDING", "RUNNING", "COMPLETED"], [1, 1, 1, 1, 1]),
        (["PENDING", "RUNNING", "SCHEDULED AwaitingRetry", "RUNNING Retrying", "COMPLETED"], [1, 1, 1, 2, 2]),
        (["RUNNING", "FAILED", "SCHEDULED AwaitingRetry", "SCHEDULED Late", "PENDING", "RUNNING"], [1, 1, 1, 2, 2, 2]),
        (["RUNNING", "RUNNING Retrying", "RUNNING Retrying", "COMPLETED"], [1, 2, 3, 3]),
        (["RUNNING", "PAUSED", "RUNNING", "COMPLETED"], [1, 1, 1, 1]),
        (
            ["RUNNING", "PAUSED Suspended", "SCHEDULED Resuming", "SCHEDULED Late", "PENDING", "RUNNING", "COMPLETED"],
            [1] * 7,
        ),
        (
            ["PENDING", "RUNNING", "PAUSED", "RUNNING", "SCHEDULED AwaitingRetry", "RUNNING Retrying"],
            [1, 1, 1, 1, 1, 2],
        ),
        (["RUNNING", "PAUSED", "RUNNING", "FAILED", "SCHEDULED AwaitingRetry", "PENDING", "RUNNING"], [1] * 5 + [3, 3]),
        (["SCHEDULED", "CANCELLED"], [1, 1]),
        (["PENDING", "RUNNING", "COMPLETED", "COMPLETED RolledBack"], [1, 1, 1, 1]),
    ],
)
def test_a_history_tells_the_attempts(said: list[str], attempts: list[int]) -> None:
    assert [placed.attempt for placed in walk(reversed(states(*said)))] == attempts


def test_who_is_tried_again_at_once_says_that_the_attempt_before_failed() -> None:
    first, second = walk(states("RUNNING", "RUNNING Retrying"))

    assert (first.ends_attempt_before, second.ends_attempt_before) == (False, True)


ANY = st.lists(
    st.sampled_from(
        [
            "PENDING",
            "RUNNING",
            "SCHEDULED",
            "SCHEDULED Late",
            "SCHEDULED AwaitingRetry",
            "FAILED",
            "COMPLETED",
            "CANCELLING",
            "CRASHED",
        ]
    ),
    max_size=12,
)


@given(ANY, st.sampled_from(["flow", "task"]))
def test_an_event_alone_tells_what_the_history_tells_or_nothing(said: list[str], kind: Kind) -> None:
    count, before = 0, None
    for placed in walk(states(*said)):
        state = placed.state
        count += state.type == "RUNNING"
        change = Change(kind, UUID(int=1), state, count, (before.type, before.name) if before else (None, None))
        told = place(change)
        if told is not None:
            assert told == placed
        before = state


PAUSING = ANY | st.lists(st.sampled_from(["RUNNING", "PAUSED", "SCHEDULED AwaitingRetry", "PENDING", "CRASHED"]))


@given(PAUSING)
def test_prefects_count_tells_the_attempt_that_a_task_was_in(said: list[str]) -> None:
    """Prefect's own count is never lower: it counts some pauses as well."""
    told = walk(states(*said))
    begun = [placed.attempt for placed in told if placed.state.type == "RUNNING"]
    assert begun == sorted(begun)
    for count in range(1, len(begun) + 1):
        attempt = history.attempt_at(states(*said), count)
        assert attempt in begun
        assert attempt is not None
        assert attempt <= count
    if "PAUSED" not in said:
        assert begun == list(range(1, len(begun) + 1))


def test_a_second_pause_is_not_counted() -> None:
    paused_twice = states("RUNNING", "PAUSED", "RUNNING", "PAUSED", "RUNNING", "SCHEDULED AwaitingRetry", "RUNNING")
    assert [history.attempt_at(paused_twice, count) for count in (1, 2, 3)] == [1, 1, 2]
    assert history.attempt_at([], 1) is None


def test_most_events_tell_their_attempt_alone() -> None:
    change = Change("task", UUID(int=1), a_state(1, "SCHEDULED", "AwaitingRetry"), 2, ("RUNNING", "Retrying"))
    assert history.place(change) is not None
    first = Change("flow", UUID(int=1), a_state(1, "PENDING"), 0, (None, None))
    assert history.place(first) is not None


@pytest.mark.parametrize(
    ("name", "dynamic_key", "task_key", "task_name"),
    [
        ("load-0b7", "0b7e33ce-1c", "load-0b7e33ce", "load"),
        ("load the rows-12", "12", "load-0b7e33ce", "load the rows"),
        ("load 7 of 9", "0b7e33ce", "orders.<locals>.load-0b7e33ce", "load"),
    ],
)
def test_a_tasks_name_is_found_in_its_runs(name: str, dynamic_key: str, task_key: str, task_name: str) -> None:
    row = TaskRun(id=UUID(int=1), name=name, dynamic_key=dynamic_key, task_key=task_key)
    assert row.task_name == task_name


def test_an_asset_is_written_and_its_upstreams_read() -> None:
    event = PrefectEvent.model_validate(
        {
            "id": UUID(int=4),
            "occurred": MORNING,
            "event": "prefect.asset.materialization.succeeded",
            "resource": {"prefect.resource.id": "s3://lake/clean"},
            "related": [
                {"prefect.resource.id": "s3://lake/raw", "prefect.resource.role": "asset"},
                {"prefect.resource.id": "dbt", "prefect.resource.role": "asset-materialized-by"},
            ],
        }
    )
    told = [said for said in history.dataset_events(event, UUID(int=1), SOURCE) if isinstance(said, DatasetEvent)]

    assert [(said.direction, said.namespace, said.name) for said in told] == [
        ("read", "s3://lake", "raw"),
        ("write", "s3://lake", "clean"),
    ]
    assert told[1].content == {"extra": {"materialized_by": "dbt"}}


def test_a_link_is_an_artifact_where_it_leads() -> None:
    row = Artifact(id=UUID(int=5), created=MORNING, key="run", type="link", data="[the report](https://e.test/r)")
    assert history.artifact_event(row, UUID(int=1), SOURCE).uri == "https://e.test/r"


def a_deployment(**fields: Any) -> DefinitionEvent:
    row = {"id": UUID(int=6), "name": "nightly", "flow_id": UUID(int=7), "entrypoint": "orders.py:orders", **fields}
    return history.deployment_definition(Deployment.model_validate(row), "orders", SOURCE, at=MORNING)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ({"cron": "0 3 * * *", "timezone": "Europe/Paris"}, "0 3 * * * Europe/Paris"),
        ({"interval": 86400.0}, "every 86400.0 s"),
        ({"rrule": "FREQ=DAILY"}, "FREQ=DAILY"),
    ],
)
def test_a_deployment_has_its_schedule(schedule: dict[str, Any], text: str) -> None:
    assert a_deployment(schedules=[{"schedule": schedule}]).schedule == text


def test_a_deployment_that_is_changed_is_another_version() -> None:
    first, same, other = a_deployment(), a_deployment(), a_deployment(parameters={"count": 3})

    assert (first.definition, first.definition_kind) == ("orders/nightly", "deployment")
    assert first.parent_definition == "orders"
    assert first.version == same.version != other.version


def test_a_flow_run_that_is_gone_is_known_by_its_event() -> None:
    event = PrefectEvent.model_validate(
        {
            "id": UUID(int=8),
            "occurred": MORNING,
            "event": "prefect.flow-run.Running",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{UUID(int=9)}", "prefect.resource.name": "a-run"},
            "related": [{"prefect.resource.id": f"prefect.flow.{UUID(int=7)}", "prefect.resource.role": "flow"}],
        }
    )
    row = history.flow_run_of(event)
    assert (row.id, row.flow_id, row.name) == (UUID(int=9), UUID(int=7), "a-run")
    assert isinstance(row, FlowRun)
