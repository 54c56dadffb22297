"""`runvis plugins`: what has joined in."""

from __future__ import annotations

import typer

from runvis_core.cli.exits import Exit
from runvis_core.cli.options import OutputOption
from runvis_core.cli.output import Format, cell, console, table, to_json
from runvis_core.plugins import list_plugins


def plugins_command(output: OutputOption = Format.TABLE) -> None:
    """List the plugins that are loaded and the hooks that they have. Exits with 1 if one could not be loaded.

    Examples:

      runvis plugins

      runvis plugins -o jsonl
    """
    loaded = list_plugins()
    if output is Format.JSONL:
        for plugin in loaded:
            typer.echo(to_json(plugin._asdict()))
    elif output is Format.JSON:
        typer.echo(to_json({"items": [plugin._asdict() for plugin in loaded]}, indent=2))
    else:
        rows = table("PLUGIN", "FROM", "HOOKS")
        for plugin in loaded:
            rows.add_row(cell(plugin.name), cell(plugin.source), cell(plugin.error or ", ".join(plugin.hooks)))
        console().print(rows)
    if any(plugin.error for plugin in loaded):
        raise typer.Exit(Exit.FAILED)
