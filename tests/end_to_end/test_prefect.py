"""What the record says of flows that a real Prefect ran, with its server and without."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.history import History
from tests.end_to_end.prefect_deployment import FLOWS, PrefectClient, prefect_python
from tests.end_to_end.waiting import until

from runvis_core.cli.demo.engines import PrefectEngine
from runvis_core.model.state import State
from runvis_core.services.answers import RunDetail

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with History(tmp_path_factory.mktemp("history")) as history:
        yield history


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectEngine]:
    with PrefectEngine(prefect_python(), tmp_path_factory.mktemp("prefect")) as engine:
        yield engine


@pytest.fixture(scope="module")
def api(prefect: PrefectEngine) -> Iterator[PrefectClient]:
    assert prefect.api_url is not None
    client = PrefectClient(prefect.api_url)
    yield client
    client.close()


def run_flow(
    prefect: PrefectEngine, history: History, name: str, *, recording: str = "install", status: int = 0
) -> None:
    variables = {"RECORDING": recording, **history.engine_env(f"{name}-{recording}")}
    with prefect.start_flow(FLOWS / f"{name}.py", **variables) as flow:
        assert flow.wait(timeout_seconds=90) == status, flow.log_tail()


def runs(history: History, definition: str, deployment: str) -> list[RunDetail]:
    return [history.run(run.run_id) for run in history.runs(definition, deployment=deployment)]


@pytest.mark.parametrize("recording", ["install", "hooks"])
def test_a_flow_that_succeeds(prefect: PrefectEngine, history: History, api: PrefectClient, recording: str) -> None:
    run_flow(prefect, history, "success", recording=recording)
    (orders,) = runs(history, "orders", f"success-{recording}")
    assert (orders.state, orders.native_state, orders.kind, orders.attempt) == (State.SUCCEEDED, "Completed", "flow", 1)
    assert orders.parameters == {"count": 3, "region": "north"}
    assert "nightly" in orders.context.tags
    assert orders.context.environment["packages"]["prefect"] == "3.8.8"  # pyright: ignore
    assert orders.context.code["path"] == "tests/end_to_end/prefect_flows/success.py"
    assert len(str(orders.context.code["commit"])) == 40
    (fetch,) = runs(history, "orders.fetch", f"success-{recording}")
    assert fetch.parent_run_id == orders.run_id
    assert fetch.parameters == {"count": 3}
    assert set(fetch.context.tags) == {"nightly", "extract"}


def test_a_state_has_prefects_own_id(prefect: PrefectEngine, history: History, api: PrefectClient) -> None:
    run_flow(prefect, history, "subflow")
    (outer,) = runs(history, "outer", "subflow-install")
    (greet,) = runs(history, "inner.greet", "subflow-install")
    for run, states in (
        (outer, api.flow_run_states(str(outer.native_id))),
        (greet, api.task_run_states(str(greet.native_id))),
    ):
        native = {state["id"]: state["name"] for state in states}
        told = {
            str(entry.event["event_id"]): entry.event["native_state"]
            for entry in history.entries(run.run_id)
            if entry.event["kind"] == "state"
        }
        assert told
        assert told.items() <= native.items()


def test_a_subflow_is_part_of_the_flow_that_called_it(prefect: PrefectEngine, history: History) -> None:
    run_flow(prefect, history, "subflow", recording="hooks")
    (outer,) = runs(history, "outer", "subflow-hooks")
    (inner,) = runs(history, "inner", "subflow-hooks")
    (greet,) = runs(history, "inner.greet", "subflow-hooks")
    assert inner.parent_run_id == outer.run_id
    assert greet.parent_run_id == inner.run_id
    assert inner.trigger is not None
    assert inner.trigger.native == "subflow"


@pytest.mark.parametrize("recording", ["install", "hooks"])
def test_every_attempt_is_a_run(prefect: PrefectEngine, history: History, recording: str) -> None:
    run_flow(prefect, history, "retry", recording=recording)
    deployment = f"retry-{recording}"
    first, second = sorted(runs(history, "stubborn", deployment), key=lambda run: run.attempt or 0)
    assert (first.state, first.native_state) == (State.FAILED, "AwaitingRetry")
    assert (second.state, second.retry_of) == (State.SUCCEEDED, first.run_id)
    assert first.failure is not None
    assert first.failure.message == "stubborn refused, attempt 1"
    assert first.ended_at is not None
    assert second.started_at is not None
    assert 0.9 < (second.started_at - first.ended_at).total_seconds() < 1.1  # the policy's delay
    by_attempt = {
        (run.parent_run_id, run.attempt): (run.state, run.native_state)
        for run in runs(history, "stubborn.at_once", deployment)
    }
    assert by_attempt == {
        (first.run_id, 1): (State.FAILED, "AwaitingRetry"),
        (first.run_id, 2): (State.FAILED, "AwaitingRetry"),
        (first.run_id, 3): (State.SUCCEEDED, "Completed"),
        (second.run_id, 1): (State.SUCCEEDED, "Completed"),
    }
    delayed = [run for run in runs(history, "stubborn.after_a_delay", deployment) if run.parent_run_id == first.run_id]
    failed, succeeded = sorted(delayed, key=lambda run: run.attempt or 0)
    assert failed.failure is not None
    assert "after_a_delay refused, attempt 1" in str(failed.failure.traceback)
    assert (succeeded.attempt, succeeded.state) == (2, State.SUCCEEDED)


def test_a_failure_with_its_traceback_and_without_its_password(prefect: PrefectEngine, history: History) -> None:
    run_flow(prefect, history, "failure", status=3)
    (load,) = runs(history, "broken.load", "failure-install")
    assert (load.state, load.native_state) == (State.FAILED, "Failed")
    assert load.failure is not None
    assert load.failure.error_type == "ValueError"
    assert "failure.py" in str(load.failure.traceback)
    assert "hunter2" not in str(load.failure)
    (slow,) = runs(history, "broken.sleep_long", "failure-install")
    assert (slow.state, slow.native_state) == (State.TIMED_OUT, "TimedOut")
    (broken,) = runs(history, "broken", "failure-install")
    assert broken.state is State.FAILED
    database = Path(history.store_url.removeprefix("sqlite:///"))
    stored = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
    assert b"hunter2" not in stored


def test_a_run_has_the_last_lines_of_its_log(prefect: PrefectEngine, history: History) -> None:
    run_flow(prefect, history, "failure", recording="hooks", status=3)
    (load,) = runs(history, "broken.load", "failure-hooks")
    assert load.log is not None
    assert load.log.counts["ERROR"] == 1


def test_a_cached_task_says_so(prefect: PrefectEngine, history: History) -> None:
    run_flow(prefect, history, "cached")
    states = sorted(str(run.native_state) for run in runs(history, "prices.price", "cached-install"))
    assert states == ["Cached", "Completed"]


def test_each_mapped_task_is_a_run_with_its_own_input(prefect: PrefectEngine, history: History) -> None:
    run_flow(prefect, history, "mapped")
    squares = runs(history, "squares.square", "mapped-install")
    assert sorted(run.parameters["number"] for run in squares) == [1, 2, 3]  # pyright: ignore
    assert len({run.parent_run_id for run in squares}) == 1


def test_a_flow_whose_process_is_told_to_end(prefect: PrefectEngine, history: History, tmp_path: Path) -> None:
    """Prefect calls no hook for the task; the record says that it crashed, all the same."""
    ready = tmp_path / "ready"
    variables = {"RECORDING": "install", "READY_FILE": str(ready), **history.engine_env("terminated")}
    with prefect.start_flow(FLOWS / "waiting.py", **variables) as flow:
        flow.wait_until(ready.exists, what="ready file", timeout_seconds=60)
        flow.send_signal(signal.SIGTERM)
        assert flow.wait(timeout_seconds=60) == -signal.SIGTERM
    for definition in ("waiting", "waiting.wait_for_signal"):
        (run,) = runs(history, definition, "terminated")
        assert (run.state, run.native_state) == (State.FAILED, "Crashed")
    kinds = [entry.event["kind"] for entry in history.all_entries() if entry.event["deployment"] == "terminated"]
    assert kinds.count("producer_opened") == kinds.count("producer_closed") == 1


def test_a_flow_without_a_server(history: History, tmp_path: Path) -> None:
    with PrefectEngine(prefect_python(), tmp_path, with_server=False) as engine:
        run_flow(engine, history, "mapped", recording="hooks")
    (squares,) = runs(history, "squares", "mapped-hooks")
    assert squares.state is State.SUCCEEDED
    assert len(runs(history, "squares.square", "mapped-hooks")) == 3


def test_a_served_flow_that_is_cancelled(
    prefect: PrefectEngine, history: History, api: PrefectClient, tmp_path: Path
) -> None:
    """Hooks see Cancelling and no more: that it was Cancelled only Prefect's server knows."""
    ready = tmp_path / "ready"
    variables = {"RECORDING": "install", "READY_FILE": str(ready), **history.engine_env("served")}
    with prefect.start_flow(FLOWS / "served.py", **variables) as runner:
        runner.wait_until(lambda: api.has_deployment("waiting/served"), what="deployment", timeout_seconds=60)
        native_id = api.start_deployment("waiting/served")
        runner.wait_until(ready.exists, what="ready file", timeout_seconds=90)
        api.cancel(native_id)
        until("the cancelled run", lambda: api.flow_run(native_id)["state_name"] == "Cancelled", seconds=60)
    (run,) = runs(history, "waiting", "served")
    assert run.native_id == native_id
    assert run.context.engine["prefect_deployment"] == "served"
    assert run.native_state == "Cancelling"
    assert run.trigger is not None
    assert run.trigger.kind == "api"
