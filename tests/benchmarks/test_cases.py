"""What the cases measure is what the page about them says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import orjson

from benchmarks.__main__ import CASES
from benchmarks.raw import LIFE, LIVES, rows
from benchmarks.workload import ITEM_BYTES, fields_of, items, mean_bytes, start
from runvis_core.model.encoding import read_item, seal, wire_item
from runvis_core.model.event import EVENT_KINDS, STORE_MADE_KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "benchmarks.md"


def test_every_case_is_on_the_page() -> None:
    assert re.findall(r"^### `(\w+)`", PAGE.read_text(), re.MULTILINE) == list(CASES)


def test_the_items_are_of_all_kinds_and_about_a_kilobyte() -> None:
    made = items(2000)
    kinds = Counter(fields_of(item)["kind"] for item in made)
    assert set(kinds) == set(EVENT_KINDS) - STORE_MADE_KINDS
    assert min(map(len, made)) >= ITEM_BYTES
    assert mean_bytes(made) < 1.1 * ITEM_BYTES


def test_no_two_items_are_the_same_fact() -> None:
    made = [fields_of(item)["event_id"] for item in items(1500) + items(1500)]
    assert len(set(made)) == 3000


def test_an_item_is_an_event_that_a_store_takes() -> None:
    for item in items(60):
        assert wire_item(read_item(orjson.loads(item))) == item


def test_the_raw_log_has_the_same_bytes_and_the_states_of_four_things_in_each_run() -> None:
    made = items(4000)
    written = rows(made)
    assert [row[0] for row in written] == [fields_of(item)["event_id"] for item in made]
    assert [row[6].encode() for row in written] == made
    assert [row[2] for row in written[:9]] == [thing for thing, _ in LIFE]
    assert len({row[1:3] for row in written}) == 4 * LIVES


def test_a_start_has_a_kilobyte_of_context() -> None:
    said = {event.kind: len(wire_item(seal(event))) for event in start(1, salt="salt")}
    assert set(said) == {"state", "identity", "context"}
    assert said["context"] > ITEM_BYTES
