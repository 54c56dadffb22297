"""`runvis lineage`: what leads to what, and what leads back to itself."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.text import Text

from runvis_core.cli.dot import dot_lines
from runvis_core.cli.exits import Group
from runvis_core.cli.options import AsOfOption, DeploymentOption, EngineOption, KnownAtOption, UrlOption
from runvis_core.cli.output import Format, cell, console, print_one, print_page, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import clean, name_moment
from runvis_core.services.exports import csv_line
from runvis_core.services.lineage_answers import (
    DEFAULT_DEPTH,
    DEFAULT_LOOPS,
    DEFAULT_NODES,
    MAX_DEPTH,
    MAX_LOOPS,
    MAX_NODES,
    Lineage,
    LineageEdge,
    LineageQuery,
    LineageRef,
    Loop,
)
from runvis_core.services.past_filter import PastFilter

lineage = typer.Typer(cls=Group, no_args_is_help=True, help="What reads, writes and starts what, and its loops.")

_MARKS: Final = {"definition": "▭", "dataset": "⛁"}
_COLUMNS: Final = ("source", "target", "kind", "run_count", "first_seen_at", "last_seen_at")


class GraphFormat(StrEnum):
    """How a command prints a graph."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    DOT = "dot"


GraphOption = Annotated[GraphFormat, typer.Option("--output", "-o", help="How to print; csv has the edges.")]


@lineage.command("show")
def show_command(
    node: Annotated[str, typer.Argument(help="A definition's name, a dataset's address, or a node's id.")],
    up: Annotated[bool, typer.Option("--up", help="Only what leads to it.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what it leads to.")] = False,
    depth: Annotated[
        int, typer.Option("--depth", min=1, max=MAX_DEPTH, help="How many edges away from it.")
    ] = DEFAULT_DEPTH,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_NODES, help="How many nodes to show.")
    ] = DEFAULT_NODES,
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    output: GraphOption = GraphFormat.TABLE,
    url: UrlOption = None,
) -> None:
    """Show what is around a definition or dataset: what it reads, writes and starts, and what leads to it.

    Examples:

      runvis lineage show orders

      runvis lineage show s3://shop/sales --down --depth 5

      runvis lineage show orders --as-of 2d

      runvis lineage show orders -o dot | dot -Tsvg -o orders.svg
    """
    direction = "both" if up == down else "up" if up else "down"
    query = _query(node=node, engine=engine, deployment=deployment, direction=direction, depth=depth, max_nodes=limit)
    with open_source(url) as source:
        found = source.get_lineage(query, PastFilter(as_of=as_of, known_at=known_at))
    if output in (GraphFormat.JSON, GraphFormat.JSONL):
        print_one(found, Format(output.value))
    elif output is GraphFormat.CSV:
        _print_csv(found.nodes, found.edges)
    elif output is GraphFormat.DOT:
        _print_lines(dot_lines(found.nodes, found.edges, bold=[found.node.node_id]))
    else:
        _print_lineage(found)
    if found.is_cut:
        typer.echo(f"there is more within {depth} edges than is shown: see --limit and --depth", err=True)


@lineage.command("loops")
def loops_command(
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LOOPS, help="How many to show.")
    ] = DEFAULT_LOOPS,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    output: GraphOption = GraphFormat.TABLE,
    url: UrlOption = None,
) -> None:
    """Show what leads back to itself, through any engine: who is in it, how often it turned, and when last.

    A turn is one chain of causing runs that comes back to the same definition. Loops of data alone have none.

    Examples:

      runvis lineage loops

      runvis lineage loops -o dot | dot -Tsvg -o loops.svg
    """
    with open_source(url) as source:
        page = source.list_loops(PastFilter(as_of=as_of, known_at=known_at), limit=limit)
    for note in page.notes:
        typer.echo(f"note: {note}", err=True)
    if output in (GraphFormat.JSON, GraphFormat.JSONL):
        print_page(page.items, Format(output.value), of=Loop)
    elif output is GraphFormat.CSV:
        _print_csv(_members(page.items), _edges(page.items))
    elif output is GraphFormat.DOT:
        _print_lines(dot_lines(_members(page.items), _edges(page.items)))
    elif page.items:
        for number, loop in enumerate(page.items):
            _print_loop(loop, first=number == 0)
    else:
        typer.echo("no loops", err=True)


def _query(**asked: Any) -> LineageQuery:
    try:
        return LineageQuery(**asked)
    except ValidationError as error:
        fault = error.errors()[0]
        raise typer.BadParameter(f"{clean(repr(fault['input']))}: {fault['msg']}") from error


def _members(loops: Iterable[Loop]) -> list[LineageRef]:
    return [member for loop in loops for member in loop.members]


def _edges(loops: Iterable[Loop]) -> list[LineageEdge]:
    return [edge for loop in loops for edge in loop.edges]


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def _print_csv(nodes: Iterable[LineageRef], edges: Iterable[LineageEdge]) -> None:
    labels = _labels(nodes)
    typer.echo(csv_line(_COLUMNS), nl=False)
    for edge in edges:
        moments = (edge.first_seen_at.isoformat(), edge.last_seen_at.isoformat())
        typer.echo(csv_line((labels[edge.source], labels[edge.target], edge.kind, edge.run_count, *moments)), nl=False)


def _labels(nodes: Iterable[LineageRef]) -> dict[UUID, str]:
    return {node.node_id: clean(node.label) for node in nodes}


def _print_lineage(found: Lineage) -> None:
    out = console()
    title = Text(clean(found.node.label), style="bold")
    out.print(title.append(f"  {_described(found.node)}", style="dim"))
    rows = table("AWAY", "", "NODE", "KIND", "OF", "LOOP")
    for node in found.nodes:
        sides = (node.after, -node.before if node.before is not None else None)
        away = " ".join(f"{side:+d}" for side in sorted(filter(None, sides), key=abs)) or "0"
        loop = Text("↻ in a loop", style="magenta") if node.in_loop else Text("")
        rows.add_row(
            away, _MARKS[node.kind], cell(node.label), cell(node.definition_kind or node.kind), _home(node), loop
        )
    out.print(rows)
    if found.edges:
        out.print()
        _print_edges(found.nodes, found.edges)


def _print_edges(nodes: Iterable[LineageRef], edges: Iterable[LineageEdge]) -> None:
    labels = _labels(nodes)
    rows = table("FROM", "", "TO", "RUNS", "LAST (UTC)", "LAST RUN")
    arrows = {"reads": "─read by→", "writes": "─writes→", "triggers": "⇒starts⇒"}
    for edge in edges:
        last = str(edge.last_run_ids[0])[:8] if edge.last_run_ids else "–"
        rows.add_row(
            cell(labels[edge.source]),
            arrows[edge.kind],
            cell(labels[edge.target]),
            str(edge.run_count),
            name_moment(edge.last_seen_at),
            last,
        )
    console().print(rows)


def _print_loop(loop: Loop, *, first: bool) -> None:
    out = console()
    if not first:
        out.print()
    labels = _labels(loop.members)
    around = [labels[node_id] for node_id in loop.cycle]
    out.print(Text("↻ ", style="magenta").append(" → ".join([*around, around[0]]), style="bold"))
    turned = f"{loop.turns} turns" if loop.turns != 1 else "1 turn"
    last = f", the last at {name_moment(loop.last_turn_at)} by run {str(loop.last_turn_run_id)[:8]}"
    kinds = ", ".join(loop.kinds)
    out.print(Text(f"  {turned}{last if loop.last_turn_at else ''}; {len(loop.members)} members; {kinds}", style="dim"))
    members = table("", "MEMBER", "KIND", "OF", "TURNS")
    for member in loop.members:
        kind = cell(member.definition_kind or member.kind)
        members.add_row(_MARKS[member.kind], cell(member.label), kind, _home(member), str(member.turns))
    out.print(members)
    _print_edges(loop.members, loop.edges)
    if loop.cut_members or loop.cut_edges:
        out.print(Text(f"… {loop.cut_members} more members, {loop.cut_edges} more edges", style="dim"))


def _home(node: LineageRef) -> Text:
    return cell(node.namespace if node.kind == "dataset" else f"{node.engine} ({node.deployment})")


def _described(node: LineageRef) -> str:
    home = f"{node.engine} ({node.deployment})" if node.kind == "definition" else ""
    return clean(f"{node.definition_kind or node.kind} {home} {node.node_id}")
