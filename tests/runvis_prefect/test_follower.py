"""The follower against a server that answers like Prefect's, and that fails in every way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.runvis_prefect import fake_prefect
from tests.runvis_prefect.fake_prefect import FakePrefect, text

from runvis_core.errors import SettingsError, UnreachableError
from runvis_core.model.event import StateEvent
from runvis_core.model.state import State, Witness
from runvis_core.services import telling
from runvis_core.services.answers import EntryView, RunDetail
from runvis_core.services.entries import list_entries, list_raw_entries
from runvis_core.services.filters import RunFilter
from runvis_core.services.ingest import ingest_events
from runvis_core.services.known import find_known_events
from runvis_core.services.run_details import get_run
from runvis_core.services.runs import list_runs
from runvis_core.services.watermark import find_watermark
from runvis_core.settings import Settings, load_settings
from runvis_core.store.database import Store, open_store
from runvis_prefect import follower
from runvis_prefect.identity import flow_run_id, task_run_id

NOW = datetime(2026, 11, 24, 10, 46, 42, tzinfo=UTC)
DEPLOYMENT = "test"
WAIT_SECONDS = 240
"""A burst takes long on a machine that is busy."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def prefect() -> Iterator[FakePrefect]:
    with FakePrefect(now=NOW) as fake:
        yield fake


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with closing(open_store(request.getfixturevalue(f"{request.param}_url"))) as opened:
        yield opened


class Following:
    """`follow` in a thread."""

    def __init__(self, url: str, store: Store, settings: Settings) -> None:
        self.stop = threading.Event()
        arguments = {"store": store, "settings": settings, "stop": self.stop}
        self.thread = threading.Thread(target=follower.follow, args=(url,), kwargs=arguments)
        self.thread.start()

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def end(self) -> float:
        """End it and return how long that took."""
        begun = time.monotonic()
        self.stop.set()
        self.thread.join(WAIT_SECONDS)
        assert not self.thread.is_alive()
        return time.monotonic() - begun


def settings(**section: Any) -> Settings:
    return load_settings(deployment=DEPLOYMENT, prefect={"interval_seconds": 1, **section})


def following(prefect: FakePrefect, store: Store, **section: Any) -> Following:
    return Following(prefect.url, store, settings(**section))


def await_that(check: Callable[[], Any], *, pause: float = 0.2) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(pause)
    return found


def watermark(store: Store) -> str | None:
    return find_watermark(store, engine="prefect", deployment=DEPLOYMENT, key=follower.WATERMARK)


def swept(prefect: FakePrefect, store: Store, **section: Any) -> None:
    """Follow until a sweep that begins from now on is over."""
    prefect.now += timedelta(seconds=1)
    begun = prefect.now
    with following(prefect, store, **section):
        await_that(lambda: (known := watermark(store)) and datetime.fromisoformat(known) >= begun)


def entries(store: Store) -> list[EntryView]:
    return list_entries(store, after=0, limit=200_000).items


def told_states(store: Store) -> dict[str, str]:
    """Return the states that were told, by Prefect's id; each was told once."""
    told = [entry.event for entry in entries(store) if entry.event["kind"] == "state"]
    assert len({event["event_id"] for event in told}) == len(told)
    return {event["event_id"]: event["native_state"] for event in told}


def all_states(prefect: FakePrefect) -> dict[str, str]:
    return {state["id"]: state["name"] for states in prefect.states.values() for state in states}


def has_all_states(prefect: FakePrefect, store: Store) -> bool:
    wanted = {UUID(state_id) for state_id in all_states(prefect)}
    return find_known_events(store, wanted) == wanted


def runs_of(store: Store, definition: str) -> list[RunDetail]:
    page = list_runs(store, RunFilter(definition=definition), limit=500, now=NOW)
    return sorted((get_run(store, str(item.run_id), now=NOW) for item in page.items), key=lambda run: run.attempt or 0)


def the_run(store: Store, definition: str) -> RunDetail:
    [run] = runs_of(store, definition)
    return run


# --- what it reads ---


def test_runs_have_the_ids_that_the_hooks_give_them(prefect: FakePrefect, store: Store) -> None:
    native = prefect.run("orders", parameters={"count": 3}, tags=["nightly"])
    [task] = prefect.task_runs

    swept(prefect, store)

    orders, load = the_run(store, "orders"), the_run(store, "orders.load")
    assert orders.run_id == flow_run_id(DEPLOYMENT, UUID(native), 1)
    assert load.run_id == task_run_id(DEPLOYMENT, UUID(task), 1)
    assert load.parent_run_id == orders.run_id
    assert (orders.state, orders.native_state, orders.parameters) == (State.SUCCEEDED, "Completed", {"count": 3})
    assert list(orders.context.tags) == ["nightly"]
    assert told_states(store) == all_states(prefect)


def test_a_password_in_prefect_s_address_is_in_no_entry(
    prefect: FakePrefect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.enter(prefect.start_flow_run(), "RUNNING")
    plain = prefect.url
    monkeypatch.setattr(prefect, "url", plain.replace("://", "://reader:the-password@"))
    swept(prefect, store)
    told = b"".join(row.entry for row in list_raw_entries(store, after=0, limit=10_000))
    assert plain.removesuffix("/api").encode() in told
    assert b"the-password" not in told


def test_a_scheduled_run_has_no_event_and_is_told_when_it_is_due(prefect: FakePrefect, store: Store) -> None:
    for days in (0, 1):
        due = text(NOW + timedelta(days=days, minutes=5))
        native = prefect.start_flow_run(f"in-{days}-days", auto_scheduled=True, expected_start_time=due)
        prefect.enter(native, "SCHEDULED", has_event=False)

    swept(prefect, store)

    run = the_run(store, "in-0-days")
    assert (run.state, run.native_state, run.started_at) == (State.QUEUED, "Scheduled", None)
    assert run.trigger is not None
    assert run.trigger.kind == "schedule"
    assert runs_of(store, "in-1-days") == []


def test_an_event_is_in_the_store_long_before_the_next_sweep(prefect: FakePrefect, store: Store) -> None:
    with following(prefect, store, interval_seconds=600):
        await_that(lambda: watermark(store))
        native = prefect.run("orders")
        await_that(lambda: told_states(store) == all_states(prefect))

    assert the_run(store, "orders").native_id == native


def test_the_first_sweep_reads_what_was_before_it(prefect: FakePrefect, store: Store) -> None:
    prefect.run("yesterday")
    prefect.now += timedelta(hours=23)

    swept(prefect, store)

    assert the_run(store, "yesterday").state is State.SUCCEEDED


def test_every_attempt_is_a_run(prefect: FakePrefect, store: Store) -> None:
    native = prefect.start_flow_run("stubborn")
    again_at = NOW + timedelta(seconds=3)
    for kind, name in (("PENDING", None), ("RUNNING", None), ("SCHEDULED", "AwaitingRetry"), ("RUNNING", "Retrying")):
        prefect.now += timedelta(seconds=1)
        prefect.enter(native, kind, name, details={"scheduled_time": text(again_at)} if name else None)
    task = prefect.start_task_run(native)
    for kind, name in (("PENDING", None), ("RUNNING", None), ("RUNNING", "Retrying"), ("COMPLETED", None)):
        prefect.now += timedelta(seconds=1)
        prefect.enter(task, kind, name)
    prefect.enter(native, "COMPLETED")

    swept(prefect, store)

    first, second = runs_of(store, "stubborn")
    assert (first.state, first.native_state, first.retry_expected_at) == (State.FAILED, "AwaitingRetry", again_at)
    assert (second.state, second.retry_of) == (State.SUCCEEDED, first.run_id)
    tries = runs_of(store, "stubborn.load")
    assert [(run.attempt, run.state, run.parent_run_id) for run in tries] == [
        (1, State.FAILED, second.run_id),
        (2, State.SUCCEEDED, second.run_id),
    ]


def test_a_pause_ends_no_attempt_whatever_prefect_counts(prefect: FakePrefect, store: Store) -> None:
    native = prefect.start_flow_run("paused")
    for kind in ("PENDING", "RUNNING", "PAUSED", "RUNNING", "COMPLETED"):
        prefect.now += timedelta(seconds=1)
        prefect.enter(native, kind)
    assert prefect.flow_runs[native]["run_count"] == 2

    swept(prefect, store)

    run = the_run(store, "paused")
    assert (run.attempt, run.state) == (1, State.SUCCEEDED)


def test_a_task_tried_again_after_a_pause_is_in_the_attempt_that_there_is(prefect: FakePrefect, store: Store) -> None:
    native = prefect.start_flow_run("paused")
    for kind, name in (
        ("PENDING", None),
        ("RUNNING", None),
        ("PAUSED", None),
        ("RUNNING", None),
        ("SCHEDULED", "AwaitingRetry"),
        ("RUNNING", "Retrying"),
    ):
        prefect.now += timedelta(seconds=1)
        prefect.enter(native, kind, name)
    task = prefect.start_task_run(native)
    for kind in ("PENDING", "RUNNING", "COMPLETED"):
        prefect.enter(task, kind)
    assert prefect.task_runs[task]["flow_run_run_count"] == 3

    swept(prefect, store)

    assert [run.attempt for run in runs_of(store, "paused")] == [1, 2]
    assert the_run(store, "paused.load").parent_run_id == flow_run_id(DEPLOYMENT, UUID(native), 2)


def test_the_log_of_a_failed_run_is_prefects_and_is_redacted(prefect: FakePrefect, store: Store) -> None:
    native = prefect.start_flow_run("broken")
    prefect.enter(native, "RUNNING")
    prefect.log(native, "no answer from postgresql://loader:hunter2@db/orders")
    prefect.enter(native, "FAILED")
    prefect.now += timedelta(seconds=30)

    with following(prefect, store):
        log = await_that(lambda: (found := runs_of(store, "broken")) and found[0].log)

    assert log.counts == {"INFO": 1}
    assert "no answer from postgresql://" in log.tail
    assert "hunter2" not in log.tail


def test_what_an_automation_started_was_caused_by_the_run_that_set_it_off(prefect: FakePrefect, store: Store) -> None:
    cause = prefect.run("first", tasks=0)
    prefect.now += timedelta(seconds=1)
    started = prefect.run("second", tasks=0, created_by={"type": "AUTOMATION", "display_value": "after first"})
    prefect.say(
        "prefect.automation.action.executed",
        {"prefect.resource.id": "prefect.automation.1"},
        [
            {"prefect.resource.id": f"prefect.flow-run.{started}", "prefect.resource.role": "flow-run"},
            {
                "prefect.resource.id": f"prefect.event.{prefect.states[cause][-1]['id']}",
                "prefect.resource.role": "triggering-event",
            },
        ],
    )

    swept(prefect, store)

    second = the_run(store, "second")
    assert second.caused_by_run_id == the_run(store, "first").run_id
    assert second.trigger is not None
    assert second.trigger.native == "AUTOMATION"


def test_a_hook_and_the_server_tell_one_event(prefect: FakePrefect, store: Store) -> None:
    native = prefect.run("orders", tasks=0)
    running = prefect.states[native][1]
    said = StateEvent(
        engine="prefect",
        deployment=DEPLOYMENT,
        witness=Witness.WORKER,
        event_id=UUID(running["id"]),
        occurred_at=datetime.fromisoformat(running["timestamp"]),
        run_id=flow_run_id(DEPLOYMENT, UUID(native), 1),
        state=State.RUNNING,
        native_state="Running",
    )
    ingest_events(store, [said], principal="prefect")

    swept(prefect, store)

    kinds = [entry.event["kind"] for entry in entries(store)]
    assert kinds.count("attestation") == 1
    assert "conflict" not in kinds
    assert told_states(store) == all_states(prefect)


# --- what goes wrong ---


def test_what_the_socket_drops_the_sweep_finds(prefect: FakePrefect, sqlite_url: str) -> None:
    """As a real server does with a burst of 5,000 events: 291 arrive."""
    with closing(open_store(sqlite_url)) as store, following(prefect, store, interval_seconds=5):
        await_that(lambda: prefect.connections)
        prefect.drops = lambda event: len(prefect.events) > 291
        for _ in range(25):
            prefect.run("burst", tasks=66)
        assert len(prefect.events) > 5000
        prefect.now += timedelta(minutes=2)
        await_that(lambda: has_all_states(prefect, store), pause=1)

        assert told_states(store) == all_states(prefect)


def test_nothing_is_lost_or_doubled_on_a_line_that_is_cut_every_few_messages(
    prefect: FakePrefect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    prefect.cut_after = 4
    with following(prefect, store):
        await_that(lambda: prefect.connections)
        for _ in range(5):
            prefect.run("orders", tasks=2)
            prefect.now += timedelta(seconds=1)
        await_that(lambda: has_all_states(prefect, store))
        await_that(lambda: prefect.connections > 2)

    assert told_states(store) == all_states(prefect)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == len(set(said)) <= 1


@pytest.mark.parametrize(
    "fault", [fake_prefect.fails, fake_prefect.talks_nonsense, fake_prefect.has_another_form, fake_prefect.is_slow]
)
@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_a_fault_loses_nothing_and_is_said_once(
    prefect: FakePrefect, sqlite_url: str, fault: Any, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    prefect.run("orders", tasks=2)
    prefect.faults.extend([None] * place)
    prefect.faults.extend([fault] * 2)
    with closing(open_store(sqlite_url)) as store:
        swept(prefect, store)

        assert told_states(store) == all_states(prefect)
        assert the_run(store, "orders").state is State.SUCCEEDED
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == len(set(said))


def test_the_same_history_swept_twice_is_told_once(prefect: FakePrefect, store: Store) -> None:
    prefect.run("orders", tasks=3)
    swept(prefect, store)
    before = len(entries(store))

    swept(prefect, store)

    assert len(entries(store)) == before


def test_who_begins_in_the_middle_of_a_run_tells_it_as_it_was_told(prefect: FakePrefect, store: Store) -> None:
    """Of the flow run nothing is read then; of its task all is, also a state that names no attempt of the flow run."""
    native = prefect.start_flow_run()
    prefect.enter(native, "RUNNING")
    prefect.now += timedelta(seconds=2)
    task = prefect.start_task_run(native)
    for kind in ("PENDING", "RUNNING", "COMPLETED"):
        prefect.enter(task, kind)
    swept(prefect, store)
    prefect.now = NOW + follower.OVERLAP
    swept(prefect, store)
    told = [entry.event for entry in entries(store)]

    swept(prefect, store)

    assert [entry.event for entry in entries(store)] == told


def test_it_goes_on_where_it_left_off(prefect: FakePrefect, store: Store) -> None:
    swept(prefect, store)
    prefect.now += timedelta(days=3)
    prefect.run("while-away", tasks=2)
    prefect.now += timedelta(days=2)

    swept(prefect, store)

    assert the_run(store, "while-away").state is State.SUCCEEDED
    assert told_states(store) == all_states(prefect)


@pytest.mark.parametrize("behind", [timedelta(hours=3), timedelta(hours=-3)])
def test_a_process_whose_clock_is_apart_loses_no_task(prefect: FakePrefect, store: Store, behind: timedelta) -> None:
    swept(prefect, store)
    prefect.now += timedelta(minutes=30)
    prefect.run("orders", tasks=2, at=prefect.now - behind)

    swept(prefect, store)

    assert told_states(store) == all_states(prefect)
    assert [run.state for run in runs_of(store, "orders.load")] == [State.SUCCEEDED] * 2


def test_a_state_of_another_version_stops_no_other_and_keeps_the_watermark(
    prefect: FakePrefect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    strange = prefect.start_flow_run("strange")
    prefect.enter(strange, "DREAMING")
    prefect.run("orders")
    with following(prefect, store):
        await_that(lambda: len(runs_of(store, "orders")) == 1)
        asked = len(prefect.asked)
        await_that(lambda: prefect.asked[asked:].count("/api/health") >= 2)

    assert the_run(store, "orders").state is State.SUCCEEDED
    assert watermark(store) is None
    said = [record.getMessage() for record in caplog.records if "can't be read" in record.getMessage()]
    assert len(said) == len(set(said)) >= 1


def test_the_watermark_stays_when_the_store_does_not_take_what_was_read(
    prefect: FakePrefect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.run("orders")

    def busy(*_arguments: Any, **_options: Any) -> None:
        raise UnreachableError("the store stayed busy")

    with monkeypatch.context() as patch:
        patch.setattr(telling, "ingest_events", busy)
        with following(prefect, store):
            await_that(lambda: prefect.asked.count("/api/health") >= 2)
    assert watermark(store) is None

    swept(prefect, store)
    assert told_states(store) == all_states(prefect)


def test_an_auth_string_lets_it_in_on_both_ways(prefect: FakePrefect, store: Store) -> None:
    prefect.auth_string = "reader:secret"
    with following(prefect, store, interval_seconds=600, auth_string="reader:secret"):
        await_that(lambda: watermark(store))
        prefect.run("orders")
        await_that(lambda: told_states(store) == all_states(prefect))


def test_who_is_refused_is_told_what_to_check(
    prefect: FakePrefect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    prefect.auth_string = "reader:secret"
    with following(prefect, store, auth_string="nobody:knows"):
        await_that(lambda: "check RUNVIS__PREFECT__AUTH_STRING" in caplog.text)

    assert "nobody:knows" not in caplog.text


def test_it_ends_at_once_while_the_server_hangs(prefect: FakePrefect, store: Store) -> None:
    prefect.faults.append(fake_prefect.hangs)
    follow = following(prefect, store)
    await_that(lambda: prefect.asked)

    assert follow.end() < 8
    assert not follow.thread.is_alive()


def test_an_unusable_ca_file_is_said_by_name(sqlite_url: str, tmp_path: Path) -> None:
    with closing(open_store(sqlite_url)) as store, pytest.raises(SettingsError, match="RUNVIS__PREFECT__CA_FILE"):
        follower.follow(
            "https://prefect.example/api",
            store=store,
            settings=settings(ca_file=tmp_path / "none.pem"),
            stop=threading.Event(),
        )
