"""The graph: what feeds this, what breaks if it is wrong, and what leads back to itself?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from runvis_core.services.lineage import Neighbourhood, find_neighbourhood, list_loops
from runvis_core.services.lineage_answers import (
    LineageNode,
    LineageQuery,
    LineageRef,
    Loop,
    PastEdgeQuery,
)
from runvis_core.services.lineage_proofs import get_proofs, list_turns
from runvis_core.store.database import Store
from runvis_core.web.drawing.graph import draw_graph
from runvis_core.web.drawing.grouping import OUTSIDE, Grouped, Line, Spot, group_nodes
from runvis_core.web.drawing.text import name_depths, name_sides
from runvis_core.web.drawing.turns import unroll
from runvis_core.web.page import AskedError, asked, number, store_of, understand
from runvis_core.web.pin import Pin, asked_of, control_moment, take_pin
from runvis_core.web.rendering import definition_path, now_of, render, with_query

DEPTH: Final = 2
MAX_LOOPS: Final = 20
MAX_BESIDE: Final = 5
"""How many members of a loop are named that are not on the shortest way around it."""
MAX_FETCHED: Final = 1000
"""How many nodes are looked at; those that have no room are told in groups."""
PROOFS: Final = 50


class _NodeId(BaseModel):
    model_config = ConfigDict(extra="forbid")

    node: UUID


class _View:
    """What a request asks of the graph, and in which past."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.real_now = now_of(request)
        self.given: dict[str, Any] = asked(request)
        self.pin: Pin | None = take_pin(request, self.given)
        self.past = asked_of(self.pin)

    def link(self, path: str, **values: Any) -> str:
        """Return an address that keeps to the past that is shown."""
        return with_query(path, {**values, **(self.pin.query if self.pin else {})})

    def node_link(self, node: LineageRef) -> str:
        """Return where a node's neighbourhood is drawn."""
        return self.link("/graph", node=node.node_id)

    def run_link(self, run_id: UUID) -> str:
        """Return where a run is shown."""
        return self.link(f"/runs/{run_id}")

    def edge_link(self, source: UUID, target: UUID, kind: str) -> str:
        """Return where the runs are that prove an edge."""
        return self.link("/graph/edge", source=source, target=target, kind=kind)

    def render(self, template: str, **values: Any) -> Response:
        """Return a page that says which past it shows, and how that is had again."""
        kept = {name: value for name, value in self.given.items() if name != "cursor"}
        moment = control_moment(self.request, self.pin, kept)
        return render(self.request, template, pin=self.pin, moment=moment, run_link=self.run_link, **values)


def show_graph(request: Request) -> Response:
    """Show a node's neighbourhood; without a node, the loops that there are."""
    view, store = _View(request), store_of(request)
    if "node" not in view.given:
        loops = _list_loops(view, store)
        address = str(request.base_url).rstrip("/")
        return view.render("loops.html", loops=[_loop(view, loop) for loop in loops], address=address)
    given = dict(view.given)
    opened = given.pop("open", None)
    depth = number(given.get("depth"), "depth", default=DEPTH)
    if not 1 <= depth <= 5:
        raise AskedError("depth", "must be 1 to 5")
    if isinstance(opened, list):
        raise AskedError("open", "one group can be open at a time")
    query = understand(LineageQuery, {"max_nodes": MAX_FETCHED, **given, "depth": depth})
    # Nothing here names the runs of an edge.
    found = find_neighbourhood(store, query, view.past, now=view.real_now, naming=0)
    around = _list_loops(view, store, through=found.nodes.keys())
    kept = [found.node.node_id, *(node for loop in around for node in loop.cycle)]
    grouped = group_nodes(found.nodes, found.edges, kept=dict.fromkeys(kept), opened=opened)
    spots = {spot.key: _spot(view, spot, {**given, "depth": depth}) for spot in grouped.spots}
    return view.render(
        "graph.html",
        found=found,
        depth=depth,
        grouped=grouped,
        is_grouped=any(spot.node is None for spot in grouped.spots),
        drawing=draw_graph(grouped, centre=found.node.node_id, loops=around),
        loops=[_loop(view, loop) for loop in around],
        spots=spots,
        lines=[(spots[line.source], spots[line.target], line, _line_link(view, line, spots)) for line in grouped.lines],
        rows=_rows(found, grouped, spots),
        line_links={_line_key(line): _line_link(view, line, spots) for line in grouped.lines},
        line_key=_line_key,
        definition=_definition(found.node),
        wider_href=view.link("/graph", **{**given, "depth": depth + 1}) if depth < 5 else None,
    )


def show_edge(request: Request) -> Response:
    """Show the runs that prove an edge."""
    view = _View(request)
    given = dict(view.given)
    cursor = given.pop("cursor", None)
    query = understand(PastEdgeQuery, {**given, **view.past.model_dump()})
    found = get_proofs(
        store_of(request), query, limit=PROOFS, cursor=cursor if isinstance(cursor, str) else None, now=view.real_now
    )
    return view.render(
        "edge.html",
        found=found,
        source_href=view.node_link(found.source),
        target_href=view.node_link(found.target),
        next_href=view.link("/graph/edge", **given, cursor=found.next_cursor) if found.next_cursor else None,
    )


def show_turns(request: Request) -> Response:
    """Show the last turns of a loop as runs in time."""
    view, store = _View(request), store_of(request)
    asked_for = understand(_NodeId, view.given)
    turns = list_turns(store, asked_for.node, view.past, now=view.real_now).items
    query = LineageQuery(node=str(asked_for.node), depth=1, max_nodes=1)
    node = find_neighbourhood(store, query, view.past, now=view.real_now, naming=0).node
    unrolled = unroll(turns, now=now_of(request))
    return view.render("turns.html", node=node, node_href=view.node_link(node), unrolled=unrolled)


def _list_loops(view: _View, store: Store, through: Collection[int] | None = None) -> list[Loop]:
    return list_loops(
        store, view.past, limit=MAX_LOOPS, now=view.real_now, naming=0, through=through, around_only=True
    ).items


def _spot(view: _View, spot: Spot, given: dict[str, Any]) -> dict[str, Any]:
    if spot.node is not None:
        return {"spot": spot, "href": view.node_link(spot.node), "name": spot.node.name}
    opens = None if spot.key == OUTSIDE else spot.key
    return {"spot": spot, "href": view.link("/graph", **given, open=opens), "name": spot.label}


def _rows(found: Neighbourhood, grouped: Grouped, spots: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the boxes as the table has them: the nearest first, then the groups."""
    depths: dict[str, list[int]] = {}
    for node in found.nodes.values():
        depths.setdefault(grouped.places[node.node_id], []).append(node.depth)
    rows = [{**spots[spot.key], "away": _away(spot.node, depths[spot.key])} for spot in grouped.spots]
    return sorted(rows, key=lambda row: _place(row["spot"].node, row["spot"].key))


def _away(node: LineageNode | None, depths: list[int]) -> str:
    return name_depths((min(depths), max(depths))) if node is None else name_sides(node.before, node.after)


def _place(node: LineageNode | None, key: str) -> tuple[Any, ...]:
    return (True, 0, 0, key) if node is None else (False, abs(node.depth), node.depth, node.label)


def _line_key(line: Line) -> tuple[str, str, str]:
    return (line.source, line.target, line.kind)


def _line_link(view: _View, line: Line, spots: dict[str, dict[str, Any]]) -> str:
    """Return where the runs are that prove an edge; several edges are told apart where their group is opened."""
    if line.ends is not None:
        return view.edge_link(*line.ends, line.kind)
    source = spots[line.source]
    return str(source["href"] if source["spot"].node is None else spots[line.target]["href"])


def _definition(node: LineageRef) -> str | None:
    if node.kind != "definition":
        return None
    return definition_path(node.engine or "", node.deployment or "", node.name, node.definition_kind)


def _loop(view: _View, loop: Loop) -> dict[str, Any]:
    members = {member.node_id: member for member in loop.members}
    around = [members[node] for node in loop.cycle if node in members]
    beside = [member for member in loop.members if member not in around]
    return {
        "around": [{"ref": node, "href": view.node_link(node)} for node in around],
        "beside": [{"ref": node, "href": view.node_link(node)} for node in beside[:MAX_BESIDE]],
        "more_beside": max(0, len(beside) - MAX_BESIDE) + loop.cut_members,
        "count": len(loop.members) + loop.cut_members,
        "turns": loop.turns,
        "last_turn_at": loop.last_turn_at,
        "last_turn_run_id": loop.last_turn_run_id,
        "unroll_href": view.link("/graph/turns", node=around[0].node_id) if loop.turns and around else None,
    }
