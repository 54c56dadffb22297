"""`runvis definitions`: what can run."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer
from rich.text import Text

from runvis_core.cli.exits import Group
from runvis_core.cli.options import CursorOption, DeploymentOption, EngineOption, LimitOption, OutputOption, UrlOption
from runvis_core.cli.output import Format, cell, console, print_one, print_page, state_text, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import clean, name_duration, name_moment
from runvis_core.services.answers import DefinitionDetail, DefinitionSummary
from runvis_core.services.filters import DefinitionFilter

definitions = typer.Typer(cls=Group, no_args_is_help=True, help="What can run: DAGs, flows, tasks, and their versions.")


@definitions.command("list")
def list_command(
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """List definitions, by engine, deployment and name.

    Examples:

      runvis definitions list --engine airflow

      runvis definitions list -o jsonl
    """
    with open_source(url) as source:
        filters = DefinitionFilter(engine=engine, deployment=deployment)
        page = source.list_definitions(filters, limit=limit, cursor=cursor)
    if output is not Format.TABLE:
        print_page(page.items, output, next_cursor=page.next_cursor)
        return
    if not page.items:
        typer.echo("no definitions", err=True)
        return
    _print_table(page.items)
    if page.next_cursor:
        typer.echo(f"there are more: --cursor {page.next_cursor}", err=True)


def _print_table(items: list[DefinitionSummary]) -> None:
    rows = table("ENGINE", "DEPLOYMENT", "DEFINITION", "KIND", "VERSIONS", "SCHEDULE", "LAST RUN", "STARTED (UTC)")
    for item in items:
        last, latest = item.last_run, item.latest_version
        rows.add_row(
            cell(item.engine),
            cell(item.deployment),
            cell(item.definition),
            cell(item.kind),
            str(item.version_count),
            cell(latest.schedule if latest else None),
            state_text(last, corrected=last.corrected) if last else Text("–"),
            name_moment((last.started_at or last.queued_at) if last else None),
        )
    console().print(rows)


@definitions.command("show")
def show_command(
    definition: Annotated[str, typer.Argument(help="Its whole name.")],
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show a definition: its versions, its structure, its recent runs.

    Examples:

      runvis definitions show etl

      runvis definitions show etl --engine airflow --deployment prod -o json
    """
    with open_source(url) as source:
        found = source.get_definition(definition, DefinitionFilter(engine=engine, deployment=deployment))
    if output is Format.TABLE:
        _print_definition(found)
    else:
        print_one(found, output)


def _print_definition(found: DefinitionDetail) -> None:
    out = console()
    title = Text(clean(found.definition), style="bold")
    out.print(title.append(clean(f"  {found.kind or ''}  {found.engine} ({found.deployment})"), style="dim"))
    if found.versions:
        versions = table("VERSION", "NATIVE", "CODE", "SCHEDULE", "OWNER", "RECORDED (UTC)", "POSITION")
        for version in found.versions:
            versions.add_row(
                cell(version.version[:12]),
                cell(version.native_version),
                cell(version.code_version),
                cell(version.schedule),
                cell(version.owner),
                name_moment(version.recorded_at),
                f"#{version.first_position}",
            )
        out.print(versions)
        _print_structure(out, found.versions[0].structure)
    if found.cut_versions:
        out.print(f"… {found.cut_versions} older versions")
    if found.witnesses:
        alone = " (server only: no process of these runs records)" if found.witnesses == ["follower"] else ""
        out.print(f"recent runs told by {', '.join(found.witnesses)}{alone}")
    if found.recent_runs:
        runs = table("RUN", "STATE", "TRY", "STARTED (UTC)", "DURATION")
        for run in found.recent_runs:
            runs.add_row(
                str(run.run_id)[:8],
                state_text(run, corrected=run.corrected),
                cell(run.attempt),
                name_moment(run.started_at or run.queued_at),
                name_duration(run.duration_seconds),
            )
        out.print()
        out.print(runs)


def _print_structure(out: Any, structure: Any) -> None:
    """Print the tasks of the latest version, each with the tasks that come after it."""
    if not isinstance(structure, dict):
        return
    said = cast("dict[str, Any]", structure)
    edges, tasks = (
        cast("list[list[Any]]", said.get("edges") or []),
        cast("list[dict[str, Any]]", said.get("tasks") or []),
    )
    after: dict[str, list[str]] = {}
    for edge in edges:
        after.setdefault(str(edge[0]), []).append(str(edge[1]))
    rows = table("TASK", "OPERATOR", "THEN")
    for task in tasks:
        name = str(task.get("id"))
        rows.add_row(cell(name), cell(task.get("operator")), cell(", ".join(after.get(name, []))))
    out.print()
    out.print(rows)
