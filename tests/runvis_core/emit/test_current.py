from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from runvis_core import current_run
from runvis_core.emit.current import dataset_name, run_scope
from runvis_core.emit.logring import LogRing
from runvis_core.testing.factories import a_run_id

from .conftest import RecorderFactory, SettingsFactory, spooled_items


def test_user_code_adds_to_its_own_run_and_to_none_outside(
    make_recorder: RecorderFactory, make_settings: SettingsFactory, warnings_said: Callable[[], list[str]]
) -> None:
    recorder = make_recorder(url="http://127.0.0.1:9")
    current_run().metric("outside", 1)
    with run_scope(a_run_id(), recorder):
        current_run().metric("rows", 5, "rows")
        current_run().artifact("report", "s3://b/r.html", digest="sha256:00")
        current_run().reads("s3://me:pw@bucket/a/b")
        current_run().writes(("postgres://db:5432", "orders.public.lines"))
        current_run().note("well done")
        current_run().writes("no address")
    current_run().note("outside")
    events = [item["event"] for item in spooled_items(make_settings())]
    assert [event["kind"] for event in events[1:]] == ["metric", "artifact", "dataset", "dataset", "note"]
    assert (events[3]["namespace"], events[3]["name"]) == ("s3://bucket", "a/b")
    assert {event["run_id"] for event in events[1:]} == {str(a_run_id())}
    assert "no address" in warnings_said()[0]
    assert recorder.refused == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [("file:///tmp/x", ("file", "/tmp/x")), ("s3://b/a%20b/", ("s3://b", "a b")), ("x://h", ("x://h", "/"))],
)
def test_an_address_names_a_dataset(address: str, name: tuple[str, str]) -> None:
    assert dataset_name(address) == name


def test_a_ring_keeps_the_last_lines_and_counts_all() -> None:
    ring = LogRing(max_lines=2)
    logger = logging.getLogger("mine")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(ring)
    for i in range(5):
        logger.info("line %d", i)
    logger.error("broken %d", "x")
    assert ring.counts == {"INFO": 5, "ERROR": 1}
    assert "line 4" in ring.tail()
    assert "broken %d" in ring.tail()
    assert "line 3" not in ring.tail()
