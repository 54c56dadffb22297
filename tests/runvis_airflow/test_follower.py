"""The follower against a server that says what a real Airflow said, and that fails in every way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.runvis_airflow import fake_airflow
from tests.runvis_airflow.fake_airflow import FakeAirflow

from runvis_airflow import follower
from runvis_airflow.follower import Sweep
from runvis_airflow.identity import DagRunKey, TaskKey
from runvis_airflow.rest import AirflowApi, AirflowApiError
from runvis_airflow.rows import Source
from runvis_core.emit.redaction import Redactor
from runvis_core.errors import SettingsError, UnreachableError
from runvis_core.model.event import EventBase, IdentityEvent, StateEvent
from runvis_core.model.state import Relation, State, Witness
from runvis_core.services import telling
from runvis_core.services.answers import EntryView, RunDetail
from runvis_core.services.entries import list_entries, list_run_entries
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import ingest_events
from runvis_core.services.paused import find_paused
from runvis_core.services.run_details import get_run
from runvis_core.services.runs import list_runs
from runvis_core.services.trouble import Trouble
from runvis_core.services.watermark import find_watermark
from runvis_core.settings import AirflowSettings, Settings, load_settings
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import bodies

NOW = datetime(2026, 11, 24, 10, 46, 42, tzinfo=UTC)
DEPLOYMENT = "test"
SOURCE = Source(DEPLOYMENT, Witness.FOLLOWER)


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with FakeAirflow(now=NOW) as fake:
        yield fake


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with closing(open_store(sqlite_url)) as opened:
        yield opened


def sweep(airflow: FakeAirflow, store: Store, *, trouble: Trouble | None = None, **settings: Any) -> None:
    with AirflowApi(airflow.url, AirflowSettings(**settings), threading.Event(), pause_seconds=0) as api:
        Sweep(api, store, SOURCE, Redactor(), trouble or Trouble("airflow")).run()


def watermark(store: Store) -> str | None:
    return find_watermark(store, engine="airflow", deployment=DEPLOYMENT, key=follower.WATERMARK)


def count(store: Store) -> int:
    return len(list_entries(store, after=0, limit=10_000).items)


def runs_of(store: Store, definition: str) -> list[RunDetail]:
    page = list_runs(store, RunFilter(definition=definition), limit=100, now=NOW)
    return [get_run(store, str(item.run_id), now=NOW) for item in reversed(page.items)]


def the_run(store: Store, definition: str) -> RunDetail:
    [run] = runs_of(store, definition)
    return run


def dag_run_row(airflow: FakeAirflow, dag_id: str) -> dict[str, Any]:
    return next(row for row in airflow.story["dag_runs"] if row["dag_id"] == dag_id)


def actions(store: Store, run: RunDetail) -> list[EntryView]:
    entries = list_run_entries(store, str(run.run_id), after=0, limit=1000).items
    return [entry for entry in entries if entry.event["kind"] == "action"]


def texts(store: Store, position: int | None = None) -> list[str]:
    """Return the content of bodies, of all entries or of one."""
    query = select(bodies.c.content)
    with store.engine.connect() as connection:
        rows = connection.execute(query if position is None else query.where(bodies.c.position == position))
        return [row.content.decode() for row in rows]


# --- what it reads ---


def test_runs_have_the_ids_that_the_hooks_give_them(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    row = dag_run_row(airflow, "failing")
    dag_run = DagRunKey("failing", row["dag_run_id"], datetime.fromisoformat(row["start_date"]))
    assert the_run(store, "failing").run_id == dag_run.uuid(DEPLOYMENT)
    explode = the_run(store, "failing.explode")
    assert explode.run_id == TaskKey(dag_run, "explode", -1, 1).uuid(DEPLOYMENT)
    assert explode.parent_run_id == dag_run.uuid(DEPLOYMENT)


def test_what_no_hook_delivers_is_recorded(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    empty = runs_of(store, "plain.done")[0]
    assert (empty.state, empty.native_state) == (State.SUCCEEDED, "success")
    never = the_run(store, "failing.after")
    assert (never.state, never.native_state) == (State.CANCELLED, "upstream_failed")


def test_a_try_that_was_cleared_while_it_ran_was_cancelled(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    first, second = sorted(runs_of(store, "cleared_running.restarted"), key=lambda run: run.attempt or 0)
    assert (first.state, first.native_state) == (State.CANCELLED, "restarting")
    assert (second.attempt, second.state) == (2, State.SUCCEEDED)
    assert second.retry_of == first.run_id
    assert [act.event["name"] for act in actions(store, first)] == ["post_clear_task_instances"]


def test_a_try_that_failed_by_itself_failed(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    first, _second = sorted(runs_of(store, "retrying.flaky"), key=lambda run: run.attempt or 0)
    assert (first.attempt, first.state) == (1, State.FAILED)


def test_a_cleared_try_that_airflow_means_to_retry_was_cancelled_all_the_same(
    airflow: FakeAirflow, store: Store
) -> None:
    row = next(row for row in airflow.story["task_instances"] if row["task_id"] == "restarted")
    [first, _] = airflow.story["tries"][f"cleared_running/{row['dag_run_id']}/restarted"]
    row |= first | {"state": "up_for_retry", "end_date": "2026-11-24T10:46:40.000000Z"}

    sweep(airflow, store)

    run = the_run(store, "cleared_running.restarted")
    assert (run.attempt, run.state, run.native_state) == (1, State.CANCELLED, "restarting")


def test_timeouts_are_told_from_failures(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    assert the_run(store, "timing_out_run").state is State.TIMED_OUT
    assert the_run(store, "timing_out_run.too_long").state is State.TIMED_OUT
    assert the_run(store, "timing_out_task.slow").state is State.TIMED_OUT
    assert the_run(store, "failing").state is State.FAILED


def test_an_act_names_who_did_it(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    [act] = actions(store, the_run(store, "marked.held"))
    assert act.event["name"] == "patch_task_instance"
    assert set(act.event["bodies"]) == {"actor", "detail"}
    assert '"Anonymous"' in texts(store, act.position)


def test_a_waiting_dag_run_becomes_the_one_that_starts(airflow: FakeAirflow, store: Store) -> None:
    row = dag_run_row(airflow, "failing")
    started = dict(row)
    row |= {"state": "queued", "start_date": None, "end_date": None}
    tasks = airflow.story["task_instances"]
    airflow.story["task_instances"] = [task for task in tasks if task["dag_id"] != "failing"]
    sweep(airflow, store)
    waiting = the_run(store, "failing")
    assert (waiting.state, waiting.native_state) == (State.QUEUED, "queued")

    row |= started
    airflow.story["task_instances"] = tasks
    sweep(airflow, store)

    run = the_run(store, "failing")
    assert run.run_id != waiting.run_id
    assert get_run(store, str(waiting.run_id), now=NOW).run_id == run.run_id
    assert run.queued_at == datetime.fromisoformat(started["queued_at"])


def test_the_tasks_of_a_dag_run_that_was_marked_before_it_started_are_told(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)

    marked = the_run(store, "two_tasks")
    assert (marked.state, marked.started_at) == (State.FAILED, None)
    skipped = the_run(store, "two_tasks.one")
    assert (skipped.native_state, skipped.parent_run_id) == ("skipped", marked.run_id)


def test_a_dag_run_made_again_is_another_run(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)
    later = timedelta(minutes=1)
    for row in [*airflow.story["dag_runs"], *airflow.story["task_instances"]]:
        if row["dag_id"] == "failing":
            for name in ("queued_at", "start_date", "end_date", "queued_when", "scheduled_when"):
                if row.get(name):
                    row[name] = (datetime.fromisoformat(row[name]) + later).isoformat()

    sweep(airflow, store)

    assert len(runs_of(store, "failing")) == 2
    first, second = runs_of(store, "failing.explode")
    assert first.run_id != second.run_id
    assert first.parent_run_id != second.parent_run_id


def test_a_reopened_dag_run_carries_its_tries_over(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)
    before = the_run(store, "failing.explode")
    dag_run_row(airflow, "failing")["start_date"] = "2026-11-24T10:46:41.000000Z"

    sweep(airflow, store)

    assert [run.run_id for run in runs_of(store, "failing.explode")] == [before.run_id]
    reopened = runs_of(store, "failing")[-1]
    carried = {link.target_run_id for link in reopened.links if link.relation is Relation.CARRIED_OVER}
    assert before.run_id in carried


def test_tasks_of_a_dag_run_that_is_gone_are_left_out(airflow: FakeAirflow, store: Store) -> None:
    airflow.story["dag_runs"] = [row for row in airflow.story["dag_runs"] if row["dag_id"] != "failing"]

    sweep(airflow, store)

    assert runs_of(store, "failing.explode") == []
    assert watermark(store) is not None


def test_secrets_in_conf_are_redacted(airflow: FakeAirflow, store: Store) -> None:
    dag_run_row(airflow, "failing")["conf"] = {"password": "hunter2-very-secret", "region": "eu"}

    sweep(airflow, store)

    assert any("region" in text for text in texts(store))
    assert not any("hunter2" in text for text in texts(store))


# --- how it reads ---


def test_sweeping_again_adds_nothing(airflow: FakeAirflow, store: Store) -> None:
    sweep(airflow, store)
    entries = count(store)
    assert entries > 90

    sweep(airflow, store)

    assert count(store) == entries


def test_a_password_in_airflow_s_address_is_in_nothing_that_is_recorded() -> None:
    with AirflowApi("http://reader:the-password@airflow.example/x/", AirflowSettings(), threading.Event()) as api:
        assert api.url == "http://airflow.example/x"


def test_a_postgresql_store_is_told_the_same(airflow: FakeAirflow, store: Store, postgresql_url: str) -> None:
    sweep(airflow, store)
    with closing(open_store(postgresql_url)) as other:
        sweep(airflow, other)
        sweep(airflow, other)

        assert count(other) == count(store)
        assert watermark(other) == watermark(store)


def test_a_page_that_comes_twice_is_told_once(airflow: FakeAirflow, store: Store, tmp_path: Path) -> None:
    sweep(airflow, store)
    with FakeAirflow(now=NOW) as doubled, closing(open_store(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        for key in ("dag_runs", "task_instances", "event_logs"):
            doubled.story[key] *= 2
        sweep(doubled, other)

        assert len(runs_of(other, "failing.explode")) == 1
        # The address of the Airflow is part of what is said of a DAG run; nothing else differs.
        assert count(other) == count(store)


def test_the_watermark_is_the_servers_time_and_the_next_sweep_overlaps_it(airflow: FakeAirflow, store: Store) -> None:
    airflow.now = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
    sweep(airflow, store)
    assert watermark(store) == "2031-05-01T12:00:00.000000Z"
    airflow.asked.clear()

    sweep(airflow, store)

    [since] = {params["updated_at_gte"] for path, params in airflow.asked if path == "/dags/~/dagRuns/~/taskInstances"}
    assert datetime.fromisoformat(since) == airflow.now - follower.OVERLAP


def test_pages_go_by_offset_where_there_are_no_cursors(airflow: FakeAirflow, store: Store) -> None:
    airflow.has_cursors = False
    airflow.story["task_instances"] *= 10

    sweep(airflow, store)

    assert len(airflow.story["task_instances"]) > 100
    assert "100" in {params.get("offset") for _, params in airflow.asked}
    assert the_run(store, "failing.after").native_state == "upstream_failed"


def test_what_airflow_has_paused_is_noted_at_each_sweep(airflow: FakeAirflow, store: Store) -> None:
    def noted() -> set[tuple[str, str, str]]:
        with store.engine.connect() as connection:
            return find_paused(connection)

    sweep(airflow, store)
    assert noted() == set()
    airflow.paused = [f"dag_{number:03}" for number in range(101)]
    sweep(airflow, store)
    assert noted() == {("airflow", DEPLOYMENT, dag_id) for dag_id in airflow.paused}
    airflow.paused = []
    sweep(airflow, store)
    assert noted() == set()


def test_earlier_tries_are_asked_for_only_where_the_store_lacks_them(airflow: FakeAirflow, store: Store) -> None:
    # Its first try ran before all that the store knows.
    airflow.story["task_instances"] = [
        row for row in airflow.story["task_instances"] if (row["dag_run_id"], row["task_id"]) != ("twice", "load")
    ]
    sweep(airflow, store)
    asked = [path.split("/")[6] for path in airflow.paths() if path.endswith("/tries")]
    assert sorted(asked) == ["flaky", "restarted"]
    airflow.asked.clear()

    sweep(airflow, store)

    assert not [path for path in airflow.paths() if path.endswith("/tries")]


# --- what goes wrong ---


@pytest.mark.parametrize(
    "fault",
    [
        fake_airflow.fails,
        fake_airflow.talks_nonsense,
        fake_airflow.has_another_form,
        fake_airflow.cuts_the_line,
    ],
)
@pytest.mark.parametrize("place", [1, 2, 6])
def test_a_fault_loses_nothing(airflow: FakeAirflow, store: Store, fault: Any, place: int, tmp_path: Path) -> None:
    airflow.faults.extend([None] * place)
    airflow.faults.append(fault)

    with pytest.raises(AirflowApiError):
        sweep(airflow, store)
    assert watermark(store) is None

    sweep(airflow, store)
    assert watermark(store) is not None
    with closing(open_store(f"sqlite:///{tmp_path / 'undisturbed.db'}")) as other:
        sweep(airflow, other)
        assert count(other) == count(store)


def test_a_token_that_is_refused_is_taken_anew(airflow: FakeAirflow, store: Store) -> None:
    airflow.faults.extend([None, None, fake_airflow.forgets_the_token])

    sweep(airflow, store, username="ada", password="lovelace")

    assert airflow.tokens_given == 2
    assert watermark(store) is not None


def test_a_token_file_is_read_again(airflow: FakeAirflow, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    airflow.faults.extend([None, lambda handler: (file.write_text("second"), fake_airflow.forgets_the_token(handler))])

    sweep(airflow, store, token_file=file)

    assert airflow.tokens_given == 0
    assert watermark(store) is not None


def test_a_refused_user_is_told_what_to_check(airflow: FakeAirflow, store: Store) -> None:
    with pytest.raises(AirflowApiError, match="check RUNVIS__AIRFLOW__USERNAME"):
        sweep(airflow, store, token="of somebody else")


def test_a_row_that_can_not_be_read_stops_no_other_and_is_asked_for_again(
    airflow: FakeAirflow, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    row = next(row for row in airflow.story["task_instances"] if row["task_id"] == "explode")
    good = row["try_number"]
    row["try_number"] = "several"
    trouble = Trouble("airflow")
    sweep(airflow, store, trouble=trouble)
    sweep(airflow, store, trouble=trouble)

    assert the_run(store, "failing.after").native_state == "upstream_failed"
    assert watermark(store) is None
    assert len(caplog.records) == 1
    assert "TaskInstance whose try_number can't be read" in caplog.text

    row["try_number"] = good
    sweep(airflow, store)
    assert the_run(store, "failing.explode").state is State.FAILED
    assert watermark(store) is not None


def test_the_watermark_stays_when_the_store_did_not_take_a_page(
    airflow: FakeAirflow, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_arguments: Any, **_options: Any) -> None:
        raise UnreachableError("the store stayed busy")

    with monkeypatch.context() as patch:
        patch.setattr(telling, "ingest_events", busy)
        with pytest.raises(UnreachableError):
            sweep(airflow, store)
    assert watermark(store) is None


# --- as it goes ---


class Following:
    """`follow` in a thread."""

    def __init__(self, url: str, store: Store, settings: Settings) -> None:
        self.stop = threading.Event()
        arguments = {"store": store, "settings": settings, "stop": self.stop}
        self.thread = threading.Thread(target=follower.follow, args=(url,), kwargs=arguments)
        self.thread.start()

    def end(self) -> float:
        """End it and return how long that took."""
        begun = time.monotonic()
        self.stop.set()
        self.thread.join(20)
        return time.monotonic() - begun


def settings(**section: Any) -> Settings:
    return load_settings(deployment=DEPLOYMENT, airflow={"interval_seconds": 1, **section})


def await_that(check: Any) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_says_once_what_is_wrong_and_goes_on(
    airflow: FakeAirflow, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=Trouble.__module__)
    airflow.faults.extend([fake_airflow.fails] * 3)
    following = Following(airflow.url, store, settings())
    try:
        await_that(lambda: "is read again" in caplog.text)
    finally:
        following.end()

    assert [record.getMessage() for record in caplog.records if record.name == Trouble.__module__] == [
        f"following airflow: {airflow.url} answers /api/v2/version with 500",
        f"following airflow: {airflow.url} is read again",
    ]


def test_it_ends_within_a_second_while_the_server_hangs(airflow: FakeAirflow, store: Store) -> None:
    airflow.faults.append(fake_airflow.hangs)
    following = Following(airflow.url, store, settings())
    await_that(lambda: airflow.asked)

    assert following.end() < 1
    assert not following.thread.is_alive()


def test_it_ends_within_a_second_while_it_waits(airflow: FakeAirflow, store: Store) -> None:
    following = Following(airflow.url, store, settings(interval_seconds=600))
    await_that(lambda: watermark(store))

    assert following.end() < 1


def test_an_unusable_ca_file_is_said_by_name(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="RUNVIS__AIRFLOW__CA_FILE"):
        follower.follow(
            "https://airflow.example",
            store=store,
            settings=settings(ca_file=tmp_path / "none.pem"),
            stop=threading.Event(),
        )


def test_the_deployment_of_the_section_wins(airflow: FakeAirflow, store: Store) -> None:
    following = Following(airflow.url, store, settings(deployment="airflow-prod"))
    try:
        await_that(lambda: runs_of(store, "failing"))
    finally:
        following.end()

    assert the_run(store, "failing").deployment == "airflow-prod"


def test_hooks_and_follower_testify_to_one_run(airflow: FakeAirflow, store: Store) -> None:
    row = dag_run_row(airflow, "failing")
    key = DagRunKey("failing", row["dag_run_id"], datetime.fromisoformat(row["start_date"]))
    task = TaskKey(key, "explode", -1, 1)
    worker = Source(DEPLOYMENT, Witness.WORKER)
    run_id = task.uuid(DEPLOYMENT)
    said: list[EventBase] = [
        worker.say(
            IdentityEvent,
            NOW,
            run_id=run_id,
            definition=task.definition,
            definition_kind="task",
            native_key=task.native_key,
            native_id=task.native_id,
        ),
        worker.say(StateEvent, NOW, run_id=run_id, state=State.FAILED, native_state="failed"),
    ]
    ingest_events(store, said, principal="airflow")

    sweep(airflow, store)

    run = the_run(store, "failing.explode")
    assert set(run.witnesses) == {Witness.WORKER, Witness.FOLLOWER}
    assert run.corrections == []
