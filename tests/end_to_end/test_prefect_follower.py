"""What the record says of a real Prefect that is followed: on SQLite and on PostgreSQL, beside the hooks and alone."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, select
from tests.end_to_end.history import History
from tests.end_to_end.prefect_deployment import PrefectClient, held_port, prefect_python
from tests.end_to_end.prefect_story import DEPLOYMENT, HANDED, SERVER, WAIT_SECONDS, Followed, acted, following
from tests.end_to_end.waiting import until

from runvis_core.cli.demo.engines import PrefectEngine, clean_environment
from runvis_core.model.state import State
from runvis_core.services.answers import RunDetail
from runvis_core.services.entries import list_entries
from runvis_core.services.filters import RunFilter
from runvis_core.services.runs import list_runs
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import runs

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    folder = tmp_path_factory.mktemp(f"prefect-{request.param}")
    server = {}
    if request.param == "postgresql":
        server["PREFECT_API_DATABASE_CONNECTION_URL"] = request.getfixturevalue("prefect_database")
    with acted(folder, server=server) as story:
        yield story


@pytest.fixture(scope="module")
def prefect_database(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL database with a Prefect server's tables, as that server takes it."""
    admin = postgresql_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE prefect_followed")
    url = make_url(postgresql_server).set(drivername="postgresql+asyncpg", database="prefect_followed")
    address = url.render_as_string(hide_password=False)
    variables = {
        "PREFECT_API_DATABASE_CONNECTION_URL": address,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect-tables")),
    }
    subprocess.run(
        [str(prefect_python()), str(Path(__file__).parent / "prefect_database.py")],
        env=clean_environment(**variables),
        check=True,
        timeout=120,
    )
    yield address
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE prefect_followed WITH (FORCE)")


def named(history: History, definition: str, *, parent: RunDetail | None = None) -> list[RunDetail]:
    """The runs of a definition, those of one parent if it is given, by attempt."""
    found = history.runs(definition, deployment=DEPLOYMENT)
    return sorted(
        (run for run in found if parent is None or run.parent_run_id == parent.run_id),
        key=lambda run: (run.attempt or 0, run.native_id or ""),
    )


def the(history: History, definition: str, *, parent: RunDetail | None = None) -> RunDetail:
    [run] = named(history, definition, parent=parent)
    return run


# --- without a deployment ---


def test_a_flow_that_is_tried_again(told: Followed) -> None:
    first, second = named(told.alone, "stubborn")

    assert (first.state, first.native_state) == (State.FAILED, "AwaitingRetry")
    assert first.retry_expected_at is not None
    assert (second.attempt, second.state, second.retry_of) == (2, State.SUCCEEDED, first.run_id)
    assert first.trigger is not None
    assert second.trigger is not None
    assert (first.trigger.kind, second.trigger.kind) == ("manual", "retry")


def test_a_task_that_is_tried_again_at_once_and_after_a_delay(told: Followed) -> None:
    first, second = named(told.alone, "stubborn")
    at_once = named(told.alone, "stubborn.at_once", parent=first)
    delayed = named(told.alone, "stubborn.after_a_delay", parent=first)

    assert [(run.attempt, run.state) for run in at_once] == [
        (1, State.FAILED),
        (2, State.FAILED),
        (3, State.SUCCEEDED),
    ]
    assert [(run.attempt, run.native_state) for run in delayed] == [(1, "AwaitingRetry"), (2, "Completed")]
    assert delayed[0].retry_expected_at is not None
    assert delayed[1].trigger is not None
    assert delayed[1].trigger.kind == "retry"
    assert len(named(told.alone, "stubborn.at_once", parent=second)) == 1


def test_a_subflow_is_part_of_its_caller_and_the_task_that_stands_for_it_is_no_run(told: Followed) -> None:
    outer, inner = the(told.alone, "outer"), the(told.alone, "inner")

    assert inner.parent_run_id == outer.run_id
    assert inner.trigger is not None
    assert (inner.trigger.kind, inner.trigger.native) == ("run", "subflow")
    assert the(told.alone, "inner.greet").parent_run_id == inner.run_id
    assert [node.definition for node in told.alone.tree(outer.run_id).children] == ["inner"]


def test_a_task_that_was_answered_from_its_cache(told: Followed) -> None:
    states = [run.native_state for run in named(told.alone, "prices.price")]

    assert sorted(map(str, states)) == ["Cached", "Completed"]


def test_each_mapped_task_is_a_run(told: Followed) -> None:
    squares = named(told.alone, "squares.square", parent=the(told.alone, "squares"))

    assert [run.state for run in squares] == [State.SUCCEEDED] * 3


def test_a_failure_and_a_timeout(told: Followed) -> None:
    load = the(told.alone, "broken.load")

    assert load.state is State.FAILED
    assert load.failure is not None
    assert "ValueError" in str(load.failure.message)
    assert "hunter2" not in str(load.failure.message)
    slow = the(told.alone, "broken.sleep_long")
    assert (slow.state, slow.native_state) == (State.TIMED_OUT, "TimedOut")


def test_the_end_of_a_log_is_prefects_where_the_process_gave_none(told: Followed) -> None:
    for definition in ("broken", "broken.load"):
        alone = until("the log", lambda name=definition: the(told.alone, name).log, seconds=WAIT_SECONDS)
        assert "ValueError" in alone.tail
        assert alone.counts["ERROR"] >= 1
        assert "hunter2" not in alone.tail
        run = the(told.together, definition)
        logs = [entry.event for entry in told.together.entries(run.run_id) if entry.event["kind"] == "log"]
        assert [event["witness"] for event in logs] == ["worker"], "the process gave it"


def test_what_was_undone_did_not_succeed(told: Followed) -> None:
    undone = the(told.alone, "rolled-back.undone")

    assert (undone.state, undone.effective_state) == (State.SUCCEEDED, State.FAILED)
    assert [correction.native_state for correction in undone.corrections] == ["RolledBack"]


def test_a_pause_that_the_process_waits_out_ends_no_attempt(told: Followed) -> None:
    for history in (told.alone, told.together):
        paused = the(history, "paused")
        assert (paused.attempt, paused.state) == (1, State.SUCCEEDED)
        assert the(history, "paused.after_the_pause").parent_run_id == paused.run_id
    states = [entry.event["native_state"] for entry in told.alone.entries(paused.run_id) if "state" in entry.event]
    assert "Paused" in states


def test_what_is_tried_again_after_a_pause_is_in_the_second_attempt(told: Followed) -> None:
    """Prefect counts the pause: by its word it would be the third."""
    for history in (told.alone, told.together):
        first, second = named(history, "paused-and-retried")
        assert [(run.attempt, run.native_state) for run in (first, second)] == [(1, "AwaitingRetry"), (2, "Completed")]
        tasks = named(history, "paused-and-retried.after_the_pause")
        assert {run.parent_run_id for run in tasks} == {first.run_id, second.run_id}
        assert the(history, "within").parent_run_id == second.run_id


def test_assets_with_what_they_were_made_of(told: Followed) -> None:
    raw, clean = the(told.alone, "assets.raw"), the(told.alone, "assets.clean")

    assert [(dataset.namespace, dataset.name) for dataset in raw.writes] == [("s3://lake", "raw")]
    assert [(dataset.namespace, dataset.name) for dataset in clean.writes] == [("s3://lake", "clean")]
    assert [(dataset.namespace, dataset.name) for dataset in clean.reads] == [("s3://lake", "raw")]


def test_an_artifact(told: Followed) -> None:
    [artifact] = the(told.alone, "assets").artifacts

    assert (artifact.name, artifact.media_type) == ("report", "text/markdown")


# --- with deployments ---


def test_a_run_for_a_work_pool_from_scheduled_to_its_end(told: Followed) -> None:
    run = told.the(told.alone, "late")

    states = told.states(told.alone, "late")
    assert states[:2] == ["Scheduled", "Late"]
    assert states[-2:] == ["Running", "Completed"]
    assert "Pending" in states
    assert run.queued_at is not None
    context = run.context.engine
    assert (context["work_pool"], context["work_queue"]) == ("pool", "default")
    assert context["prefect_deployment"] == "pooled"
    assert "ProcessWorker" in str(context["worker"])
    assert run.parameters == {"word": "hello"}
    assert "pooled" in run.context.tags
    assert run.trigger is not None
    assert run.trigger.kind == "api"


def test_a_deployment_without_capture_in_its_process_is_told_by_the_server_alone(told: Followed) -> None:
    assert told.the(told.together, "late").witnesses == ["follower"]
    assert told.the(told.together, "suspended").witnesses == ["follower", "worker"]
    assert told.together.definition("suspending").witnesses == ["follower", "worker"]
    assert told.alone.definition("suspending").witnesses == ["follower"]
    for definition, server_only in (("echo/pooled", True), ("echo/served", False)):
        deployment = told.together.definition(definition)
        assert deployment.server_only is server_only
        assert deployment.recent_runs
    starts = told.together.definition("echo").starts
    assert [(start.definition, start.server_only) for start in starts] == [
        ("echo/pooled", True),
        ("echo/served", False),
    ]


def test_deployments_are_definitions(told: Followed) -> None:
    pooled = told.alone.definition("echo/pooled")

    assert (pooled.kind, pooled.versions[0].native_version) == ("deployment", "3")
    assert pooled.versions[0].parent_definition == "echo"
    assert pooled.versions[0].structure["work_pool"] == "pool"
    ticking = told.alone.definition("ticking/served")
    assert str(ticking.versions[0].schedule).startswith("every 86400")


def test_a_run_by_schedule(told: Followed) -> None:
    ticking = told.the(told.alone, "ticking")

    assert ticking.trigger is not None
    assert ticking.trigger.kind == "schedule"
    assert ticking.state is State.SUCCEEDED
    assert told.states(told.alone, "ticking")[0] == "Scheduled"
    assert len(told.alone.runs("ticking")) == 1, "what is due tomorrow is not told today"


def test_a_run_by_an_automation(told: Followed) -> None:
    reacting = told.the(told.alone, "reacting")

    assert reacting.trigger is not None
    assert (reacting.trigger.kind, reacting.trigger.native) == ("api", "AUTOMATION")
    assert reacting.caused_by_run_id == told.the(told.alone, "calling").run_id


def test_a_run_that_another_flow_started(told: Followed) -> None:
    calling = told.the(told.alone, "calling")
    [called] = [run for run in told.alone.runs("echo") if run.caused_by_run_id is not None]

    assert called.caused_by_run_id is not None
    starting = told.alone.run(called.caused_by_run_id)
    assert (starting.kind, starting.parent_run_id) == ("task", calling.run_id)
    assert called.parent_run_id is None
    assert called.trigger is not None
    assert (called.trigger.kind, called.trigger.native) == ("run", "run_deployment")
    assert called.parameters == {"word": "called"}


def test_a_run_that_was_handed_its_cause_in_labels(told: Followed) -> None:
    for history in (told.alone, told.together):
        run = told.the(history, "suspended")
        assert (run.caused_by_run_id, run.correlation_id) == HANDED
        assert run.trigger is not None
        assert run.trigger.kind == "run"


def test_a_suspended_run_that_is_resumed_is_one_attempt(told: Followed) -> None:
    for history in (told.alone, told.together):
        run = told.the(history, "suspended")
        assert (run.attempt, run.state) == (1, State.SUCCEEDED)
    states = told.states(told.alone, "suspended")
    assert states[states.index("Suspended") + 1] == "Resuming"


def test_a_cancelled_run(told: Followed) -> None:
    run = told.the(told.together, "cancelled")

    assert (run.state, run.native_state) == (State.CANCELLED, "Cancelled")
    assert told.states(told.alone, "cancelled")[-2:] == ["Cancelling", "Cancelled"]


@pytest.mark.parametrize("name", ["crashed", "lost"])
def test_a_run_whose_process_is_ended_under_a_runner(told: Followed, name: str) -> None:
    """By SIGTERM and by SIGKILL: for the second the runner speaks, and nobody for the task."""
    run = told.the(told.alone, name)
    hold = the(told.alone, "holding.hold", parent=run)

    assert (run.state, run.native_state) == (State.FAILED, "Crashed")
    if name == "lost":
        assert (hold.state, hold.native_state) == (State.RUNNING, "Running")
    else:
        assert hold.native_state == "Crashed"


def test_a_run_whose_process_is_killed_alone_stays_running(told: Followed) -> None:
    """Nothing in an open-source Prefect ever says otherwise."""
    run = told.the(told.alone, "lost alone")

    assert (run.state, run.native_state) == (State.RUNNING, "Running")
    assert run.liveness is not None, "it beat once"


# --- both together ---


def test_the_follower_names_each_run_as_the_hooks_do(told: Followed) -> None:
    with told.alone.store.engine.connect() as connection:
        known = {row.run_id: row for row in connection.execute(select(runs))}
    with told.together.store.engine.connect() as connection:
        both = {row.run_id: row for row in connection.execute(select(runs))}

    assert len(known) > 40
    assert {(row.definition, row.attempt) for run_id, row in both.items() if run_id not in known} == set()
    for run_id, row in known.items():
        named_alike = (row.definition, row.attempt, row.parent_run_id, row.retry_of)
        assert (both[run_id].definition, both[run_id].attempt, both[run_id].parent_run_id, both[run_id].retry_of) == (
            named_alike
        )


def test_a_state_that_both_tell_is_one_event_and_an_attestation(told: Followed) -> None:
    entries = told.together.entries(told.the(told.together, "suspended").run_id)
    states = {str(entry.event["event_id"]): entry.event["witness"] for entry in entries if "state" in entry.event}
    attested = {
        (entry.event["attested_event_id"], entry.event["attested_by"])
        for entry in entries
        if entry.event["kind"] == "attestation"
    }

    both = {event_id for event_id, by in attested if {states[event_id], by} == {"worker", "follower"}}
    assert len(both) >= 2, "Running and Completed, at least"


def test_the_two_do_not_contradict_each_other(told: Followed) -> None:
    events = [entry.event for entry in told.together.all_entries()]

    assert [event for event in events if event["kind"] == "conflict"] == []
    with told.together.store.engine.connect() as connection:
        found = [told.together.run(run_id) for run_id in connection.scalars(select(runs.c.run_id))]
    corrected = {(run.definition, tuple(said.native_state for said in run.corrections)) for run in found}
    assert {said for said in corrected if said[1]} == {("rolled-back.undone", ("RolledBack",))}


def test_following_the_same_history_again_adds_nothing(told: Followed) -> None:
    assert told.prefect.api_url is not None
    before = until("a settled record", lambda: _settled(told.alone), seconds=120, pause=3)

    with following(told.prefect.api_url, told.alone.store):
        threading.Event().wait(6)

    added = told.alone.all_entries()[before:]
    assert [entry.event for entry in added if entry.event["kind"] != "state"] == []
    assert [entry.event for entry in added] == []


# --- the server and the follower start again ---


def test_nothing_is_lost_or_doubled_as_the_server_and_the_follower_start_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(held_port())
        store = stack.enter_context(closing(open_store(f"sqlite:///{tmp_path / 'runvis.db'}")))
        engine = PrefectEngine(prefect_python(), tmp_path / "prefect", server_variables=SERVER, port=port)
        prefect = stack.enter_context(engine)
        url = str(prefect.api_url)
        api = PrefectClient(url)
        stack.callback(api.close)

        def await_record() -> None:
            until("all states", lambda: set(recorded_states(store)) >= server_states(api), seconds=WAIT_SECONDS)

        with following(url, store):
            api.act_out("orders", "PENDING", "RUNNING", "COMPLETED")
            ending = api.act_out("orders", "PENDING", "RUNNING")
            await_record()
            prefect.stop()
            until("word of the trouble", lambda: said_of_prefect(caplog), seconds=WAIT_SECONDS)
            prefect.start_server()
            api.enter(ending, "COMPLETED")
            api.act_out("orders", "PENDING", "RUNNING", "FAILED")
            until("word of its end", lambda: IS_OVER in caplog.text, seconds=WAIT_SECONDS)
            ending = api.act_out("orders", "PENDING", "RUNNING")
            await_record()
        api.enter(ending, "COMPLETED")
        api.act_out("orders", "PENDING", "RUNNING", "COMPLETED")
        with following(url, store):
            await_record()

        assert len(server_states(api)) == 5 * 3
        assert sorted(recorded_states(store)) == sorted(server_states(api))
        assert len(list_runs(store, RunFilter(), limit=100, now=datetime.now(UTC)).items) == 5
    for time_of_trouble in "\n".join(said_of_prefect(caplog)).split(IS_OVER):
        lines = time_of_trouble.splitlines()
        assert len(set(lines)) == len(lines), "each trouble is said once until it is over"


IS_OVER = "is read again"


def said_of_prefect(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "runvis_core.services.trouble"]


def server_states(api: PrefectClient) -> set[str]:
    return {state["id"] for run in api.flow_runs() for state in api.flow_run_states(run["id"])}


def recorded_states(store: Store) -> list[str]:
    entries = list_entries(store, after=0, limit=10_000).items
    return [str(entry.event["event_id"]) for entry in entries if entry.event["kind"] == "state"]


def _settled(history: History) -> int:
    first = len(history.all_entries())
    threading.Event().wait(5)
    return first if len(history.all_entries()) == first else 0
