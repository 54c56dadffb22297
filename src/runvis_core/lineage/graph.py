"""A part of the graph that was fetched, as networkx has graphs; pure."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx


def nodes_in_loops(edges: Iterable[tuple[int, int]]) -> set[int]:
    """Return the nodes that lead back to themselves by these edges."""
    graph: nx.DiGraph[int] = nx.DiGraph(list(edges))
    found: set[int] = set(nx.nodes_with_selfloops(graph))
    for component in nx.strongly_connected_components(graph):
        if len(component) > 1:
            found |= component
    return found
