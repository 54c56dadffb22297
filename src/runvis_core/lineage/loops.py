"""Loops in a graph of numbered nodes; pure.

The whole graph is looked at as plain lists: to build a networkx graph of it costs as much as the search itself (see
docs/decisions/0011). networkx takes what is small: see `graph`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable


class Graph:
    """Nodes that are numbers below `size`, and what each leads to."""

    def __init__(self, size: int, leads_to: Iterable[tuple[int, list[int]]]) -> None:
        self._after: list[list[int]] = [[]] * size
        for source, targets in leads_to:
            self._after[source] = targets

    def find_loops(self) -> list[list[int]]:
        """Return the strongly connected components that hold a loop: of several nodes, or of one that leads to itself.

        Time and memory are in proportion to nodes and edges, whatever the graph's form; nothing recurses.
        """
        return _components(self._after)

    def edges_within(self, members: Collection[int]) -> list[tuple[int, int]]:
        """Return the edges between these nodes, each once, in ascending order."""
        inside = members if isinstance(members, set | frozenset) else frozenset(members)
        return sorted({(source, target) for source in inside for target in self._after[source] if target in inside})

    def find_cycle(self, start: int, members: Collection[int]) -> list[int]:
        """Return a shortest way from a node through members back to it, the node first; empty if there is none."""
        inside = members if isinstance(members, set | frozenset) else frozenset(members)
        came_from: dict[int, int] = {}
        waiting = deque([start])
        while waiting:
            node = waiting.popleft()
            # In one order, whatever that of the edges: of several shortest ways it is always the same.
            for target in sorted(self._after[node]):
                if target == start:
                    way = [node]
                    while way[-1] != start:
                        way.append(came_from[way[-1]])
                    return way[::-1]
                if target in inside and target not in came_from:
                    came_from[target] = node
                    waiting.append(target)
        return []


def _components(after: list[list[int]]) -> list[list[int]]:  # noqa: C901 - a call for each node would double its time
    """Tarjan's algorithm, with a stack of its own."""
    size = len(after)
    done = size + 1
    # 0 is not seen yet; a number is the place in which it was met; `done` is above all numbers.
    met, low = [0] * size, [0] * size
    place = 0
    open_nodes: list[int] = []
    found: list[list[int]] = []
    for root in range(size):
        if met[root] or not after[root]:
            continue
        place += 1
        met[root] = low[root] = place
        open_nodes.append(root)
        way, ahead = [root], [iter(after[root])]
        while way:
            node = way[-1]
            lowest = low[node]
            for target in ahead[-1]:
                seen = met[target]
                if not seen:
                    if after[target]:
                        low[node] = lowest
                        place += 1
                        met[target] = low[target] = place
                        open_nodes.append(target)
                        way.append(target)
                        ahead.append(iter(after[target]))
                        break
                    met[target] = done  # a dead end
                elif seen < lowest:
                    lowest = seen
            else:
                low[node] = lowest
                way.pop()
                ahead.pop()
                if way and lowest < low[way[-1]]:
                    low[way[-1]] = lowest
                if lowest == met[node]:
                    members = _close(open_nodes, node, met, done)
                    if len(members) > 1 or node in after[node]:
                        found.append(members)
    return found


def _close(open_nodes: list[int], node: int, met: list[int], done: int) -> list[int]:
    members: list[int] = []
    while True:
        member = open_nodes.pop()
        met[member] = done
        members.append(member)
        if member == node:
            return members
