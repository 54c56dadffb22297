"""`runvis completeness`: what is missing from the record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from runvis_core.cli.exits import Exit
from runvis_core.cli.options import (
    DeploymentOption,
    EngineOption,
    LimitOption,
    OutputOption,
    UrlOption,
    parse_moment,
    understand,
)
from runvis_core.cli.output import Format, cell, console, print_one, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import clean, name_duration, name_moment
from runvis_core.services.completeness_answers import AccountRow, By, Completeness, CompletenessFilter, GapView, RunGap
from runvis_core.services.labels import name_run

_COUNTS = ("producers", "closed", "sent", "stored", "refused", "missing", "unkept")
_RUN_COUNTS = ("runs", "whole", "open", "incomplete", "lacking", "unknown")


def completeness_command(
    by: Annotated[By, typer.Option("--by", help="One row for each day of what.")] = By.DEPLOYMENT,
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    definition: Annotated[str | None, typer.Option(help="Only this definition.")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="From then on; by default 7d.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Before then.")] = None,
    limit: LimitOption = 50,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show what came and what did not: numbers that are missing, gaps that closed, runs that lack their worker's word.

    Exits with 1 if something is missing, refused or lacking.

    Examples:

      runvis completeness

      runvis completeness --by producer --since 24h

      runvis completeness --by definition --definition etl -o json
    """
    filters = understand(
        CompletenessFilter, by=by, engine=engine, deployment=deployment, definition=definition, since=since, until=until
    )
    with open_source(url) as source:
        found = source.get_completeness(filters, limit=limit)
    if output is Format.TABLE:
        _print(found)
    else:
        print_one(found, output)
    if found.whole is False:
        raise typer.Exit(Exit.FAILED)


def _print(found: Completeness) -> None:
    by = By(found.by)
    if found.items:
        _print_rows(found.items, by)
    else:
        typer.echo("nothing was recorded in that time", err=True)
    _print_gaps(found.gaps)
    _print_runs(found.runs)
    for count, what in ((found.cut, "rows"), (found.cut_gaps, "gaps"), (found.cut_runs, "runs")):
        if count:
            typer.echo(f"{count} more {what} are not shown", err=True)
    words = {True: "whole: nothing is known to be missing", False: "not whole", None: "nothing is known to be missing"}
    typer.echo(words[found.whole])


def _print_rows(items: Iterable[AccountRow], by: By) -> None:
    names = {By.DEFINITION: ["definition"], By.PRODUCER: ["producer", "component", "host", "pid"]}.get(by, [])
    counts = [name for name in _COUNTS if by is not By.PRODUCER or name != "producers"]
    counts += _RUN_COUNTS if by is not By.PRODUCER else []
    columns = ["day", "engine", "deployment", *names, *counts, *(["last_heard_at"] if by is not By.DEFINITION else [])]
    rows = table(*(name.replace("_at", " (UTC)").replace("_", " ").upper() for name in columns))
    for item in items:
        rows.add_row(*(_cell(item, name) for name in columns))
    console().print(rows)


def _cell(item: AccountRow, name: str) -> Any:
    value = getattr(item, name)
    if name == "last_heard_at":
        return name_moment(value)
    return cell(str(value)[:8] if name == "producer" and value is not None else value)


def _print_gaps(gaps: Iterable[GapView]) -> None:
    for gap in gaps:
        who = f"{gap.engine} {gap.deployment} {gap.component or 'process'} {gap.host or '?'} {gap.pid or ''}".strip()
        numbers = f"{gap.low}" if gap.low == gap.high else f"{gap.low} to {gap.high}"
        since = f"since {name_moment(gap.noticed_at)}" if gap.noticed_at else "by what it said when it closed"
        if gap.closed_at is not None:
            since = f"closed {name_moment(gap.closed_at)}, {name_duration(gap.late_seconds)} late"
        typer.echo(clean(f"gap: {numbers} of producer {gap.producer} ({who}), {since}"))


def _print_runs(runs: Iterable[RunGap]) -> None:
    for run in runs:
        said = "; ".join(run.completeness.reasons)
        name = name_run(run) or run.native_id or "?"
        typer.echo(clean(f"run {str(run.run_id)[:8]} {run.engine} {name}: {run.completeness.outcome.value}: {said}"))
