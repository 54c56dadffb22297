"""The graph: what feeds this, what breaks if it is wrong, and what leads back to itself?"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import LineageQuery, LineageRef, Loop
from runvis_core.web.drawing.graph import MAX_NODES, draw_graph
from runvis_core.web.page import AskedError, asked, number, store_of, understand
from runvis_core.web.rendering import definition_path, now_of, render, with_query

DEPTH: Final = 2
MAX_LOOPS: Final = 20


def show_graph(request: Request) -> Response:
    """Show a node's neighbourhood; without a node, the loops that there are."""
    given = asked(request)
    loops = list_loops(store_of(request), limit=MAX_LOOPS, now=now_of(request)).items
    if "node" not in given:
        return render(request, "loops.html", loops=[_loop(loop) for loop in loops])
    depth = number(given.get("depth"), "depth", default=DEPTH)
    if not 1 <= depth <= 5:
        raise AskedError("depth", "must be 1 to 5")
    query = understand(LineageQuery, {"max_nodes": MAX_NODES, **given, "depth": depth})
    found = get_lineage(store_of(request), query, now=now_of(request))
    shown = {node.node_id for node in found.nodes}
    around = [loop for loop in loops if any(member.node_id in shown for member in loop.members)]
    names = {node.node_id: node for node in found.nodes}
    return render(
        request,
        "graph.html",
        found=found,
        depth=depth,
        drawing=draw_graph(found.nodes, found.edges, centre=found.node.node_id, loops=around),
        loops=[_loop(loop) for loop in around],
        nodes=[_node(node) | {"depth": node.depth, "in_loop": node.in_loop} for node in found.nodes],
        hrefs={node.node_id: graph_path(node) for node in found.nodes},
        edges=[(names[edge.source], names[edge.target], edge) for edge in found.edges],
        wider_href=with_query("/graph", {**given, "depth": depth + 1}) if depth < 5 else None,
    )


def graph_path(node: LineageRef) -> str:
    """Return where a node's neighbourhood is drawn."""
    return with_query("/graph", {"node": node.node_id})


def _node(node: LineageRef) -> dict[str, Any]:
    page = definition_path(node.engine or "", node.deployment or "", node.name) if node.kind == "definition" else None
    return {"ref": node, "href": graph_path(node), "page": page}


def _loop(loop: Loop) -> dict[str, Any]:
    members = {member.node_id: member for member in loop.members}
    return {
        "around": [_node(members[node]) for node in loop.cycle if node in members],
        "count": len(loop.members) + loop.cut_members,
        "turns": loop.turns,
        "last_turn_at": loop.last_turn_at,
        "last_turn_run_id": loop.last_turn_run_id,
    }
