"""Neighbourhoods and loops as they are answered, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event
from tests.runvis_core.lineage.tables import an_identity

from runvis_core.errors import NotFoundError
from runvis_core.hookspecs import hookimpl
from runvis_core.lineage.step import LineageStep
from runvis_core.model.event import DatasetEvent, EventBase
from runvis_core.plugins import Plugins
from runvis_core.services import lineage
from runvis_core.services.answers import Page
from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import Lineage, LineageQuery, Loop, NewLoop
from runvis_core.services.loop_news import tell_of_loops
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.store.database import Store
from runvis_core.store.steps import catch_up
from runvis_core.testing.factories import a_run_id, make

Record = Callable[[Store, Iterable[EventBase]], None]


def use(number: int, direction: str, name: str) -> EventBase:
    return make(DatasetEvent, run_id=a_run_id(str(number)), direction=direction, namespace="s3://lake", name=name)


def chain(*definitions: str, first: int = 0) -> list[EventBase]:
    """One run after the other, each caused by the one before."""
    return [
        an_identity(first + number, name, **({"caused_by_run_id": a_run_id(str(first + number - 1))} if number else {}))
        for number, name in enumerate(definitions)
    ]


def asked(store: Store, node: str, **options: Any) -> Lineage:
    return get_lineage(store, LineageQuery(node=node, **options), now=datetime.now(UTC))


def loops(store: Store, limit: int) -> Page[Loop]:
    return list_loops(store, limit=limit, now=datetime.now(UTC))


def near(found: Lineage) -> dict[str, int]:
    return {node.label: node.depth for node in found.nodes}


def edges(found: Lineage | Loop) -> set[tuple[str, str, str]]:
    nodes = found.nodes if isinstance(found, Lineage) else found.members
    names = {node.node_id: node.name for node in nodes}
    return {(names[edge.source], edge.kind, names[edge.target]) for edge in found.edges}


@pytest.fixture
def pipeline(store: Store, record: Record) -> Store:
    """raw → load → sales → report → pdf, and report starts mail."""
    record(store, [an_identity(0, "load"), use(0, "read", "raw"), use(0, "write", "sales")])
    record(store, [*chain("report", "mail", first=1), use(1, "read", "sales"), use(1, "write", "pdf")])
    return store


def test_what_is_around_a_node_is_told_with_how_far_it_is(pipeline: Store) -> None:
    found = asked(pipeline, "s3://lake/sales")
    assert near(found) == {
        "s3://lake/sales": 0, "load": -1, "report": 1, "s3://lake/raw": -2, "s3://lake/pdf": 2, "mail": 2,
    }  # fmt: skip
    assert ("report", "triggers", "mail") in edges(found)
    assert not found.is_cut
    (written,) = [edge for edge in found.edges if edge.target == found.node.node_id]
    assert (written.run_count, written.last_run_ids) == (1, [a_run_id("0")])


def test_a_direction_and_a_depth_narrow_it(pipeline: Store) -> None:
    assert near(asked(pipeline, "report", direction="up", depth=1)) == {"report": 0, "s3://lake/sales": -1}
    assert near(asked(pipeline, "load", direction="down", depth=2)) == {"load": 0, "s3://lake/sales": 1, "report": 2}


@pytest.mark.parametrize("past", [PRESENT, PastFilter(known_at=6)], ids=["present", "past"])
def test_in_a_loop_the_nearer_side_counts_and_both_are_told(store: Store, record: Record, past: PastFilter) -> None:
    # plan is read by restock, which forecast starts; restock starts check, which starts forecast, which writes plan.
    record(store, [*chain("restock", "check", "forecast", "restock"), use(2, "write", "plan"), use(3, "read", "plan")])
    query = LineageQuery(node="restock")
    found = get_lineage(store, query, past, now=datetime.now(UTC))
    sides = {node.name: (node.depth, node.before, node.after) for node in found.nodes}
    assert sides == {"restock": (0, 0, 0), "check": (1, 2, 1), "forecast": (-1, 1, 2), "plan": (-1, 1, 3)}
    up = get_lineage(store, query.model_copy(update={"direction": "up", "depth": 1}), past, now=datetime.now(UTC))
    assert {node.name: (node.before, node.after) for node in up.nodes if node.depth} == {
        "forecast": (1, None), "plan": (1, None),
    }  # fmt: skip


def test_what_is_as_near_on_both_sides_counts_as_what_it_leads_to(store: Store, record: Record) -> None:
    record(store, chain("orders", "forecast", "orders"))
    assert near(asked(store, "orders")) == {"orders": 0, "forecast": 1}


def test_where_there_is_no_room_for_all_the_nearest_on_both_sides_are_shown(store: Store, record: Record) -> None:
    record(store, chain("a", "b", "middle", "x", "y"))
    found = asked(store, "middle", max_nodes=3)
    assert near(found) == {"middle": 0, "b": -1, "x": 1}
    assert found.is_cut


def test_no_more_nodes_than_asked_for_are_shown_and_that_is_said(store: Store, record: Record) -> None:
    record(store, [an_identity(0, "hub"), *(use(0, "write", f"d{number:03}") for number in range(50))])
    found = asked(store, "hub", max_nodes=10)
    assert len(found.nodes) == 10
    assert len(found.edges) == 9
    assert found.is_cut
    assert not asked(store, "hub").is_cut


def test_edges_have_a_bound_of_their_own(store: Store, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "EDGES_A_NODE", 1)
    record(store, [an_identity(0, "hub"), *(use(0, "write", f"d{number:03}") for number in range(50))])
    found = asked(store, "hub", max_nodes=20)
    assert len(found.edges) <= 20
    assert found.is_cut


def test_a_neighbourhood_costs_as_many_queries_however_large_the_graph_is(store: Store, record: Record) -> None:
    queries: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *said: queries.append(said[2]))
    record(store, chain("a", "b"))
    asked(store, "a")
    queries.clear()
    asked(store, "a")
    small = len(queries)
    record(store, [item for number in range(1, 40) for item in chain("a", "b", f"c{number}", first=number * 3)])
    asked(store, "a")
    queries.clear()
    assert len(asked(store, "a").nodes) > 40
    assert len(queries) <= small + 2


def test_a_node_goes_by_its_name_its_address_and_its_id(pipeline: Store) -> None:
    dataset = asked(pipeline, "s3://lake/sales").node
    assert asked(pipeline, str(dataset.node_id)).node == dataset
    assert asked(pipeline, "sales").node == dataset
    assert dataset.label == "s3://lake/sales"


def test_a_name_of_several_is_told_apart(store: Store, record: Record) -> None:
    record(store, [an_identity(0, "etl"), an_identity(1, "etl", engine="prefect")])
    with pytest.raises(NotFoundError, match=r"means several.*airflow test.*prefect test"):
        asked(store, "etl")
    assert asked(store, "etl", engine="prefect").node.engine == "prefect"
    with pytest.raises(NotFoundError, match="no lineage is known of 'et'; there are etl"):
        asked(store, "et")


@pytest.mark.parametrize(
    ("given", "likest"),
    [("retruns", "returns (airflow test)"), ("s3://lake/salse", "sales (dataset in s3://lake)"), ("sale", "sales (")],
)
def test_a_name_that_is_misspelt_has_near_ones(store: Store, record: Record, given: str, likest: str) -> None:
    record(store, [an_identity(0, "retail"), an_identity(1, "returns"), use(1, "write", "sales")])
    with pytest.raises(NotFoundError, match=r"no lineage is known of .*; there are ") as told:
        asked(store, given)
    assert told.value.labels[0].startswith(likest)
    nearest = asked(store, told.value.near[0]).node
    assert nearest.name == likest.partition(" ")[0]


def test_what_goes_by_no_name_at_all_has_no_near_ones(store: Store, record: Record) -> None:
    record(store, [an_identity(0, "etl")])
    with pytest.raises(NotFoundError, match="give a definition's name") as told:
        asked(store, "zzz")
    assert (told.value.near, told.value.labels) == ([], [])


def test_a_loop_through_engines_and_data_has_members_edges_kinds_and_turns(store: Store, record: Record) -> None:
    events = chain("orders", "forecast", "orders", "forecast", "orders")
    record(store, [*events, use(1, "write", "plan"), use(4, "read", "plan")])
    (loop,) = loops(store, 10).items
    names = {member.node_id: member.name for member in loop.members}
    assert [names[node_id] for node_id in loop.cycle] == ["orders", "forecast"]
    assert {member.name: member.turns for member in loop.members} == {"orders": 2, "forecast": 1, "plan": 0}
    assert edges(loop) == {
        ("orders", "triggers", "forecast"),
        ("forecast", "triggers", "orders"),
        ("forecast", "writes", "plan"),
        ("plan", "reads", "orders"),
    }
    assert (loop.kinds, loop.turns, loop.last_turn_run_id) == (["reads", "triggers", "writes"], 2, a_run_id("4"))
    assert loop.last_turn_at is not None
    marked = asked(store, "orders").nodes
    assert {node.name for node in marked if node.in_loop} == {"orders", "forecast", "plan"}


def test_loops_that_turned_last_come_first_and_those_of_data_alone_have_no_turn(store: Store, record: Record) -> None:
    record(store, chain("self", "self"))
    record(store, chain("a", "b", "a", first=10))
    record(store, [an_identity(20, "inplace"), use(20, "read", "table"), use(20, "write", "table")])
    page = loops(store, 2)
    found = [({member.name for member in loop.members}, loop.turns) for loop in page.items]
    assert found == [({"a", "b"}, 1), ({"self"}, 1)]
    assert page.notes == ["1 more loops are not shown"]
    last = loops(store, 9).items[-1]
    assert ({member.name for member in last.members}, last.turns, last.last_turn_at) == ({"inplace", "table"}, 0, None)


def test_a_loop_of_any_size_is_shown_within_bounds(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "MAX_MEMBERS", 5)
    monkeypatch.setattr(lineage, "MAX_EDGES", 3)
    names = [f"d{number:02}" for number in range(12)]
    record(store, chain(*names, names[0]))
    (loop,) = loops(store, 1).items
    assert (len(loop.members), loop.cut_members) == (5, 7)
    assert (len(loop.edges), loop.cut_edges) == (3, 1)
    assert len(loop.cycle) == 5


def test_without_history_there_are_no_loops(store: Store) -> None:
    assert loops(store, 10).items == []


def test_a_plugin_is_told_of_a_new_loop(store: Store, record: Record) -> None:
    told: list[NewLoop] = []

    class Listening:
        @hookimpl
        def runvis_loop_detected(self, loop: NewLoop) -> None:
            told.append(loop)

    plugins = Plugins(group=None)
    plugins.register(Listening(), name="listening")
    step = LineageStep(lambda turns, nodes: tell_of_loops(turns, nodes, plugins=plugins))
    record(store, chain("a", "b", "a", "b", "a"))
    catch_up(store, [step])
    assert [[node.name for node in loop.definitions] for loop in told] == [["a", "b"]]
    assert told[0].run_id == a_run_id("2")
