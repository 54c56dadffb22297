"""`runvis spool`: events on this machine that wait for their delivery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.status import Status

from runvis_core.cli.exits import Exit, Group
from runvis_core.cli.options import OutputOption, UrlOption
from runvis_core.cli.output import Format, cell, console, table, to_json
from runvis_core.cli.source import settings_for
from runvis_core.cli.text import clean, name_moment
from runvis_core.emit.drain import DrainReport, SpoolStatus, drain_spool, spool_status
from runvis_core.settings import load_settings

spool = typer.Typer(cls=Group, no_args_is_help=True, help="Events on this machine that wait for their delivery.")


@spool.command("status")
def status_command(output: OutputOption = Format.TABLE) -> None:
    """Say what waits in the spool (RUNVIS_SPOOL_DIR), and whose it is. Exits with 1 if something needs a person.

    Examples:

      runvis spool status

      RUNVIS_SPOOL_DIR=/var/spool/runvis runvis spool status -o json
    """
    settings = load_settings()
    status = spool_status(settings.spool_dir)
    if output is Format.TABLE:
        typer.echo(f"spool {clean(str(settings.spool_dir))}")
        _print_status(status)
    else:
        typer.echo(to_json(_as_json(status), indent=2 if output is Format.JSON else None))
    if status.dead_letters or status.lines_set_aside:
        raise typer.Exit(Exit.FAILED)


def _print_status(status: SpoolStatus) -> None:
    if status.files:
        rows = table("DEPLOYMENT", "PRODUCER", "EVENTS", "BYTES", "PROCESS")
        for file in status.files:
            alive = "runs" if file.is_alive else "gone: runvis spool drain"
            rows.add_row(
                cell(file.deployment), cell(file.producer), str(file.pending_events), str(file.pending_bytes), alive
            )
        console().print(rows)
    else:
        typer.echo("nothing waits")
    if status.is_disabled:
        typer.echo("recording is switched off by the file `disabled` in it: remove it to go on")
    if status.outage is not None:
        outage = status.outage
        typer.echo(
            clean(
                f"{outage.url} doesn't take events since {_name_seconds(outage.down_since)} UTC, next try "
                f"{_name_seconds(outage.retry_at)}: {outage.reason}"
            )
        )
    if status.dead_letters:
        typer.echo(f"{status.dead_letters} events were refused for good: dead/*.jsonl says why")
    if status.lines_set_aside:
        typer.echo(f"{status.lines_set_aside} lines were cut short and set aside: aside/*.lines")


def _name_seconds(seconds: float) -> str:
    return name_moment(datetime.fromtimestamp(seconds, UTC))


def _as_json(status: SpoolStatus) -> dict[str, object]:
    return {
        "files": [
            {
                "deployment": file.deployment,
                "producer": file.producer,
                "pending_events": file.pending_events,
                "pending_bytes": file.pending_bytes,
                "is_alive": file.is_alive,
            }
            for file in status.files
        ],
        "dead_letters": status.dead_letters,
        "lines_set_aside": status.lines_set_aside,
        "outage": status.outage._asdict() if status.outage else None,
        "is_disabled": status.is_disabled,
    }


@spool.command("drain")
def drain_command(
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until interrupted, for a volume that pods leave spools on.")
    ] = False,
    url: UrlOption = None,
) -> None:
    """Deliver what processes that are gone left in the spool. Living processes deliver their own.

    Exits with 4 if the store or server can't be reached: what was not delivered stays where it is. Exits with 1 if
    events were refused for good.

    Examples:

      runvis spool drain --url http://runvis:8642

      runvis spool drain --watch
    """
    settings = settings_for(url)
    with Status("delivering", console=console()) as shown:
        try:
            report = drain_spool(settings, watch=watch, progress=lambda report: shown.update(clean(_said(report))))
        except KeyboardInterrupt:
            return
    typer.echo(_said(report))
    if report.failure is not None:
        typer.echo(f"runvis: delivery stopped: {clean(report.failure)}", err=True)
        raise typer.Exit(Exit.UNREACHABLE)
    if report.tally.refused:
        raise typer.Exit(Exit.FAILED)


def _said(report: DrainReport) -> str:
    said = f"{report.tally.delivered} events delivered from {report.files} spools"
    if report.tally.refused:
        said += f", {report.tally.refused} refused for good"
    if report.tally.set_aside:
        said += f", {report.tally.set_aside} lines set aside"
    return said + (f"; {report.owned} spools belong to living processes" if report.owned else "")
