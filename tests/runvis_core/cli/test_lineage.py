"""`runvis lineage`, asked of a store and of a server over it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from io import StringIO
from typing import Any

import pytest
from click.testing import Result
from tests.runvis_core.lineage.tables import an_identity

from runvis_core.model.event import DatasetEvent, EventBase
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.story import a_story

Run = Callable[..., Result]
EVIL = 'e"vil\x1b[31m\\'


@pytest.fixture
def told(store: Store, record: Callable[[Store, Iterable[EventBase]], None]) -> str:
    """The address of a store with the story, a loop, and a dataset of a bad name."""
    again: dict[str, Any] = {"caused_by_run_id": a_run_id("0"), "engine": "prefect"}
    back: dict[str, Any] = {"caused_by_run_id": a_run_id("1")}
    loop = [an_identity(0, "orders"), an_identity(1, "forecast", **again), an_identity(2, "orders", **back)]
    bad = make(DatasetEvent, run_id=a_run_id("1"), direction="write", namespace="s3://lake", name=EVIL)
    record(store, [*a_story(), *loop, bad.model_copy(update={"engine": "prefect"})])
    return store.engine.url.render_as_string(hide_password=False)


def test_show_prints_what_is_around_a_node(runvis: Run, address: str) -> None:
    said = runvis("lineage", "show", "etl", url=address)
    assert said.exit_code == 0, said.output
    for word in ("s3://raw/orders", "s3://lake/sales", "⇒starts⇒", "child", "─read by→"):
        assert word in said.stdout
    down = runvis("lineage", "show", "etl", "--down", "--depth", "1", "-o", "json", url=address)
    assert {node["name"] for node in json.loads(down.stdout)["nodes"]} == {"etl", "sales", "child"}


def test_loops_prints_the_way_around_and_the_turns(runvis: Run, address: str) -> None:
    said = runvis("lineage", "loops", url=address)
    assert said.exit_code == 0, said.output
    assert "↻ orders → forecast → orders" in said.stdout
    assert "1 turn, the last at" in said.stdout
    (line,) = runvis("lineage", "loops", "-o", "jsonl", url=address).stdout.splitlines()
    assert json.loads(line)["turns"] == 1
    assert len(json.loads(runvis("lineage", "loops", "-o", "json", url=address).stdout)["items"]) == 1


def test_a_past_has_the_edges_and_loops_that_stood_then(runvis: Run, address: str) -> None:
    def edges(*past: str) -> list[int]:
        said = runvis("lineage", "show", "forecast", *past, "-o", "json", url=address)
        assert said.exit_code == 0, said.output
        return sorted(edge["first_position"] for edge in json.loads(said.stdout)["edges"])

    now = edges()
    assert len(now) == 3
    assert edges("--as-of", "0s") == now
    before = str(now[-1] - 1)
    assert edges("--known-at", before) == now[:-1]
    (line, *_) = runvis("lineage", "loops", "--known-at", "1", url=address).stderr.splitlines()
    assert line == "note: as known at position 1"
    assert runvis("lineage", "show", "forecast", "--known-at", "99999", url=address).exit_code == 2


def test_the_edges_are_to_be_had_as_csv_and_as_a_graph(runvis: Run, told: str) -> None:
    rows = list(csv.DictReader(StringIO(runvis("lineage", "show", "etl", "-o", "csv", url=told).stdout)))
    assert ("etl", "child", "triggers", "1") in {
        (row["source"], row["target"], row["kind"], row["run_count"]) for row in rows
    }
    graph = runvis("lineage", "loops", "-o", "dot", url=told).stdout
    assert graph.startswith("digraph lineage {")
    assert graph.count("->") == 2


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "dot"])
def test_a_name_gives_no_orders_to_a_terminal_or_a_graph(runvis: Run, told: str, form: str) -> None:
    said = runvis("lineage", "show", "forecast", "-o", form, url=told)
    assert said.exit_code == 0, said.output
    assert "\x1b" not in said.stdout
    if form == "dot":
        assert r"e\"vil\\x1b[31m\\" in said.stdout


def test_no_such_node_is_status_3_and_a_bad_name_is_2(runvis: Run, address: str) -> None:
    assert runvis("lineage", "show", "nobody", url=address).exit_code == 3
    assert runvis("lineage", "show", "a\0b", url=address).exit_code == 2
    assert runvis("lineage", "show", "etl", "--depth", "0", url=address).exit_code == 2


def test_what_is_cut_is_said(runvis: Run, told: str) -> None:
    said = runvis("lineage", "show", "etl", "--limit", "2", url=told)
    assert said.exit_code == 0
    assert "there is more within 3 edges" in said.stderr


def test_a_history_without_loops_says_so(runvis: Run, sqlite_store: Store) -> None:
    said = runvis("lineage", "loops", url=sqlite_store.engine.url.render_as_string(hide_password=False))
    assert (said.exit_code, said.stdout, said.stderr.strip()) == (0, "", "no loops")
