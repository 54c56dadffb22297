"""Edges and loops as they were: as of a moment, and as they were known."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.runvis_core.lineage.tables import an_identity, histories

from runvis_core.errors import NotFoundError, PastError
from runvis_core.model.encoding import seal
from runvis_core.model.event import DatasetEvent, EventBase, LinkEvent
from runvis_core.model.state import Relation
from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import Lineage, LineageQuery, Loop
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.services.steps import LINEAGE
from runvis_core.store import tables as t
from runvis_core.store.database import Store, open_store
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, at, make

Record = Callable[[Store, Iterable[EventBase]], None]
NOW = at(3600)


def asked(store: Store, node: str, past: PastFilter = PRESENT) -> Lineage:
    return get_lineage(store, LineageQuery(node=node), past, now=NOW)


def loops(store: Store, past: PastFilter = PRESENT) -> list[Loop]:
    return list_loops(store, past, limit=100, now=NOW).items


def everything(store: Store, past: PastFilter = PRESENT) -> tuple[list[Lineage], list[Loop]]:
    catch_up(store, [LINEAGE])
    with store.engine.connect() as connection:
        query = select(t.lineage_nodes.c.node_id)
        if isinstance(past.known_at, int):
            query = query.where(t.lineage_nodes.c.position <= past.known_at)
        nodes = list(connection.scalars(query.order_by(t.lineage_nodes.c.number)))
    return [asked(store, str(node), past) for node in nodes], loops(store, past)


def edges(found: Lineage) -> set[tuple[str, str, str, int]]:
    names = {node.node_id: node.name for node in found.nodes}
    return {(names[edge.source], edge.kind, names[edge.target], edge.run_count) for edge in found.edges}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories)
def test_with_now_as_the_moment_all_is_as_it_is(store: Store, history: list[EventBase]) -> None:
    # One store for all examples: its log is a longer history of the same kind with each.
    store.log.append([seal(event) for event in history], principal="test")
    present = everything(store)
    now, end = store.clock(), store.log.head().position
    for past in (PastFilter(as_of=now), PastFilter(known_at=end), PastFilter(as_of=now, known_at=end)):
        names = [LineageQuery(node=str(one.node.node_id)) for one in present[0]]
        nodes = [get_lineage(store, name, past, now=now) for name in names]
        assert (nodes, list_loops(store, past, limit=100, now=now).items) == present


@settings(max_examples=20)
@given(history=histories, data=st.data())
def test_what_was_known_at_a_position_is_what_a_store_said_that_ended_there(
    empty_file: Path, history: list[EventBase], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(history)))
    with tempfile.TemporaryDirectory() as folder:
        files = [shutil.copy(empty_file, Path(folder) / name) for name in ("whole.db", "then.db")]
        whole, then = (open_store(f"sqlite:///{file}", clock=lambda: at(60)) for file in files)
        with closing(whole), closing(then):
            then.log.append([seal(event) for event in history[:cut]], principal="test")
            whole.log.append([seal(event) for event in history[:cut]], principal="test")
            whole.log.append([seal(event) for event in history[cut:]], principal="test")
            assert everything(whole, PastFilter(known_at=then.log.head().position)) == everything(then)


def use(number: int, direction: str, name: str, **fields: Any) -> EventBase:
    return make(
        DatasetEvent, run_id=a_run_id(str(number)), direction=direction, namespace="s3://lake", name=name, **fields
    )


def test_an_edge_stands_from_when_it_happened_and_counts_the_runs_until_then(store: Store, record: Record) -> None:
    record(store, [an_identity(1, "load", seconds=10), use(1, "write", "sales", seconds=20)])
    record(store, [an_identity(2, "load", seconds=30), use(2, "write", "sales", seconds=40)])
    assert edges(asked(store, "load", PastFilter(as_of=at(19)))) == set()
    assert edges(asked(store, "load", PastFilter(as_of=at(20)))) == {("load", "writes", "sales", 1)}
    assert edges(asked(store, "load", PastFilter(as_of=at(40)))) == {("load", "writes", "sales", 2)}
    (edge,) = asked(store, "load", PastFilter(as_of=at(39))).edges
    assert edge.last_run_ids == [a_run_id("1")]


def test_what_came_late_stands_as_of_its_time_but_was_not_known(store: Store, record: Record) -> None:
    record(store, [an_identity(1, "load", seconds=10), an_identity(2, "other", seconds=50)])
    record(store, [use(1, "write", "sales", seconds=20)])
    assert edges(asked(store, "load", PastFilter(as_of=at(20)))) == {("load", "writes", "sales", 1)}
    assert edges(asked(store, "load", PastFilter(as_of=at(20), known_at=2))) == set()
    assert edges(asked(store, "load", PastFilter(known_at=2))) == set()
    with pytest.raises(NotFoundError, match="no lineage is known of 'sales'"):
        asked(store, "sales", PastFilter(known_at=2))


def test_an_earlier_moment_that_a_later_witness_tells_counts_from_then_on(store: Store, record: Record) -> None:
    record(store, [an_identity(1, "load", seconds=10), use(1, "write", "sales", seconds=20)])
    record(store, [use(1, "write", "sales", seconds=12, native_id="told by another")])
    as_of = at(15)
    assert edges(asked(store, "load", PastFilter(as_of=as_of))) == {("load", "writes", "sales", 1)}
    assert edges(asked(store, "load", PastFilter(as_of=as_of, known_at=2))) == set()
    assert edges(asked(store, "load")) == {("load", "writes", "sales", 1)}
    # That its run showed the edge was no news then.
    assert [edge.last_position for edge in asked(store, "load", PastFilter(known_at=3)).edges] == [2]


@pytest.mark.parametrize("past", [PRESENT, PastFilter(as_of=at(60))])
def test_an_edge_names_as_many_of_its_last_runs_as_are_asked_for(
    store: Store, record: Record, past: PastFilter
) -> None:
    for number in range(4):
        record(store, [an_identity(number, "load", seconds=number), use(number, "write", "sales", seconds=number)])
    latest_first = [a_run_id(str(number)) for number in (3, 2, 1, 0)]
    for naming in range(6):
        found = get_lineage(store, LineageQuery(node="load"), past, now=NOW, naming=naming)
        assert [(edge.run_count, edge.last_run_ids) for edge in found.edges] == [(4, latest_first[:naming])]


def test_a_loop_is_one_from_when_it_turned(store: Store, record: Record) -> None:
    record(store, [an_identity(0, "a", seconds=0), an_identity(1, "b", seconds=10, caused_by_run_id=a_run_id("0"))])
    back = make(LinkEvent, run_id=a_run_id("1"), seconds=20, relation=Relation.CAUSED, target_run_id=a_run_id("2"))
    record(store, [an_identity(2, "a", seconds=20), back])
    assert loops(store, PastFilter(as_of=at(19))) == []
    assert loops(store, PastFilter(known_at=3)) == []
    (loop,) = loops(store, PastFilter(as_of=at(20)))
    assert ({member.name for member in loop.members}, loop.turns, loop.last_turn_at) == ({"a", "b"}, 1, at(20))


def test_a_past_that_lies_ahead_is_refused(store: Store, record: Record) -> None:
    record(store, [an_identity(0, "a")])
    with pytest.raises(PastError, match="the log ends at position 1"):
        asked(store, "a", PastFilter(known_at=2))
    with pytest.raises(PastError, match="lies in the future"):
        loops(store, PastFilter(as_of=at(7200)))
