from __future__ import annotations

from itertools import pairwise
from uuid import UUID, uuid5

from runvis_core.services.lineage_answers import LineageNode
from runvis_core.services.lineage_edges import Edge
from runvis_core.testing.factories import at
from runvis_core.web.drawing.grouping import MAX_LINES, ROOM, group_nodes

NAMES = UUID(int=7)


def node(name: str) -> LineageNode:
    return LineageNode(node_id=uuid5(NAMES, name), kind="dataset", namespace="s3://lake", name=name, depth=1)


def edge(source: int, target: int) -> Edge:
    return Edge(source, target, "writes", 1, at(0), 2, at(1), 2, [])


def lattice(teams: int, each: int, *, dense: bool) -> tuple[dict[int, LineageNode], list[Edge]]:
    """Datasets of teams; where it is dense each leads to each of the next team, else to the one beside it."""
    nodes = {team * each + place: node(f"team_{team}/table_{place}") for team in range(teams) for place in range(each)}
    rows = [range(team * each, (team + 1) * each) for team in range(teams)]
    pairs = [
        (one, other)
        for above, below in pairwise(rows)
        for place, one in enumerate(above)
        for other in (below if dense else below[place : place + 1])
    ]
    return nodes, [edge(*pair) for pair in pairs]


def test_as_many_stand_alone_as_there_is_room_for() -> None:
    nodes, edges = lattice(8, 9, dense=False)
    grouped = group_nodes(nodes, edges)
    assert len(grouped.spots) == len(nodes) <= ROOM
    assert len(grouped.lines) == len(edges) <= MAX_LINES


def test_what_nobody_could_follow_is_put_together_and_nothing_is_lost() -> None:
    nodes, edges = lattice(8, 9, dense=True)
    assert len(nodes) <= ROOM < MAX_LINES < len(edges)
    grouped = group_nodes(nodes, edges)
    assert len(grouped.lines) <= MAX_LINES
    assert sum(spot.size for spot in grouped.spots) == len(nodes)
    drawn = sum(line.edge_count for line in grouped.lines)
    place_of = {number: grouped.places[one.node_id] for number, one in nodes.items()}
    within = sum(place_of[one.source] == place_of[one.target] for one in edges)
    assert drawn + within == len(edges)


def test_a_group_that_is_opened_is_told_in_detail_where_it_can_be() -> None:
    nodes, edges = lattice(30, 9, dense=True)
    key = next(spot.key for spot in group_nodes(nodes, edges).spots if spot.size == 9)
    opened = group_nodes(nodes, edges, opened=key)
    assert opened.opened == key
    assert [spot.size for spot in opened.spots] == [1] * 9 + [len(nodes) - 9]
