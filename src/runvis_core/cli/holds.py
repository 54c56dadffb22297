"""`runvis holds`: legal holds, which no erasure gets past."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer
from rich.text import Text

from runvis_core.cli.administration import open_administration
from runvis_core.cli.exits import Group
from runvis_core.cli.options import DeploymentOption, EngineOption, OutputOption, UrlOption, understand
from runvis_core.cli.output import Format, cell, print_list, print_one
from runvis_core.cli.text import clean, name_moment
from runvis_core.services.decision_answers import HoldRequest, HoldView

holds = typer.Typer(cls=Group, no_args_is_help=True, help="Legal holds: nothing that they cover is erased.")


@holds.command("add")
def add_command(
    reason: Annotated[str, typer.Option(help="Why: it stands in the log.")],
    run: Annotated[str | None, typer.Option(help="Only this run, by any of its names.")] = None,
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    definition: Annotated[str | None, typer.Option(help="Only runs of this definition.")] = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Place a legal hold on a run, or on all runs that match what is given. It wins over any erasure.

    Examples:

      runvis holds add --definition billing --deployment airflow-prod --reason "case 2026-17"
    """
    if run is None and engine is None and deployment is None and definition is None:
        raise typer.BadParameter("say what it covers: --run, --engine, --deployment or --definition")
    request = understand(
        HoldRequest, run=run, engine=engine, deployment=deployment, definition=definition, reason=reason
    )
    with open_administration(url) as administration:
        placed = administration.place_hold(request)
    if output is not Format.TABLE:
        print_one(placed, output)
        return
    typer.echo(clean(f"hold {placed.hold_id} covers {_covered(placed)}"))


@holds.command("list")
def list_command(output: OutputOption = Format.TABLE, url: UrlOption = None) -> None:
    """List all legal holds that were ever placed, newest first.

    Examples:

      runvis holds list
    """
    with open_administration(url) as administration:
        items = administration.list_holds()
    print_list(items, output, _COLUMNS, of=HoldView, nothing="no holds")


def _covered(hold: HoldView) -> str:
    parts = {
        "run": hold.run_id,
        "engine": hold.engine,
        "deployment": hold.deployment,
        "definition": hold.definition,
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


_COLUMNS: Final[Mapping[str, Callable[[HoldView], Text | str]]] = {
    "ID": lambda hold: cell(hold.hold_id),
    "COVERS": lambda hold: cell(_covered(hold)),
    "PLACED (UTC)": lambda hold: name_moment(hold.placed_at),
    "BY": lambda hold: cell(hold.placed_by),
    "REASON": lambda hold: cell(hold.reason),
    "RELEASED (UTC)": lambda hold: name_moment(hold.released_at),
}


@holds.command("release")
def release_command(
    hold_id: Annotated[str, typer.Argument(help="The hold's id, as the list has it.")],
    reason: Annotated[str | None, typer.Option(help="Why: it stands in the log.")] = None,
    url: UrlOption = None,
) -> None:
    """Release a legal hold: what it covered may be erased from now on.

    Examples:

      runvis holds release 6f1c7a52 --reason "case closed"
    """
    with open_administration(url) as administration:
        released = administration.release_hold(hold_id, reason=reason)
    typer.echo(f"hold {clean(released.hold_id)} is released")
