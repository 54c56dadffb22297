"""Loops are found as networkx finds them, on any graph."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.lineage.graph import nodes_in_loops
from runvis_core.lineage.loops import Graph

nodes = st.integers(0, 12)
graphs = st.lists(st.tuples(nodes, nodes), max_size=40)


def a_graph(edges: list[tuple[int, int]]) -> Graph:
    leads_to: dict[int, list[int]] = {}
    for source, target in edges:
        leads_to.setdefault(source, []).append(target)
    return Graph(max(map(max, edges), default=-1) + 1, leads_to.items())


def by_networkx(edges: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    graph = nx.DiGraph(edges)
    return sorted(
        tuple(sorted(component))
        for component in nx.strongly_connected_components(graph)
        if len(component) > 1 or graph.has_edge(*[*component] * 2)
    )


@given(graphs)
def test_loops_are_the_components_of_networkx(edges: list[tuple[int, int]]) -> None:
    graph = a_graph(edges)
    found = graph.find_loops()
    assert sorted(tuple(sorted(members)) for members in found) == by_networkx(edges)
    assert nodes_in_loops(edges) == {node for members in found for node in members}
    for members in found:
        assert graph.edges_within(members) == sorted({edge for edge in edges if set(members).issuperset(edge)})


@given(graphs)
def test_a_cycle_is_a_shortest_way_back(edges: list[tuple[int, int]]) -> None:
    graph = a_graph(edges)
    for members in graph.find_loops():
        inside = nx.DiGraph(graph.edges_within(members))
        for start in members:
            cycle = graph.find_cycle(start, members)
            around = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
            assert cycle[0] == start
            assert all(inside.has_edge(*edge) for edge in around)
            shortest = min(1 + nx.shortest_path_length(inside, after, start) for after in inside.successors(start))
            assert len(cycle) == shortest


def test_a_graph_that_is_one_long_way_ends_no_stack() -> None:
    size = 50_000
    graph = a_graph([*((number, number + 1) for number in range(size)), (size, 0)])
    (loop,) = graph.find_loops()
    assert len(loop) == size + 1
    assert graph.find_cycle(7, loop)[:2] == [7, 8]


def test_without_a_loop_there_is_none() -> None:
    assert a_graph([]).find_loops() == []
    assert a_graph([(0, 1), (1, 2), (0, 2)]).find_loops() == []
    assert a_graph([(2, 1), (1, 1)]).find_cycle(2, [1, 2]) == []
    assert nodes_in_loops([]) == set()
