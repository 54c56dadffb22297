"""`runvis definitions`: what can run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import typer
from rich.text import Text

from runvis_core.cli.exits import Group
from runvis_core.cli.options import (
    AsOfOption,
    CursorOption,
    DeploymentOption,
    EngineOption,
    KindOption,
    KnownAtOption,
    LimitOption,
    OutputOption,
    UrlOption,
    check_span,
    name_next,
    parse_moment,
    understand,
)
from runvis_core.cli.output import Format, cell, console, print_one, print_page, state_text, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import clean, name_duration, name_moment
from runvis_core.services.answers import DefinitionDetail, DefinitionSummary, StartView
from runvis_core.services.filters import DefinitionFilter, Dimension
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.stats_answers import Grid, GridCell, GridColumn, Trend

definitions = typer.Typer(cls=Group, no_args_is_help=True, help="What can run: DAGs, flows, tasks, and their versions.")


@definitions.command("list")
def list_command(
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    kind: KindOption = None,
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
    filters = understand(DefinitionFilter, engine=engine, deployment=deployment, kind=kind)
    with open_source(url) as source:
        page = source.list_definitions(filters, limit=limit, cursor=cursor)
    if output is not Format.TABLE:
        print_page(page.items, output, of=DefinitionSummary, next_cursor=page.next_cursor)
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
    kind: KindOption = None,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show a definition: its versions, its structure, its recent runs.

    Examples:

      runvis definitions show etl

      runvis definitions show etl --engine airflow --deployment prod -o json
    """
    filters = understand(DefinitionFilter, engine=engine, deployment=deployment, kind=kind)
    with open_source(url) as source:
        found = source.get_definition(definition, filters, PastFilter(as_of=as_of, known_at=known_at))
    if output is Format.TABLE:
        _print_definition(found)
    else:
        print_one(found, output)


@definitions.command("trend")
def trend_command(
    definition: Annotated[str, typer.Argument(help="Its whole name.")],
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    kind: KindOption = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="From then on: 24h, 30d, 2024-05-01, …")
    ] = None,
    until: Annotated[datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Before then.")] = None,
    hourly: Annotated[bool, typer.Option("--hourly", help="By the hour, not by the day.")] = False,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show how a definition's runs went over time, by default over the last 14 days, and when its version changed.

    Examples:

      runvis definitions trend etl --since 30d

      runvis definitions trend etl --hourly --since 24h -o json
    """
    check_span(since, until)
    filters = understand(DefinitionFilter, engine=engine, deployment=deployment, kind=kind)
    step = Dimension.HOUR if hourly else Dimension.DAY
    with open_source(url) as source:
        found = source.get_trend(definition, filters, since=since, until=until, step=step)
    if output is Format.TABLE:
        _print_trend(found)
    else:
        print_one(found, output)


def _print_trend(found: Trend) -> None:
    rows = table(f"{found.step.value.upper()} (UTC)", "RUNS", "FAILED %", "TIME P50", "P95", "WAIT P50", "P95")
    for point in [*found.points, found.whole]:
        rows.add_row(
            name_moment(point.begins_at) if point.begins_at else "all",
            str(point.runs),
            "–" if point.failed_share is None else f"{100 * point.failed_share:.1f}",
            name_duration(point.duration.p50),
            name_duration(point.duration.p95),
            name_duration(point.queue.p50),
            name_duration(point.queue.p95),
        )
    console().print(rows)
    for version in found.versions:
        named = version.native_version or version.version[:12]
        typer.echo(f"version {clean(named)} recorded {name_moment(version.recorded_at)}")


@definitions.command("grid")
def grid_command(
    definition: Annotated[str, typer.Argument(help="Its whole name.")],
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    kind: KindOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many runs to show.")] = 10,
    cursor: CursorOption = None,
    first_step: Annotated[
        int, typer.Option("--first-step", min=0, max=1_000_000, help="From which step on, counted from 0.")
    ] = 0,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show a definition's last runs beside one another: steps by runs, newest at the right, with all attempts.

    Examples:

      runvis definitions grid etl

      runvis definitions grid etl --limit 50 -o json
    """
    filters = understand(DefinitionFilter, engine=engine, deployment=deployment, kind=kind)
    with open_source(url) as source:
        past = PastFilter(as_of=as_of, known_at=known_at)
        found = source.get_grid(definition, filters, limit=limit, cursor=cursor, first_step=first_step, past=past)
    if output is not Format.TABLE:
        print_one(found, output)
        return
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    _print_grid(found)
    shown_to = found.first_step + len(found.rows)
    if len(found.rows) < found.step_count:
        typer.echo(
            f"steps {found.first_step} to {shown_to - 1} of {found.step_count}; others: --first-step N", err=True
        )
    if found.next_cursor:
        typer.echo(f"there are older ones: {name_next(found.next_cursor, as_of=as_of, known_at=known_at)}", err=True)


def _print_grid(found: Grid) -> None:
    rows = table("STEP", *(_column_title(column) for column in found.columns))
    whole = [state_text(column.run) if column.run else Text("absent") for column in found.columns]
    rows.add_row(Text(clean(found.definition), style="bold"), *whole)
    for row in found.rows:
        rows.add_row(cell(row.step), *(_grid_cell(one) for one in row.cells))
    console().print(rows)


def _column_title(column: GridColumn) -> str:
    if column.run is None:
        return f"due {name_moment(column.due_at)}"
    begun = name_moment(column.run.started_at or column.run.queued_at)
    return f"{begun} new version {clean(column.version or '')}" if column.is_new_version else begun


def _grid_cell(found: GridCell | None) -> Text:
    if found is None:
        return Text("")
    if not found.attempts:
        return Text("not run", style="dim")
    if found.instances:
        whole = sum(alike.count for alike in found.instances)
        stand = (Text(f"{alike.count} ").append_text(state_text(alike.last_attempt)) for alike in found.instances)
        return Text(f"of {whole}: ").append_text(Text(", ").join(stand))
    said = Text(f"{found.cut_attempts} more, " if found.cut_attempts else "")
    return said.append_text(Text(", ").join(state_text(attempt) for attempt in found.attempts))


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
        out.print(f"recent runs told by {_told_by(found)}")
    for start in found.starts:
        origin = clean(start.definition) if start.definition else "no other definition"
        out.print(Text(f"  {start.runs} started from {origin}, told by {_told_by(start)}"))
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


def _told_by(said: DefinitionDetail | StartView) -> str:
    alone = " (server only: no process of these runs records)" if said.server_only else ""
    return f"{', '.join(said.witnesses)}{alone}"


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
    left_out: dict[str, Any] = said.get("cut") or {}
    words = [f"{count:,} more {noun}" for noun in ("tasks", "edges") if (count := left_out.get(noun))]
    if words:
        out.print(f"… {' and '.join(words)}: the structure was too large to be recorded whole")
