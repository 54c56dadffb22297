"""What the record says of a real Airflow, row by row of what its own hooks do and do not deliver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import psycopg
import pytest
from sqlalchemy import make_url, select
from tests.end_to_end.airflow_deployment import AirflowDeployment
from tests.end_to_end.airflow_story import Story
from tests.end_to_end.history import History
from tests.end_to_end.waiting import until

from runvis_core.model.state import Relation, State, TriggerKind, Witness
from runvis_core.services.answers import RunDetail
from runvis_core.store.tables import producers

pytestmark = pytest.mark.timeout(1200)

SECRETS = ("hunter2-very-secret", "conf-password", "default-pw")


@pytest.fixture(scope="module")
def metadata_url(postgresql_server: str) -> Iterator[str]:
    """The address of a PostgreSQL database for Airflow's own books; its SQLite can't take so much at a time."""
    admin = postgresql_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow_story")
    url = make_url(postgresql_server).set(drivername="postgresql+psycopg2", database="airflow_story")
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE airflow_story WITH (FORCE)")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, metadata_url: str) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("airflow")
    history = History(folder / "runvis")
    airflow = AirflowDeployment(folder / "airflow", metadata_url=metadata_url, schedulers=2)
    with history:
        airflow.env |= history.engine_env("story")
        with airflow:
            told = Story(airflow, history, "story")
            airflow.wait_for_dags("plain", "two_tasks", "cleared_running", "consumer", "deferring")
            told.start_unattended()
            told.interfere()
            told.come_back()
            told.let_go()
            told.await_all()
            yield told


def words(run: RunDetail) -> list[str]:
    return [f"{transition.state}/{transition.native_state or ''}" for transition in run.transitions]


def test_a_task_goes_from_queued_over_initializing_to_its_end_by_two_witnesses(story: Story) -> None:
    run = story.the_try("plain", "extract")
    assert [transition.state for transition in run.transitions] == [
        State.QUEUED,
        State.INITIALIZING,
        State.RUNNING,
        State.SUCCEEDED,
    ]
    assert set(run.witnesses) == {Witness.WORKER, Witness.SCHEDULER}
    assert not run.corrected


def test_a_task_tells_its_inputs_code_and_place(story: Story) -> None:
    run = story.the_try("plain", "extract")
    assert run.parameters == {"region": "us", "password": "[redacted]"}
    assert run.context.conf == {"region": "us", "password": "[redacted]"}
    assert run.context.tags == ["plain", "story"]
    assert run.context.owner == "ada"
    assert run.context.engine["operator"] == "_PythonDecoratedOperator"
    assert run.context.engine["pool"] == "default_pool"
    assert run.context.engine["queue"] == "default"
    assert run.context.code["bundle"] == "dags-folder"
    assert run.context.code["path"] == "story_outcomes.py"
    assert run.context.environment["airflow"] == "3.3.2"
    assert run.context.environment["host"]
    assert "/tasks/extract" in (run.context.native_url or "")


def test_a_dag_run_tells_who_started_it_why_and_with_which_note(story: Story) -> None:
    run = story.dag_run("plain")
    assert run.trigger is not None
    assert (run.trigger.kind, run.trigger.native, run.trigger.actor) == (TriggerKind.API, "manual", "Anonymous")
    assert [said.content["text"] for said in run.said if said.kind == "note"] == ["started by a test"]
    assert run.queued_at is not None
    assert run.started_at is not None
    assert run.queued_at <= run.started_at
    assert {child.definition for child in run.tree.children} == {"plain.extract", "plain.load", "plain.done"}


def test_a_run_keeps_the_shape_of_the_dag_that_it_ran(story: Story) -> None:
    version = story.dag_run("plain").definition_version
    assert version is not None
    shape = story.history.definition("plain").versions[0].structure
    assert [task["id"] for task in shape["tasks"]] == ["done", "extract", "load"]
    assert shape["edges"] == [["extract", "load"], ["load", "done"]]
    task_version = story.the_try("plain", "extract").definition_version
    assert task_version is not None
    assert task_version.version_id == version.version_id


def test_the_last_lines_of_the_log_and_their_severities_are_kept(story: Story) -> None:
    log = story.the_try("plain", "load").log
    assert log is not None
    assert "WARNING story: loading 1" in (log.tail or "")
    assert log.counts["WARNING"] >= 1


def test_a_task_that_airflow_never_ran_is_in_the_record(story: Story) -> None:
    run = story.the_try("plain", "done")
    assert (run.effective_state, run.attempt) == (State.SUCCEEDED, 1)
    assert run.witnesses == [Witness.SCHEDULER]


def test_a_task_that_lasts_shows_that_it_lives_until_its_end(story: Story) -> None:
    assert story.sign_of_life is not None
    assert (story.sign_of_life.interval_seconds, story.sign_of_life.silent) == (30, False)
    ended = story.the_try("lasting", "lasts")
    assert (ended.effective_state, ended.liveness) == (State.SUCCEEDED, None)
    assert ended.started_at < story.sign_of_life.last_heartbeat_at < ended.ended_at


def test_a_retry_is_a_run_of_its_own_that_names_the_one_before(story: Story) -> None:
    first, second = story.tries("retrying", "flaky")
    assert (first.effective_state, first.native_state) == (State.FAILED, "up_for_retry")
    assert first.ended_at is not None
    assert first.retry_expected_at == first.ended_at + timedelta(seconds=1)
    assert second.effective_state is State.SUCCEEDED
    assert second.retry_of == first.run_id
    assert first.parent_run_id == second.parent_run_id == story.dag_run("retrying").run_id


def test_a_task_in_airflows_ui_has_a_link_to_its_try(story: Story) -> None:
    task = f"/dags/retrying/dagRuns/{quote(story.run_ids['retrying'])}/taskInstances/flaky"
    for attempt in story.tries("retrying", "flaky"):
        links = story.airflow.client.call("GET", f"{task}/links", params={"try_number": attempt.attempt})
        address = urlsplit(links["extra_links"]["Open in RunVis"])
        assert f"{address.scheme}://{address.netloc}" == story.history.url
        name = unquote(address.path).removeprefix("/runs/")
        found = story.history.run(name)
        assert found.run_id == attempt.run_id
        assert dict(parse_qsl(address.query)) == {"engine": found.engine, "deployment": found.deployment}


def test_a_failure_has_its_traceback_and_no_password(story: Story) -> None:
    failure = story.the_try("failing", "explode").failure
    assert failure is not None
    assert failure.error_type == "RuntimeError"
    assert "cannot log in to postgresql://svc:[redacted]@db/prod" in (failure.message or "")
    assert "KeyError: 'inner'" in (failure.traceback or "")
    assert "story_outcomes.py" in (failure.traceback or "")


def test_no_secret_is_anywhere_in_the_store_or_the_spool(story: Story) -> None:
    files = [path for path in story.history.folder.rglob("*") if path.is_file()]
    assert any(path.name == "runvis.db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in SECRETS if secret.encode() in content], path


@pytest.mark.parametrize(
    ("name", "task_id", "native_state", "attempt"),
    [
        ("failing", "after", "upstream_failed", 0),
        ("branching", "right", "skipped", 0),
        ("skipping", "skip_itself", "skipped", 1),
    ],
)
def test_what_did_not_run_is_cancelled_and_says_why(
    story: Story, name: str, task_id: str, native_state: str, attempt: int
) -> None:
    run = story.the_try(name, task_id)
    assert (run.effective_state, run.native_state, run.attempt) == (State.CANCELLED, native_state, attempt)
    assert (run.started_at is None) == (attempt == 0)


def test_a_deferred_task_is_one_run_that_paused(story: Story) -> None:
    run = story.the_try("deferring", "wait")
    live = [word for word in words(run) if not word.startswith("Queued")]
    assert live == [
        "Initializing/running",
        "Running/running",
        "Running/deferred",
        "Running/running",
        "Succeeded/success",
    ]


def test_a_rescheduled_sensor_is_one_run_that_paused(story: Story) -> None:
    run = story.the_try("rescheduling", "poke")
    assert "Running/up_for_reschedule" in words(run)
    assert words(run).count("Running/running") == 2
    assert run.effective_state is State.SUCCEEDED


def test_each_mapped_task_is_a_run_with_its_index(story: Story) -> None:
    runs = [story.the_try("mapped", "each", index) for index in range(3)]
    assert [run.effective_state for run in runs] == [State.SUCCEEDED, State.SUCCEEDED, State.FAILED]
    assert [run.context.engine["map_index"] for run in runs] == [0, 1, 2]
    assert [run.context.engine["rendered_map_index"] for run in runs] == ["item 1", "item 2", "item 3"]


def test_a_triggered_child_names_the_task_that_started_it(story: Story) -> None:
    child = story.dag_run("child")
    assert child.trigger is not None
    assert child.trigger.kind is TriggerKind.RUN
    assert child.caused_by_run_id == story.the_try("parent", "call").run_id


def test_an_asset_joins_who_wrote_it_and_who_waited_for_it(story: Story) -> None:
    written = story.the_try("producer", "produce")
    assert [(data.namespace, data.name) for data in written.writes] == [("s3://lake", "orders")]
    assert [(data.namespace, data.name) for data in written.reads] == [("s3://lake", "raw_orders")]
    consumer = story.dag_run("consumer")
    assert consumer.trigger is not None
    assert consumer.trigger.kind is TriggerKind.DATASET
    assert [(data.namespace, data.name) for data in consumer.reads] == [("s3://lake", "orders")]
    key = f"producer/{story.run_ids['producer']}/produce/-1"
    assert [link.target_native_key for link in consumer.links if link.relation is Relation.CAUSED_BY] == [key]
    assert consumer.caused_by_run_id == written.run_id


@pytest.mark.parametrize(("name", "task_id"), [("killed", "victim"), ("exiting", "leave")])
def test_a_task_whose_process_died_has_an_end_that_no_hook_told(story: Story, name: str, task_id: str) -> None:
    run = story.the_try(name, task_id)
    assert run.state is State.FAILED
    first = run.testimony[0]
    assert (first.witness, first.native_state) == (Witness.SCHEDULER, "failed")
    # The dead process could deliver nothing more: its spool is taken over by those that live as long as the engine.
    until("the dead worker's own word", lambda: Witness.WORKER in story.the_try(name, task_id).witnesses, seconds=90)
    assert "Running/running" in words(story.the_try(name, task_id))


def test_a_killed_task_with_retries_left_ends_and_is_tried_again(story: Story) -> None:
    first, second = story.tries("killed_retrying", "victim")
    assert (first.effective_state, first.native_state) == (State.FAILED, "up_for_retry")
    assert [word.witness for word in first.testimony] == [Witness.SCHEDULER]
    assert "task instance" in ((first.failure and first.failure.message) or "")
    assert second.effective_state is State.SUCCEEDED
    assert second.retry_of == first.run_id


def test_a_task_that_ran_too_long_timed_out_and_nobody_contradicts(story: Story) -> None:
    run = story.the_try("timing_out_task", "slow")
    assert run.effective_state is State.TIMED_OUT
    assert {word.witness for word in run.testimony} == {Witness.WORKER, Witness.SCHEDULER}
    assert not run.corrected


def test_a_dag_run_that_ran_too_long_timed_out_and_so_did_what_was_running(story: Story) -> None:
    assert story.dag_run("timing_out_run").effective_state is State.TIMED_OUT
    stopped = story.the_try("timing_out_run", "too_long")
    assert (stopped.effective_state, stopped.native_state) == (State.TIMED_OUT, "skipped")
    never = story.the_try("timing_out_run", "never")
    assert (never.effective_state, never.started_at) == (State.CANCELLED, None)


def test_a_task_marked_by_a_person_says_so(story: Story) -> None:
    run = story.the_try("marked:task", "held")
    assert run.effective_state is State.SUCCEEDED
    assert [said.name for said in run.said if said.kind == "action"] == ["marked success"]


def test_a_dag_run_marked_by_a_person_says_so_and_what_was_pending_is_skipped(story: Story) -> None:
    run = story.dag_run("marked:run")
    assert run.effective_state is State.FAILED
    assert [said.name for said in run.said if said.kind == "action"] == ["marked failed"]
    assert run.failure is None
    assert story.the_try("marked:run", "held").effective_state is State.FAILED
    pending = story.the_try("marked:run", "pending")
    assert (pending.effective_state, pending.native_state) == (State.CANCELLED, "skipped")


def test_a_mark_after_the_end_is_a_correction_and_the_first_end_stays(story: Story) -> None:
    run = story.the_try("exiting", "leave")
    assert run.state is State.FAILED
    assert run.effective_state is State.SUCCEEDED
    assert [correction.state for correction in run.corrections] == [State.SUCCEEDED]


def test_clearing_a_task_of_a_running_dag_run_makes_a_try_and_no_other_dag_run(story: Story) -> None:
    dag_run = story.dag_run("cleared_running")
    first, second = story.tries("cleared_running", "restarted")
    sibling = story.the_try("cleared_running", "sibling")
    assert {first.parent_run_id, second.parent_run_id, sibling.parent_run_id} == {dag_run.run_id}
    assert second.retry_of == first.run_id
    assert second.effective_state is State.SUCCEEDED


def test_clearing_one_task_afterwards_reopens_the_dag_run_and_moves_no_other_try(story: Story) -> None:
    before, after = story.dag_runs("many")
    assert after.retry_of == before.run_id
    first, second = story.tries("many", "member", 2)
    assert (first.parent_run_id, second.parent_run_id) == (before.run_id, after.run_id)
    kept = [story.the_try("many", "first"), *(story.the_try("many", "member", index) for index in (0, 1, 3))]
    assert {run.parent_run_id for run in kept} == {before.run_id}
    carried = {link.target_native_key for link in after.links if link.relation is Relation.CARRIED_OVER}
    assert carried == {(run.native_id or "").rpartition("/")[0] for run in kept}


def test_a_dag_run_deleted_and_made_again_is_another_run_with_other_tries(story: Story) -> None:
    first, second = story.dag_runs("two_tasks")
    assert first.run_id != second.run_id
    tries = story.tries("two_tasks", "one")
    assert [run.attempt for run in tries] == [1, 1]
    assert {run.parent_run_id for run in tries} == {first.run_id, second.run_id}


def test_a_file_that_cannot_be_imported_is_told_once_however_often_it_is_parsed(story: Story) -> None:
    errors = [entry for entry in story.history.all_entries() if entry.event["kind"] == "definition_error"]
    assert [Path(entry.event["source"]).name for entry in errors] == ["story_broken.py"]


def test_declared_assets_are_known(story: Story) -> None:
    declared = {
        (entry.event["namespace"], entry.event["name"])
        for entry in story.history.all_entries()
        if entry.event["kind"] == "dataset_declared"
    }
    assert declared == {("s3://lake", "orders"), ("s3://lake", "raw_orders")}


def test_every_kind_of_process_was_heard_and_no_event_of_one_is_missing(story: Story) -> None:
    with story.history.store.engine.connect() as connection:
        heard = connection.execute(select(producers)).all()
    assert {row.component for row in heard} >= {"task", "scheduler", "api-server", "dag-processor"}
    for row in heard:
        assert len(json.loads(row.received)) == 1, row
        if row.closed_sequence is not None:
            assert json.loads(row.received) == [[0, row.closed_sequence]], row


def test_only_what_was_marked_afterwards_is_contradicted(story: Story) -> None:
    corrected = [
        run.native_id
        for definition in ("plain", "failing", "mapped", "deferring", "killed", "timing_out_run", "many", "marked")
        for run in story.history.runs(definition)
        if run.corrected
    ]
    assert corrected == []


def test_two_schedulers_tell_of_a_transition_once(story: Story) -> None:
    opened = [entry.event for entry in story.history.all_entries() if entry.event["kind"] == "producer_opened"]
    assert [event["component"] for event in opened].count("scheduler") == 2
    for name in ("plain", "many", "deferring", "mapped"):
        for run in story.dag_runs(name):
            assert [transition.state for transition in run.transitions].count(State.RUNNING) == 1
            assert len(run.testimony) == 1


def test_airflow_was_never_disturbed(story: Story) -> None:
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        log = story.airflow.log(name, lines=100_000)
        assert "error calling listener" not in log
        assert "Error while calling listener" not in log
        assert "UNEXPECTED COMMIT" not in log
        assert "RunVis could not" not in log, log
    for path in (story.airflow.home / "logs").rglob("*.log"):
        text = path.read_text(errors="replace")
        assert "error calling listener" not in text, path
        assert "RunVis could not" not in text, path
