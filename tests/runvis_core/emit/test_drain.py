from __future__ import annotations

import pytest

from runvis_core.emit.drain import drain_spool, spool_status
from runvis_core.errors import SettingsError
from runvis_core.model.event import MetricEvent
from runvis_core.testing.factories import make

from .conftest import Door, RecorderFactory, SettingsFactory, spool_files


def test_a_drain_takes_what_dead_processes_left_and_nothing_else(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    dead = make_recorder(url="http://127.0.0.1:9")
    dead.record([make(MetricEvent, name="dead", value=1)])
    dead.close(budget_seconds=0)
    (path,) = spool_files(make_settings())
    with path.open("ab") as file:
        file.write(b"0123 cut sho")
    alive = make_recorder(url="http://127.0.0.1:9")
    alive.record([make(MetricEvent, name="alive", value=1)])

    status = spool_status(make_settings().spool_dir)
    assert sorted((file.pending_events, file.is_alive, file.is_closed) for file in status.files) == [
        (2, True, False),
        (3, False, True),
    ]
    report = drain_spool(make_settings(url=door.url))

    assert (report.tally.delivered, report.tally.set_aside, report.files, report.owned) == (3, 1, 1, 1)
    assert [event.get("name") for event in door.events] == [None, "dead", None]
    assert spool_status(make_settings().spool_dir).lines_set_aside == 1
    assert path not in spool_files(make_settings())


def test_a_drain_that_fails_keeps_all(
    door: Door, make_recorder: RecorderFactory, make_settings: SettingsFactory
) -> None:
    dead = make_recorder(url="http://127.0.0.1:9")
    dead.record([make(MetricEvent, name="dead", value=1)])
    dead.close(budget_seconds=0)
    door.status = 503
    report = drain_spool(make_settings(url=door.url))
    assert report.failure is not None
    assert "503" in report.failure
    assert len(spool_files(make_settings())) == 1


def test_a_drain_without_an_address_says_what_to_set(make_settings: SettingsFactory) -> None:
    with pytest.raises(SettingsError, match="RUNVIS_URL"):
        drain_spool(make_settings())
