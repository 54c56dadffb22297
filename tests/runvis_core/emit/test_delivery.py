from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from runvis_core.emit import delivery as delivery_module
from runvis_core.emit import outbox as outbox_module
from runvis_core.emit.courier import Courier
from runvis_core.emit.spool import Batch
from runvis_core.emit.transport import Outcome, open_transport
from runvis_core.errors import DeliveryError, RefusedError, StoreAddressError
from runvis_core.model.event import MetricEvent
from runvis_core.testing.factories import make

from .conftest import Door, RecorderFactory, SettingsFactory, spool_files, wait_until


def metric(name: str) -> MetricEvent:
    return make(MetricEvent, name=name, value=1)


def dead_letters(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in (folder / "dead").glob("*.jsonl") for line in path.read_text().splitlines()]


def test_a_token_that_was_renewed_is_read_again(
    door: Door, make_settings: SettingsFactory, make_recorder: RecorderFactory, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("old\n")
    door.tokens = {"old"}
    recorder = make_recorder(settings=make_settings(url=door.url, token_file=token_file))
    recorder.record([metric("first")])
    assert recorder.flush(budget_seconds=10)
    door.tokens = {"new"}
    token_file.write_text("new\n")
    recorder.record([metric("second")])
    assert recorder.flush(budget_seconds=10)
    assert [event.get("name") for event in door.events] == [None, "first", "second"]


def test_a_token_that_is_not_taken_discards_nothing(
    door: Door, make_settings: SettingsFactory, make_recorder: RecorderFactory, warnings_said: Callable[[], list[str]]
) -> None:
    door.tokens = {"right"}
    recorder = make_recorder(settings=make_settings(url=door.url, token="wrong"))
    recorder.record([metric("first")])
    wait_until(lambda: door.asked)
    assert not recorder.flush(budget_seconds=10)
    assert not dead_letters(make_settings().spool_dir)
    assert "RUNVIS_TOKEN" in warnings_said()[0]
    door.tokens = {"wrong"}
    wait_until(lambda: len(door.events) == 2)


@pytest.mark.parametrize("status", [403, 404, 408, 429, 500, 502, 503, 302, 418])
def test_what_may_pass_discards_nothing(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory, status: int
) -> None:
    door.status = status
    recorder = make_recorder(url=door.url)
    recorder.record([metric("first")])
    wait_until((make_settings().spool_dir / "circuit.json").exists)
    door.status = 200
    wait_until(lambda: len(door.events) == 2)
    assert not dead_letters(make_settings().spool_dir)


@pytest.mark.parametrize("refuses_whole", [False, True])
def test_a_poison_event_goes_to_the_dead_letters_and_the_rest_is_delivered(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory, refuses_whole: bool
) -> None:
    door.is_poison = lambda item: item["event"].get("name") == "poison"
    door.refuses_whole = refuses_whole
    recorder = make_recorder(url=door.url)
    recorder.record([*map(metric, "abc"), metric("poison"), *map(metric, "def")])
    recorder.close(budget_seconds=20)
    assert [event["name"] for event in door.events if event["kind"] == "metric"] == list("abcdef")
    (letter,) = dead_letters(make_settings().spool_dir)
    assert letter["item"]["event"]["name"] == "poison"
    assert letter["reason"] == ("400 bad batch" if refuses_whole else "is poison")
    assert (make_settings().spool_dir / "dead").stat().st_mode & 0o777 == 0o700
    assert not spool_files(make_settings())


def test_a_pause_stops_delivery_and_the_server_says_for_how_long(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    door.paused = True
    door.headers = {"Retry-After": "1000"}
    recorder = make_recorder(url=door.url)
    recorder.record([metric("first")])
    circuit = make_settings().spool_dir / "circuit.json"
    wait_until(circuit.exists)
    outage = json.loads(circuit.read_text())
    assert outage["retry_at"] - outage["down_since"] == pytest.approx(1000, abs=1)
    assert "pause" in outage["reason"]
    assert not recorder.flush(budget_seconds=10)
    assert door.asked == 1
    assert spool_files(make_settings())


def test_a_backlog_goes_out_in_bounded_batches(
    door: Door, make_recorder: RecorderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "MAX_BATCH_BYTES", 2_000)
    door.status = 503
    recorder = make_recorder(url=door.url)
    recorder.record([metric(f"m{i}") for i in range(60)])
    wait_until(lambda: door.asked)
    door.status = 200
    wait_until(lambda: len(door.events) == 61)
    assert max(len(json.dumps(post)) for post in door.posts) < 4_000
    assert [event["sequence"] for event in door.events] == list(range(61))


def test_the_spool_of_a_process_that_lives_long_does_not_grow_for_ever(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RESTART_BYTES", 3_000)
    recorder = make_recorder(url=door.url)
    for i in range(30):
        recorder.record([metric(f"m{i}")])
        assert recorder.flush(budget_seconds=10)
    assert spool_files(make_settings())[0].stat().st_size < 4_000
    recorder.close()
    assert [event["sequence"] for event in door.events] == list(range(32))


def test_a_long_lived_process_delivers_what_dead_ones_left(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    left = make_recorder(url="http://127.0.0.1:9")
    left.record([metric("left")])
    left.close(budget_seconds=0)
    task = make_recorder(url=door.url)
    task.record([metric("task")])
    task.close(budget_seconds=10)
    assert [event["name"] for event in door.events if event["kind"] == "metric"] == ["task"], (
        "a task takes nothing over"
    )
    scheduler = make_recorder(url=door.url, component="scheduler", adopts=True)
    scheduler.record([metric("scheduler")])
    wait_until(lambda: {event.get("name") for event in door.events} >= {"left", "scheduler"})


def test_a_wrong_address_is_said_and_the_events_stay(
    make_recorder: RecorderFactory, make_settings: SettingsFactory, warnings_said: Callable[[], list[str]]
) -> None:
    recorder = make_recorder(url="gopher://example.com")
    recorder.record([metric("first")])
    wait_until((make_settings().spool_dir / "circuit.json").exists)
    assert not recorder.flush(budget_seconds=10)
    assert spool_files(make_settings())
    wait_until(warnings_said)
    (said,) = warnings_said()
    assert "no transport answers to 'gopher://' in RUNVIS_URL" in said
    with pytest.raises(StoreAddressError):
        open_transport(make_settings(url="gopher://example.com"))


class FakeTransport:
    """Takes whatever it is told to."""

    def __init__(self, *, fails: Exception | None = None) -> None:
        self.fails = fails
        self.batches: list[Sequence[bytes]] = []

    def deliver(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        self.batches.append(items)
        if self.fails and b"poison" in items:
            raise self.fails
        return [{"status": "stored"} for _ in items]


def test_a_batch_refused_as_a_whole_is_halved_until_the_cause_stands_alone(tmp_path: Path) -> None:
    transport: Any = FakeTransport(fails=RefusedError("413 too large"))
    courier = Courier(tmp_path, transport)
    items = [b"1"] * 500
    items[333] = b"poison"
    courier.deliver("p", Batch(tuple(items), (), 1))
    assert (courier.tally.delivered, courier.tally.refused) == (499, 1)
    assert len(transport.batches) < 25


def test_what_can_not_be_kept_is_not_counted_as_settled(tmp_path: Path) -> None:
    transport: Any = FakeTransport(fails=RefusedError("no"))
    (tmp_path / "dead").write_text("in the way")
    with pytest.raises(OSError, match="dead"):
        Courier(tmp_path, transport).deliver("p", Batch((b"poison",), (), 1))


def test_a_failed_delivery_settles_nothing(tmp_path: Path) -> None:
    transport: Any = FakeTransport(fails=DeliveryError("down"))
    courier = Courier(tmp_path, transport)
    with pytest.raises(DeliveryError):
        courier.deliver("p", Batch((b"poison",), (), 1))
    assert courier.tally.delivered == 0
