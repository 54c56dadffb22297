"""`runvis evidence`: an auditor's pack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from runvis_core.cli.options import DeploymentOption, EngineOption, UrlOption, parse_moment
from runvis_core.cli.source import open_source
from runvis_core.services.evidence_pack import Subject, write_pack


def evidence_command(
    definition: Annotated[str, typer.Option(help="The definition whose runs it is about.")],
    since: Annotated[datetime, typer.Option("--from", parser=parse_moment, metavar="TIME", help="From then on.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder, or a new file that ends in .zip.")],
    until: Annotated[
        datetime | None,
        typer.Option("--to", parser=parse_moment, metavar="TIME", help="Before then.", show_default="now"),
    ] = None,
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    url: UrlOption = None,
) -> None:
    """Write an auditor's pack: a definition's runs, corrections, what is missing, erasures, and how to check it all.

    The same log gives the same pack, byte for byte.

    Examples:

      runvis evidence --definition etl --from 2024-05-01 --to 2024-06-01 --output evidence.zip

      runvis evidence --definition forecast --engine prefect --from 30d --output evidence/
    """
    said = {"definition": definition, "engine": engine, "deployment": deployment}
    try:
        subject = Subject.model_validate({**said, "since": since, "until": until or datetime.now(UTC)})
    except ValidationError as error:
        fault = error.errors()[0]
        option = {"since": "--from", "until": "--to"}.get(str(fault["loc"][0]), f"--{fault['loc'][0]}")
        raise typer.BadParameter(fault["msg"], param_hint=option) from error
    with open_source(url) as source:
        pack = source.collect_evidence(subject)
    write_pack(pack, output)
    typer.echo(f"{output}: {pack.runs} runs in {pack.entries} entries; README.md in it says how to check them")
