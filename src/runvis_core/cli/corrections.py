"""`runvis corrections`: which runs ended otherwise than they were frozen, and who says so."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from runvis_core.cli.exits import Group
from runvis_core.cli.options import (
    CursorOption,
    DeploymentOption,
    EngineOption,
    LimitOption,
    OutputOption,
    UrlOption,
    name_next,
    parse_moment,
    understand,
)
from runvis_core.cli.output import Format, cell, console, print_page, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import name_moment
from runvis_core.services.correction_answers import CorrectionFilter, CorrectionSummary

corrections = typer.Typer(
    cls=Group, no_args_is_help=True, help="Which runs ended otherwise than they were frozen, and who says so."
)


@corrections.callback()
def _group() -> None:
    """Which runs ended otherwise than they were frozen, and who says so."""


@corrections.command("list")
def list_command(
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    definition: Annotated[str | None, typer.Option(help="Only this definition.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Of runs from then on: 2h, …"),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Of runs before then.")
    ] = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """List corrections, the last recorded first.

    Examples:

      runvis corrections list --since 7d

      runvis corrections list --definition etl.load -o jsonl
    """
    filters = understand(
        CorrectionFilter, engine=engine, deployment=deployment, definition=definition, since=since, until=until
    )
    with open_source(url) as source:
        page = source.list_corrections(filters, limit=limit, cursor=cursor)
    if output is not Format.TABLE:
        print_page(page.items, output, of=CorrectionSummary, next_cursor=page.next_cursor)
        return
    if not page.items:
        typer.echo("no corrections", err=True)
        return
    rows = table(
        "CORRECTION", "RUN", "ENGINE", "DEFINITION", "FROZEN AS", "SAYS", "COUNTS", "BY", "RECORDED (UTC)", "#"
    )
    for item in page.items:
        rows.add_row(
            str(item.correction_id)[:8],
            str(item.corrects)[:8],
            cell(item.engine),
            cell(item.definition),
            item.frozen_state.value,
            cell(f"{item.state.value} {item.native_state or ''}".strip()),
            item.effective_state.value,
            cell(f"{item.report.witness.value} ({item.report.principal})"),
            name_moment(item.report.recorded_at),
            str(item.report.position),
        )
    console().print(rows)
    if page.next_cursor:
        typer.echo(f"there are more: {name_next(page.next_cursor, since=since, until=until)}", err=True)
