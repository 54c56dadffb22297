"""The door into a store: what comes in, what is refused, and what plugins may do on the way."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from runvis_core.errors import DeliveryError, RowRefusedError, StoreAddressError
from runvis_core.hookspecs import hookimpl
from runvis_core.model.encoding import MAX_EVENT_BYTES, seal, wire_item
from runvis_core.model.entry import Entry
from runvis_core.model.event import (
    ContextEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    MetricEvent,
    NoteEvent,
    StateEvent,
)
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.run import Run
from runvis_core.model.state import State, Witness
from runvis_core.plugins import Plugins, find_transport
from runvis_core.services.ingest import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    ingest_events,
    ingest_items,
    record_heartbeats,
)
from runvis_core.services.watermark import find_watermark, set_watermark
from runvis_core.store import tables as t
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.testing.factories import a_run_id, at, make


@pytest.fixture(params=["sqlite_url", "postgresql_url"], ids=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


def plugins(*own: object) -> Plugins:
    loaded = Plugins(group=None)
    for number, plugin in enumerate(own):
        loaded.register(plugin, name=f"plugin-{number}")
    return loaded


def ingest(store: Store, *items: Any, own: Sequence[object] = ()) -> list[dict[str, Any]]:
    outcomes = ingest_items(store, items, principal="tester", plugins=plugins(*own))
    return [outcome.as_json() for outcome in outcomes]


def state_item(**changed: Any) -> dict[str, Any]:
    event = orjson.loads(seal(make(StateEvent, state=State.RUNNING)).data)
    return {"event": {**event, **changed}}


def wire(event: EventBase) -> bytes:
    return wire_item(seal(event))


def contents(store: Store) -> list[bytes]:
    with store.engine.connect() as connection:
        query = select(t.bodies.c.content).order_by(t.bodies.c.position)
        return [bytes(content) for content in connection.execute(query).scalars()]


def test_a_malformed_item_is_refused_with_its_place_and_the_rest_is_stored(store: Store) -> None:
    outcomes = ingest(
        store,
        wire(make(StateEvent, state=State.RUNNING)),
        b'{"event":',
        state_item(state="Zombie"),
        wire(make(NoteEvent)),
    )
    assert [outcome["status"] for outcome in outcomes] == ["stored", "refused", "refused", "stored"]
    assert [outcome["index"] for outcome in outcomes] == [0, 1, 2, 3]
    assert "not JSON" in outcomes[1]["reason"]
    assert outcomes[2]["field"] == "event.state"
    assert [outcome.get("position") for outcome in outcomes] == [1, None, None, 2]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"occurred_at": "2026-11-24T08:00:00"}, "event.occurred_at"),
        ({"run_id": "no-id"}, "event.run_id"),
        ({"event_id": "7"}, "event.event_id"),
        ({"witness": "rumour"}, "event.witness"),
        ({"engine": ""}, "event.engine"),
        ({"occurred_at": "0001-01-01T00:00:00+05:00"}, "event.occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59Z", "event_id": str(a_run_id())}, "event.occurred_at"),
        ({"retry_expected_at": "9999-12-31T23:59:59-05:00"}, "event.retry_expected_at"),
        ({"sequence": 2**63}, "event.sequence"),
        ({"sequence": -1}, "event.sequence"),
        ({"state": None}, "event.state"),
        (
            {"kind": "conflict", "conflicting_event_id": str(a_run_id()), "report_digest": "0" * 64, "report": {}},
            "event.kind",
        ),
        (
            {"kind": "attestation", "attested_event_id": str(a_run_id()), "attested_by": "worker", "principal": "x"},
            "event.kind",
        ),
        ({"extra": "x" * MAX_EVENT_BYTES}, "event"),
        ({"bodies": {"text": {"digest": "0" * 64, "size": 1}}}, "bodies.text"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(f"{key}" for key in value),
)
def test_what_is_no_event_is_refused(store: Store, changed: dict[str, Any], field: str) -> None:
    (outcome,) = ingest(store, state_item(**changed))
    assert (outcome["status"], outcome.get("field")) == ("refused", field)
    assert outcome["reason"]
    assert store.log.head().position == 0


@pytest.mark.parametrize("item", [b"[]", b"7", b"null", b"", b"\xff", {"event": None}, {"event": []}, {}])
def test_what_is_no_item_is_refused(store: Store, item: Any) -> None:
    assert [outcome["status"] for outcome in ingest(store, item)] == ["refused"]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(("depth", "status"), [(MAX_DEPTH - 1, "stored"), (MAX_DEPTH, "refused"), (5000, "refused")])
def test_an_event_has_a_greatest_depth(store: Store, depth: int, status: str) -> None:
    # The event's own object is one of the levels.
    assert [outcome["status"] for outcome in ingest(store, state_item(extra=nested(depth)))] == [status]


def test_many_brackets_that_are_not_deep_are_taken(store: Store) -> None:
    assert ingest(store, state_item(extra=[[]] * 500))[0]["status"] == "stored"


def test_a_body_has_a_greatest_size_and_depth(store: Store) -> None:
    large = make(NoteEvent, native_id="large", content={"text": "x" * MAX_BODY_BYTES})
    deep = make(NoteEvent, native_id="deep", content={"text": nested(MAX_DEPTH + 1)})
    outcomes = ingest(store, wire(large), wire(deep), wire(make(NoteEvent, content={"text": nested(MAX_DEPTH)})))
    assert [outcome["status"] for outcome in outcomes] == ["refused", "refused", "stored"]
    assert outcomes[0]["field"] == "bodies.text"


def test_a_body_that_is_not_the_one_the_event_means_is_refused(store: Store) -> None:
    item = orjson.loads(wire(make(NoteEvent, content={"text": "mine"})))
    (body,) = item["bodies"].values()
    body["content"] = '"yours"'
    assert ingest(store, item)[0]["field"] == "bodies.text"


def test_a_name_that_no_index_holds_is_refused(store: Store) -> None:
    fields: dict[str, Any] = {"definition_kind": "dag", "native_key": "k", "native_id": "i"}
    outcomes = ingest(
        store,
        wire(make(IdentityEvent, definition="ü" * 600, **fields)),
        wire(make(IdentityEvent, definition="ü" * 500, **fields)),
    )
    assert [outcome["status"] for outcome in outcomes] == ["refused", "stored"]
    assert outcomes[0]["field"] == "event.definition"


def test_a_time_far_off_is_stored_and_marked(store: Store) -> None:
    (outcome,) = ingest(store, state_item(occurred_at="2199-01-01T00:00:00Z"))
    assert (outcome["status"], outcome["marks"]) == ("stored", ["clock_suspect"])


def test_content_that_comes_inline_is_sealed_at_the_door(store: Store) -> None:
    event = {**state_item()["event"], "kind": "note", "content": {"text": "hello"}}
    event.pop("event_id")
    (outcome,) = ingest(store, event)
    assert outcome["status"] == "stored"
    assert contents(store) == [b'"hello"']
    entry = next(iter(store.log.read()))
    assert b"hello" not in entry.entry
    assert entry.parse().event.bodies["text"].size == 7
    assert check_store(store) == []


def test_events_made_here_come_in_by_the_same_door(store: Store) -> None:
    events = [make(ContextEvent, content={"parameters": {"day": 1}}), make(StateEvent, state=State.RUNNING)]
    outcomes = ingest_events(store, events, principal="follower", plugins=plugins())
    assert [outcome.status for outcome in outcomes] == ["stored", "stored"]
    assert {entry.parse().principal for entry in store.log.read()} == {"follower"}


def refuse_metrics(store: Store, condition: str) -> None:
    """Let the database refuse metrics by a rule that nobody at the door knows of."""
    if store.engine.dialect.name == "sqlite":
        rules = [
            f"CREATE TRIGGER unforeseen BEFORE INSERT ON metrics WHEN {condition} "
            "BEGIN SELECT RAISE(ABORT, 'unforeseen'); END"
        ]
    else:
        rules = [
            "CREATE FUNCTION unforeseen() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'unforeseen' USING ERRCODE = 'check_violation'; END $$",
            f"CREATE TRIGGER unforeseen BEFORE INSERT ON metrics FOR EACH ROW WHEN ({condition}) "
            "EXECUTE FUNCTION unforeseen()",
        ]
    with store.engine.begin() as connection:
        for rule in rules:
            connection.exec_driver_sql(rule)


def metric(number: int) -> dict[str, Any]:
    return {"event": orjson.loads(seal(make(MetricEvent, name=f"m{number}", value=number)).data)}


@given(poison=st.sets(st.integers(0, 11), max_size=11))
@settings(max_examples=10)
def test_what_the_database_itself_refuses_holds_up_nothing_that_is_sent_with_it(
    tmp_path_factory: pytest.TempPathFactory, empty_file: Path, poison: set[int]
) -> None:
    file = shutil.copy(empty_file, tmp_path_factory.mktemp("poison"))
    with closing(open_store(f"sqlite:///{file}")) as store:
        refuse_metrics(store, f"NEW.value IN ({', '.join(map(str, poison)) or 'NULL'})")
        outcomes = ingest(store, *(metric(number) for number in range(12)))
        assert [outcome["status"] for outcome in outcomes] == [
            "refused" if number in poison else "stored" for number in range(12)
        ]
        assert all("unforeseen" in outcomes[number]["reason"] for number in poison)
        assert store.log.head().position == 12 - len(poison)


def test_what_the_database_refuses_stays_out_and_the_rest_is_stored(store: Store) -> None:
    refuse_metrics(store, "NEW.name = 'm1'")
    outcomes = ingest(store, metric(0), metric(1), metric(2))
    assert [outcome["status"] for outcome in outcomes] == ["stored", "refused", "stored"]
    assert (outcomes[1]["field"], outcomes[1]["index"]) == ("event", 1)
    assert "unforeseen" in outcomes[1]["reason"]
    assert store.log.head().position == 2


def test_a_store_that_refuses_everything_is_at_fault_and_refuses_no_event(store: Store) -> None:
    refuse_metrics(store, "NEW.value >= 0")
    for numbers in ([1], range(50)):
        with pytest.raises(RowRefusedError, match="unforeseen"):
            ingest(store, *map(metric, numbers))
    assert store.log.head().position == 0


def test_hundreds_of_distinct_items_and_none_at_all(store: Store) -> None:
    assert ingest(store) == []
    items = [wire(make(StateEvent, state=State.RUNNING, seconds=second)) for second in range(700)]
    assert [outcome["position"] for outcome in ingest(store, *items)] == list(range(1, 701))
    assert {outcome["status"] for outcome in ingest(store, *items)} == {"known"}


class Redactor:
    @hookimpl
    def runvis_redact(self, event: EventBase) -> EventBase | None:
        if "message" in event.content:
            return event.model_copy(update={"content": {**event.content, "message": "(redacted)"}})
        return None


class Enricher:
    @hookimpl
    def runvis_enrich(self, event: EventBase) -> EventBase | None:
        return event.model_copy(update={"owner": "data"}) if isinstance(event, ContextEvent) else None


class Listener:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.ended: list[Run] = []

    @hookimpl
    def runvis_events_recorded(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)

    @hookimpl
    def runvis_run_ended(self, run: Run) -> None:
        self.ended.append(run)


class Broken:
    @hookimpl
    def runvis_enrich(self, event: EventBase) -> EventBase | None:
        raise RuntimeError("enrich broke")

    @hookimpl
    def runvis_events_recorded(self, entries: Sequence[Entry]) -> None:
        raise RuntimeError("recorded broke")


class BrokenRedactor:
    @hookimpl
    def runvis_redact(self, event: EventBase) -> EventBase | None:
        raise RuntimeError("redact broke")


def test_a_plugin_redacts_and_another_enriches(store: Store) -> None:
    failure = make(FailureEvent, error_type="E", content={"message": "password=hunter2", "traceback": "t"})
    own = (Redactor(), Enricher())
    ingest(store, wire(failure), wire(make(ContextEvent, code={"commit": "abc"})), own=own)
    assert sorted(contents(store)) == [b'"(redacted)"', b'"t"']
    context = list(store.log.read())[1].parse().event
    assert isinstance(context, ContextEvent)
    assert (context.owner, context.code) == ("data", {"commit": "abc"})
    assert ingest(store, wire(failure), own=own)[0]["status"] == "known"


def test_a_field_that_this_version_does_not_know_survives_a_plugin(store: Store) -> None:
    event = {**orjson.loads(seal(make(ContextEvent)).data), "colour": "green"}
    ingest(store, {"event": event}, own=[Enricher()])
    said = orjson.loads(next(iter(store.log.read())).entry)["event"]
    assert (said["colour"], said["owner"]) == ("green", "data")


def test_what_could_not_be_redacted_stays_with_its_sender(store: Store) -> None:
    (outcome,) = ingest(store, wire(make(NoteEvent)), own=[BrokenRedactor()])
    assert outcome["status"] == "refused"
    assert "redact broke" in outcome["reason"]


def test_a_hook_that_raises_is_reported_and_the_others_are_called(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    with caplog.at_level(logging.ERROR):
        outcomes = ingest(store, wire(make(StateEvent, state=State.FAILED)), own=[listener, Broken(), Enricher()])
    assert [outcome["status"] for outcome in outcomes] == ["stored"]
    assert [entry.position for entry in listener.entries] == [1]
    assert [run.run_id for run in listener.ended] == [a_run_id()]
    assert [record.message for record in caplog.records] == [
        "the hook runvis_enrich of the plugin plugin-1 raised",
        "the hook runvis_events_recorded of the plugin plugin-1 raised",
    ]


def test_what_is_known_already_is_recorded_for_no_plugin(store: Store) -> None:
    listener = Listener()
    item = wire(make(StateEvent, state=State.FAILED))
    ingest(store, item, own=[listener])
    ingest(store, item, own=[listener])
    assert (len(listener.entries), len(listener.ended)) == (1, 1)


def beat(name: str = "run", interval: float = 30) -> Heartbeat:
    return Heartbeat(
        run_id=a_run_id(name),
        engine="airflow",
        deployment="test",
        witness=Witness.WORKER,
        occurred_at=at(0),
        interval_seconds=interval,
    )


def count(store: Store, table: Any) -> int:
    with store.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_sign_of_life_is_one_row_until_the_run_ends(store: Store) -> None:
    ingest(store, wire(make(StateEvent, state=State.RUNNING)))
    record_heartbeats(store, [beat(interval=30), beat("other")])
    record_heartbeats(store, [beat(interval=10)])
    with store.engine.connect() as connection:
        query = select(t.liveness).where(t.liveness.c.run_id == a_run_id())
        row = connection.execute(query).one()
    assert row.interval_seconds == 10
    assert abs((row.last_heartbeat_at - store.clock()).total_seconds()) < 60
    assert store.log.head().position == 1
    ingest(store, wire(make(StateEvent, state=State.FAILED, seconds=9)))
    assert count(store, t.liveness) == 1
    record_heartbeats(store, [beat()])
    assert count(store, t.liveness) == 1


def test_a_watermark_is_kept(store: Store) -> None:
    place = {"engine": "airflow", "deployment": "test", "key": "runs"}
    assert find_watermark(store, **place) is None
    set_watermark(store, "one", **place)
    set_watermark(store, "two", **place)
    assert find_watermark(store, **place) == "two"


def test_a_store_address_has_a_transport(url: str) -> None:
    transport = find_transport(url)
    outcomes = transport.deliver([wire(make(StateEvent, state=State.RUNNING)), b"{"])
    assert [outcome["status"] for outcome in outcomes] == ["stored", "refused"]
    transport.beat([beat()])
    transport.close()


def test_a_store_that_cannot_be_opened_is_tried_again(tmp_path: Any) -> None:
    sqlite3.connect(tmp_path / "none.db").close()
    transport = find_transport(f"sqlite:///{tmp_path / 'missing' / 'runvis.db'}")
    with pytest.raises((DeliveryError, StoreAddressError), match="missing"):
        transport.deliver([wire(make(StateEvent, state=State.RUNNING))])
    (tmp_path / "missing").mkdir()
    assert transport.deliver([wire(make(StateEvent, state=State.RUNNING))])[0]["status"] == "stored"
    transport.close()


def test_no_transport_answers_to_a_foreign_address() -> None:
    assert find_transport("ftp://example.org") is None
