"""Graphs in the language of Graphviz: `runvis lineage show etl -o dot | dot -Tsvg`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final
from uuid import UUID

from runvis_core.cli.text import clean
from runvis_core.services.lineage_answers import LineageEdge, LineageRef

_SHAPES: Final = {"definition": "box", "dataset": "cylinder"}
_STYLES: Final = {"reads": "solid", "writes": "solid", "triggers": "dashed"}


def dot_lines(
    nodes: Iterable[LineageRef], edges: Iterable[LineageEdge], *, bold: Collection[UUID] = ()
) -> Iterator[str]:
    """Yield the lines of a directed graph; `bold` nodes stand out."""
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    for node in nodes:
        home = node.namespace if node.kind == "dataset" else f"{node.engine} {node.deployment}"
        style = ", style=bold" if node.node_id in bold else ""
        label = f"{_escaped(node.name)}\\n{_escaped(home or '')}"
        yield f'  "{node.node_id}" [label="{label}", shape={_SHAPES[node.kind]}{style}];'
    for edge in edges:
        label = f"{edge.kind} {edge.run_count}"
        yield f'  "{edge.source}" -> "{edge.target}" [label="{label}", style={_STYLES[edge.kind]}];'
    yield "}"


def _escaped(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')
