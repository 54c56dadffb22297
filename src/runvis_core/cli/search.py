"""`runvis search`: from what somebody pasted to what it names."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from runvis_core.cli.exits import Exit
from runvis_core.cli.options import OutputOption, UrlOption
from runvis_core.cli.output import Format, cell, console, print_one, state_text, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import name_moment
from runvis_core.services.answers import RunRef
from runvis_core.services.labels import name_run
from runvis_core.services.search_answers import Found, Hit


def search_command(
    words: Annotated[
        list[str],
        typer.Argument(help="An id, an engine's address, a definition, a commit, a dataset, or words of an error."),
    ],
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Find runs, definitions and datasets by anything that names them. Exit status 3 if nothing is found.

    Examples:

      runvis search 3f2a9c

      runvis search upstream returned 0 rows

      runvis search https://airflow.example/dags/etl/runs/manual__2024-05-01
    """
    with open_source(url) as source:
        found = source.search(" ".join(words))
    if output is not Format.TABLE:
        print_one(found, output)
    elif found.exact is None and not found.items:
        typer.echo("nothing is called so", err=True)
    else:
        _print_found(found)
    if found.exact is None and not found.items:
        raise typer.Exit(Exit.NOT_FOUND)


def _print_found(found: Found) -> None:
    rows = table("BY", "WHAT", "STATE", "ENGINE", "DEFINITION", "STARTED (UTC)", "ERROR")
    if found.exact is not None:
        rows.add_row("exact id", *_run(found.exact), "")
    for hit in found.items:
        rows.add_row(hit.match.value, *_hit(hit))
    console().print(rows)


def _hit(hit: Hit) -> tuple[Any, ...]:
    if hit.run is not None:
        return (*_run(hit.run), cell(hit.error or ""))
    if hit.definition is not None:
        found = hit.definition
        code = f" at {found.code_version}" if found.code_version else ""
        return (cell(f"{found.kind}{code}"), "", cell(found.engine), cell(found.definition), "", "")
    assert hit.dataset is not None
    return (cell(f"dataset {hit.dataset.namespace} {hit.dataset.name}"), "", "", "", "", "")


def _run(run: RunRef) -> tuple[Any, ...]:
    return (
        f"run {str(run.run_id)[:8]}",
        state_text(run, corrected=run.corrected),
        cell(run.engine),
        cell(name_run(run)),
        name_moment(run.started_at or run.queued_at),
    )
