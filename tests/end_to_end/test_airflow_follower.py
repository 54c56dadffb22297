"""What the follower reads of a real Airflow: alone, and beside the hooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import make_url, select
from tests.end_to_end.airflow_deployment import AirflowDeployment
from tests.end_to_end.history import History
from tests.end_to_end.waiting import until

from runvis_airflow import follower
from runvis_airflow.rest import AirflowApi
from runvis_airflow.rows import Source
from runvis_core.emit.redaction import Redactor
from runvis_core.model.state import State, Witness
from runvis_core.services.answers import RunDetail
from runvis_core.settings import AirflowSettings, load_settings
from runvis_core.store.database import Store
from runvis_core.store.tables import bodies, runs

pytestmark = pytest.mark.timeout(900)

DEPLOYMENT = "followed"
TRIES = {
    ("plain", "done"): 1,
    ("failing", "after"): 1,
    ("shrinking", "goes"): 1,
    ("marked", "held"): 1,
    ("cleared_running", "restarted"): 2,
    ("two_tasks", "two"): 2,
}
"""How many tries of a task the follower reads. A DAG run's end may be in the record before its tasks' tries are."""


@contextmanager
def following(url: str, store: Store) -> Iterator[None]:
    stop = threading.Event()
    settings = load_settings(deployment=DEPLOYMENT, airflow={"interval_seconds": 1})
    arguments = {"store": store, "settings": settings, "stop": stop}
    thread = threading.Thread(target=follower.follow, args=(url,), kwargs=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@dataclass
class Followed:
    """An Airflow; what its hooks and the follower recorded together, and what the follower did alone."""

    airflow: AirflowDeployment
    together: History
    alone: History
    run_ids: dict[str, str]
    waiting: UUID
    """The run as which the second run of `limited` was seen while it waited."""

    def of(self, history: History, name: str, task_id: str | None = None) -> list[RunDetail]:
        """Return what is recorded of a DAG run or of one of its tasks, by attempt."""
        dag_id = name.partition(":")[0]
        key = f"{dag_id}/{self.run_ids[name]}" + (f"/{task_id}/" if task_id else "")
        found = [
            run
            for run in history.runs(f"{dag_id}.{task_id}" if task_id else dag_id)
            if (run.native_id or "").startswith(key)
        ]
        return sorted(found, key=lambda run: run.attempt or 0)

    def the(self, history: History, name: str, task_id: str | None = None) -> RunDetail:
        [run] = self.of(history, name, task_id)
        return run


@pytest.fixture(scope="module")
def metadata_url(postgresql_server: str) -> Iterator[str]:
    """The address of a PostgreSQL database for Airflow's own books: on SQLite they lock under so much at a time."""
    admin = postgresql_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow_followed")
    url = make_url(postgresql_server).set(drivername="postgresql+psycopg2", database="airflow_followed")
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE airflow_followed WITH (FORCE)")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, metadata_url: str) -> Iterator[Followed]:
    folder = tmp_path_factory.mktemp("followed")
    together, alone = History(folder / "together"), History(folder / "alone")
    airflow = AirflowDeployment(folder / "airflow", metadata_url=metadata_url)
    with ExitStack() as stack:
        for history in (together, alone):
            stack.enter_context(history)
        airflow.env |= together.engine_env(DEPLOYMENT)
        # A task that is cleared while it runs is sometimes found dead first, and then retried after this long.
        airflow.env["AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"] = "1"
        stack.enter_context(airflow)
        for history in (together, alone):
            stack.enter_context(following(airflow.client.base_url, history.store))
        airflow.wait_for_dags("plain", "failing", "limited", "shrinking", "cleared_running", "marked", "two_tasks")
        told = Followed(airflow, together, alone, {}, UUID(int=0))
        _act(told)
        yield told


def _act(told: Followed) -> None:
    client, run_ids = told.airflow.client, told.run_ids
    run_ids["shrinking"] = client.trigger("shrinking")
    run_ids["two_tasks"] = client.trigger("two_tasks", run_id="the-same")
    for name in ("limited:1", "limited:2", "cleared_running", "marked", "plain", "failing"):
        run_ids[name] = client.trigger(name.partition(":")[0])
    waiting = until("the waiting run", lambda: [r for r in told.of(told.alone, "limited:2") if r.started_at is None])
    told.waiting = waiting[0].run_id
    _release(told, "limited:1", "busy")
    told.airflow.task_pid("shrinking", run_ids["shrinking"], "stays")
    _take_away_a_task(told.airflow.dags_folder / "story_changing.py")
    client.wait_for_task("shrinking", run_ids["shrinking"], "goes", "removed")
    _release(told, "shrinking", "stays")
    told.airflow.task_pid("cleared_running", run_ids["cleared_running"], "restarted")
    client.clear("cleared_running", run_ids["cleared_running"], ["restarted"])
    told.airflow.task_pid("marked", run_ids["marked"], "held")
    client.mark_task("marked", run_ids["marked"], "held", "success")
    client.wait_for_run("two_tasks", "the-same")
    until("the first life of two_tasks", lambda: _has_ended(told, "two_tasks", "two"))
    # The DAG run's end too: once it is deleted, no sweep can read it.
    until("the first end of two_tasks", lambda: _is_recorded(told, "two_tasks", 1))
    client.delete_run("two_tasks", "the-same")
    client.trigger("two_tasks", run_id="the-same")
    _release(told, "limited:2", "busy")
    for name, run_id in run_ids.items():
        client.wait_for_run(name.partition(":")[0], run_id)
    for name in run_ids:
        expected = 2 if name == "two_tasks" else 1
        until(f"the end of {name} in the record", lambda name=name, n=expected: _is_recorded(told, name, n))
    for (name, task_id), number in TRIES.items():
        until(
            f"the tries of {name}.{task_id} in the record",
            lambda name=name, task_id=task_id, n=number: _are_recorded(told, name, task_id, n),
        )


def _release(told: Followed, name: str, task_id: str) -> None:
    """Let a task end that holds until its marker is taken away."""
    dag_id, run_id = name.partition(":")[0], told.run_ids[name]
    told.airflow.task_pid(dag_id, run_id, task_id)
    told.airflow.marker(dag_id, run_id, task_id).unlink()


def _take_away_a_task(file: Path) -> None:
    text = file.read_text()
    cut = text[: text.index("    @task\n    def goes()")]
    file.write_text(cut)


def _has_ended(told: Followed, name: str, task_id: str) -> bool:
    found = told.of(told.alone, name, task_id)
    return bool(found) and all(run.ended_at for run in found)


def _are_recorded(told: Followed, name: str, task_id: str, number: int) -> bool:
    found = told.of(told.alone, name, task_id)
    return len(found) >= number and all(run.frozen_position is not None for run in found)


def _is_recorded(told: Followed, name: str, number: int) -> bool:
    return all(
        len(found) == number and all(run.frozen_position is not None for run in found)
        for found in (told.of(told.alone, name), told.of(told.together, name))
    )


def test_a_waiting_dag_run_is_the_run_that_starts(followed: Followed) -> None:
    run = followed.the(followed.alone, "limited:2")

    assert run.run_id != followed.waiting
    assert followed.alone.run(followed.waiting).run_id == run.run_id
    assert run.queued_at is not None
    assert run.started_at is not None
    assert run.queued_at < run.started_at


def test_a_removed_task_is_recorded(followed: Followed) -> None:
    removed = followed.the(followed.alone, "shrinking", "goes")

    assert (removed.state, removed.native_state) == (State.CANCELLED, "removed")
    assert removed.parent_run_id == followed.the(followed.alone, "shrinking").run_id


def test_a_try_that_was_cleared_while_it_ran_was_cancelled(followed: Followed) -> None:
    first, second = followed.of(followed.alone, "cleared_running", "restarted")[:2]

    assert (first.effective_state, first.native_state) == (State.CANCELLED, "restarting")
    assert first.ended_at is not None
    assert first.corrections == []
    assert second.retry_of == first.run_id
    said = [entry.event for entry in followed.together.entries(first.run_id)]
    assert [event for event in said if (event["witness"], event.get("native_state")) == ("follower", "restarting")]


def test_what_no_worker_ran_is_recorded(followed: Followed) -> None:
    empty = followed.the(followed.alone, "plain", "done")
    assert (empty.state, empty.native_state) == (State.SUCCEEDED, "success")
    never = followed.the(followed.alone, "failing", "after")
    assert (never.state, never.native_state, never.attempt) == (State.CANCELLED, "upstream_failed", 0)


@pytest.mark.parametrize(
    ("name", "task_id", "act"),
    [
        ("marked", "held", "patch_task_instance"),
        ("cleared_running", "restarted", "post_clear_task_instances"),
    ],
)
def test_an_act_names_who_did_it(followed: Followed, name: str, task_id: str, act: str) -> None:
    history = followed.alone
    first = followed.of(history, name, task_id)[0]

    [entry] = [entry for entry in history.entries(first.run_id) if entry.event["kind"] == "action"]

    assert entry.event["name"] == act
    digest = entry.event["bodies"]["actor"]["digest"]
    with history.store.engine.connect() as connection:
        query = select(bodies.c.content).where(bodies.c.digest == bytes.fromhex(digest))
        assert connection.execute(query).scalar_one() == b'"Anonymous"'


def test_a_dag_run_that_was_deleted_and_made_again_is_another_run(followed: Followed) -> None:
    lives = followed.of(followed.alone, "two_tasks")
    tasks = followed.of(followed.alone, "two_tasks", "two")

    assert len({run.run_id for run in lives}) == 2
    assert {run.parent_run_id for run in tasks} == {run.run_id for run in lives}
    deleted = [
        entry
        for run in lives
        for entry in followed.alone.entries(run.run_id)
        if entry.event.get("name") == "delete_dag_run"
    ]
    assert [UUID(entry.event["run_id"]) for entry in deleted] == [min(lives, key=_start).run_id]


def _start(run: RunDetail) -> Any:
    return run.started_at


def test_the_follower_names_each_run_as_the_hooks_do(followed: Followed) -> None:
    told_by_hooks = {
        UUID(entry.event["run_id"])
        for entry in followed.together.all_entries()
        if entry.event.get("run_id") and entry.event["witness"] != Witness.FOLLOWER
    }
    with followed.alone.store.engine.connect() as connection:
        query = select(runs.c.run_id, runs.c.native_id, runs.c.native_state).where(runs.c.became_run_id.is_(None))
        told_alone = {row.run_id: row for row in connection.execute(query)}

    assert len(told_alone) > 20
    assert [row for run_id, row in told_alone.items() if run_id not in told_by_hooks] == []


def test_the_two_don_t_contradict_each_other(followed: Followed) -> None:
    with followed.together.store.engine.connect() as connection:
        found = [row.run_id for row in connection.execute(select(runs.c.run_id))]
    corrected = {run.native_id for run in map(followed.together.run, found) if run.corrections}

    # Of a task that was cleared while it ran, Airflow's scheduler may find the worker dead, and say that it failed.
    cleared = followed.of(followed.together, "cleared_running", "restarted")[0]
    assert corrected <= {cleared.native_id}


def test_sweeping_the_same_history_again_adds_nothing(followed: Followed) -> None:
    history = followed.alone
    source = Source(DEPLOYMENT, Witness.FOLLOWER)
    # The follower itself goes on, so that what it has not told yet it tells in this time.
    before = until("a settled record", lambda: _settled(history), pause=3)
    with AirflowApi(followed.airflow.client.base_url, AirflowSettings(), threading.Event()) as api:
        follower.Sweep(api, history.store, source, Redactor(), follower.Trouble("airflow")).run()

    assert len(history.all_entries()) == before


def _settled(history: History) -> int:
    first = len(history.all_entries())
    threading.Event().wait(2.5)
    return first if len(history.all_entries()) == first else 0
