"""Lineage of 100,000 definitions and 300,000 edges: all loops beside networkx alone, and what is around one node.

networkx has its graph in memory before its time begins, and does nothing but find the strongly connected components;
ours begins at the store: read the edges, find the components, and answer with the loops' members, edges and turns.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version

import networkx as nx
from sqlalchemy import insert

from benchmarks.environments import own_versions
from benchmarks.figures import p95
from benchmarks.harness import Goal, Result, alternate, compare, judge
from benchmarks.ingest import DATABASES
from runvis_core.lineage.facts import Node
from runvis_core.services.lineage import get_lineage, list_loops
from runvis_core.services.lineage_answers import LineageQuery
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import lineage_edges, lineage_nodes

ROUNDS = 5
NODES, EDGES = 100_000, 300_000
NEAR = 20
ASKED = 200
DEPTH = 3
LIMIT_MS = 100.0
SEED = 20261129
_MOMENT = datetime(2026, 11, 29, tzinfo=UTC)

Edge = tuple[int, int]


def measure(part: str = "") -> Iterator[Result]:
    """Measure both databases, or the named one, each with a graph of pipelines and with one of chance."""
    for name, databases in DATABASES.items():
        if part in ("", name):
            with databases() as (make, versions), ExitStack() as stack:
                versions |= own_versions("sqlalchemy") | {"networkx": version("networkx")}
                for kind, graph in {"pipelines": pipelines, "random": at_random}.items():
                    store = stack.enter_context(closing(open_store(make())))
                    yield from _measure_graph(f"lineage {name} {kind}", store, graph(), versions)


def pipelines() -> list[Edge]:
    """Edges that lead on to what is near, and one in a thousand that leads back: many small loops."""
    chance = random.Random(SEED)
    edges: set[Edge] = set()
    while len(edges) < EDGES:
        source = chance.randrange(NODES - NEAR)
        target = source + chance.randrange(1, NEAR)
        edges.add((target, source) if chance.random() < 0.001 else (source, target))
    return list(edges)


def at_random() -> list[Edge]:
    """Edges between any two nodes: nearly all of the graph is one loop."""
    chance = random.Random(SEED)
    edges: set[Edge] = set()
    while len(edges) < EDGES:
        edges.add((chance.randrange(NODES), chance.randrange(NODES)))
    return list(edges)


def fill(store: Store, edges: Sequence[Edge]) -> None:
    """Put a graph of definitions that trigger one another into a store."""
    nodes = [Node("definition", f"d{number}", "airflow", "bench", "dag") for number in range(NODES)]
    rows = [
        {"number": number, "node_id": node.node_id, "position": 1, **node._asdict()}
        for number, node in enumerate(nodes)
    ]
    seen = {"first_position": 1, "first_seen_at": _MOMENT, "last_position": 1, "last_seen_at": _MOMENT}
    with store.engine.begin() as connection:
        connection.execute(insert(lineage_nodes), rows)
        values = {"kind": "triggers", "run_count": 1, "last_runs": "[]", **seen}
        connection.execute(insert(lineage_edges), [{"source": a, "target": b, **values} for a, b in sorted(edges)])
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE lineage_edges, lineage_nodes")


def _measure_graph(case: str, store: Store, edges: list[Edge], versions: dict[str, str]) -> Iterator[Result]:
    fill(store, edges)
    graph = nx.DiGraph(edges)
    loops = sum(1 for component in nx.strongly_connected_components(graph) if len(component) > 1)
    loops += nx.number_of_selfloops(graph)

    def ours() -> None:
        page = list_loops(store, limit=50, now=_MOMENT)
        if not page.items or len(page.items) > loops:
            raise RuntimeError(f"{len(page.items)} loops were found, and there are {loops} at most")

    def theirs() -> None:
        if sum(1 for component in nx.strongly_connected_components(graph) if len(component) > 1) > loops:
            raise RuntimeError("networkx found more loops than before")

    rounds = alternate({"ours": lambda: [_ms(ours)], "networkx": lambda: [_ms(theirs)]}, rounds=ROUNDS)
    goal = Goal("<=", 1.5)
    name = f"{case}: all loops / networkx"
    yield compare(name, rounds["ours"], rounds["networkx"], unit="ms", goal=goal, versions=versions)
    chance = random.Random(SEED)
    asked = [f"d{chance.randrange(NODES)}" for _ in range(ASKED)]
    figures = [_ms(lambda node=node: get_lineage(store, _around(node), now=_MOMENT)) for node in asked]
    name = f"{case}: {DEPTH} edges around a node, p95 / {LIMIT_MS:g} ms"
    yield judge(name, p95(figures), LIMIT_MS, unit="ms", goal=Goal("<=", 1), versions=versions)


def _around(node: str) -> LineageQuery:
    return LineageQuery(node=node, depth=DEPTH)


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
